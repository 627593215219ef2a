"""The strategies: the architectures they ask for, what they learn, and that a search consists of their steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nge_jax.embedding.model import edge_model
from nge_jax.space import architecture
from nge_jax.space.architecture import ABSENT
from nge_jax.space.spaces import DARTS, NAS_BENCH_201
from nge_jax.strategies import evolution, random_search, reinforce
from nge_jax.strategies.base import run_strategy

ALPHA = edge_model("alpha", "printed", NAS_BENCH_201)


def share_of_third(architectures):
    """Returns a reward: the share of edges with operation 3."""
    return (architectures == 3).mean((-2, -1))


def guided(memory=8, population=4, **changes):
    settings = evolution.Settings(population, 3, 4, memory, 2, 3.0, 0.1)._replace(**changes)
    return evolution.evolution(ALPHA, NAS_BENCH_201, optax.adam(0.1), settings)


def make(name, model=ALPHA, space=NAS_BENCH_201):
    if name == "random":
        return random_search.random_search(space, batch_size=2)
    if name == "reinforce":
        settings = reinforce.Settings(batch_size=2, entropy_weight=1e-3, baseline_decay=0.9)
        return reinforce.reinforce(model, space, optax.adam(0.1), settings)
    settings = evolution.Settings(4, 3, 4, 8, 2, 3.0, 0.1)
    return evolution.evolution(model, space, optax.adam(0.1), settings)


NAMES = ("random", "reinforce", "evolution")


@pytest.mark.parametrize("name", NAMES)
def test_a_search_is_its_steps(name):
    """Therefore a search may stop after any step and go on from the state and the key."""
    strategy, queries = make(name), 12
    key = jax.random.key(5)
    history = jax.jit(lambda key: run_strategy(strategy, share_of_third, queries, key))(key)
    init_key, key = jax.random.split(key)
    state, cells, rewards = strategy.init(init_key), [], []
    ask, tell = jax.jit(strategy.ask), jax.jit(strategy.tell)
    for i in range(queries // strategy.batch_size):
        architectures = ask(state, jax.random.fold_in(key, i))
        assert architectures.shape == (strategy.batch_size, 1, 6)
        state = jax.tree.map(np.asarray, tell(state, architectures, share_of_third(architectures)))
        cells.append(architectures)
        rewards.append(share_of_third(architectures))
    np.testing.assert_array_equal(history.architectures, np.concatenate(cells))
    np.testing.assert_allclose(history.rewards, np.concatenate(rewards), rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_tells_what_it_draws_from(name):
    strategy = make(name)
    state = strategy.init(jax.random.key(0))
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(1, 6, 5)), jnp.float32)
    if name == "random":
        np.testing.assert_allclose(strategy.probs(state), np.full((1, 6, 5), 0.2))
    else:
        state = state._replace(params={"alpha": logits})
        np.testing.assert_allclose(strategy.probs(state), jax.nn.softmax(logits), rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_darts_space_is_asked_for_whole_cells(name):
    model = edge_model("nge", "printed")
    strategy = make(name, model, DARTS)
    history = jax.jit(lambda key: run_strategy(strategy, share_of_third, 12, key))(
        jax.random.key(0)
    )
    kept = np.asarray(history.architectures) != ABSENT
    for node in DARTS.inner_nodes:
        assert (kept[..., list(DARTS.incoming(node))].sum(-1) == 2).all()
    assert np.asarray(history.architectures).max() < 7


def test_queries_that_are_no_multiple_of_the_batch_are_refused():
    with pytest.raises(ValueError, match="queries: found 5, expected a multiple of 2"):
        run_strategy(make("random"), share_of_third, 5, jax.random.key(0))


def test_random_search_is_uniform():
    strategy = random_search.random_search(NAS_BENCH_201, batch_size=4000)
    cells = np.asarray(strategy.ask((), jax.random.key(0)))
    shares = np.stack([(cells == o).mean(0) for o in range(5)])
    np.testing.assert_allclose(shares, 0.2, atol=0.03)  # 5 deviations
    assert abs(np.corrcoef(cells[:, 0].T) - np.eye(6)).max() < 0.08


def step_once(entropy_weight, baseline, rewards, decay=0.9):
    """Returns the logits before, the logits after and the new baseline of one step with rate 1, without momentum."""
    settings = reinforce.Settings(2, entropy_weight, decay)
    strategy = reinforce.reinforce(ALPHA, NAS_BENCH_201, optax.sgd(1.0), settings)
    state = strategy.init(jax.random.key(0))
    logits = np.random.default_rng(0).normal(size=(1, 6, 5)).astype(np.float32)
    state = state._replace(params={"alpha": jnp.asarray(logits)}, baseline=jnp.float32(baseline))
    after = strategy.tell(state, ASKED, jnp.asarray(rewards, jnp.float32))
    return logits.astype(np.float64), np.asarray(after.params["alpha"]), float(after.baseline)


ASKED = jnp.array([[[0, 1, 2, 3, 4, 0]], [[1, 1, 1, 4, 4, 4]]])


def test_reinforce_takes_the_policy_gradient_step():
    logits, after, baseline = step_once(0.0, 0.5, [0.9, 0.4])
    probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = logits.copy()
    for cell, reward in zip(ASKED, (0.9, 0.4), strict=True):
        expected += (reward - 0.5) * (np.eye(5)[np.asarray(cell)] - probs) / 2
    np.testing.assert_allclose(after, expected, rtol=1e-5)
    assert baseline == pytest.approx(0.9 * 0.5 + 0.1 * 0.65)


def test_reinforce_starts_its_baseline_at_the_first_rewards():
    _, _, baseline = step_once(0.0, np.nan, [0.9, 0.4])
    assert baseline == pytest.approx(0.65)


def test_the_bonus_raises_the_entropy():
    # The advantage is zero, and the bonus alone moves the logits.
    logits, after, _ = step_once(0.5, 0.7, [0.7, 0.7])
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    probs = np.exp(log_probs)
    entropy = -(probs * log_probs).sum(-1, keepdims=True)
    expected = logits - 0.5 * probs * (log_probs + entropy)
    np.testing.assert_allclose(after, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["reinforce", "evolution"])
@pytest.mark.parametrize("model", ["nge", pytest.param("alpha", marks=pytest.mark.whole)])
def test_what_learns_finds_more_than_random_search(name, model):
    def mean_best(strategy):
        keys = jax.random.split(jax.random.key(0), 8)
        run = jax.jit(jax.vmap(lambda key: run_strategy(strategy, share_of_third, 60, key)))
        return run(keys).rewards.max(-1).mean()

    rate = 0.1 if model == "alpha" else 3e-3
    searcher = edge_model(model, "predecessors", NAS_BENCH_201)
    learner = {
        "reinforce": reinforce.reinforce(
            searcher, NAS_BENCH_201, optax.adam(rate), reinforce.Settings(1, 1e-3, 0.9)
        ),
        "evolution": evolution.evolution(
            searcher,
            NAS_BENCH_201,
            optax.adam(rate),
            evolution.Settings(10, 5, 4, 60, 1, 3.0, 0.1),
        ),
    }[name]
    assert mean_best(learner) > mean_best(random_search.random_search(NAS_BENCH_201)) + 0.1


def children(parent, probs, space, count=4000, seed=0):
    keys = jax.random.split(jax.random.key(seed), count)
    mutate = jax.jit(jax.vmap(lambda key: evolution.mutate(key, jnp.asarray(parent), probs, space)))
    return np.asarray(mutate(keys))


PARENT = np.array([[0, 1, 2, 3, 4, 0]], np.int32)


@pytest.mark.parametrize("sharpness", [0.0, 1.0])
def test_a_mutation_is_drawn_in_proportion_to_the_probabilities(sharpness):
    """Equal probabilities make every other operation of every edge equally likely, as in the classic mutation."""
    logits = sharpness * np.random.default_rng(0).normal(size=NAS_BENCH_201.shape)
    probs = np.asarray(jax.nn.softmax(logits), np.float32)
    drawn = children(PARENT, probs, NAS_BENCH_201)
    changed = drawn != PARENT
    assert (changed.sum((1, 2)) == 1).all()
    _, edge = np.nonzero(changed[:, 0])
    counts = np.zeros((6, 5))
    np.add.at(counts, (edge, drawn[:, 0][changed[:, 0]]), 1)
    allowed = np.eye(5)[PARENT[0]] == 0
    expected = 4000 * np.where(allowed, probs[0], 0) / probs[0][allowed].sum()
    assert (counts[~allowed] == 0).all()
    chi_square = ((counts - expected)[allowed] ** 2 / expected[allowed]).sum()
    assert chi_square < 23 + 5 * np.sqrt(2 * 23)


def test_alpha_starts_with_the_classic_mutation():
    probs = ALPHA.probs(ALPHA.init(jax.random.key(0)))
    np.testing.assert_allclose(probs, 0.2, atol=1e-3)


def test_in_the_darts_space_half_of_the_mutations_move_an_edge():
    probs = np.asarray(
        jax.nn.softmax(np.random.default_rng(1).normal(size=DARTS.shape)), np.float32
    )
    parent = np.asarray(architecture.sample(jax.random.key(2), probs, DARTS))
    drawn = children(parent, probs, DARTS)
    differ = drawn != parent
    moves = differ.sum((1, 2)) == 2
    assert moves.mean() == pytest.approx(0.5, abs=0.04)
    assert (differ.sum((1, 2))[~moves] == 1).all()
    targets = np.array([k for _, k in DARTS.edges])
    best = probs.max(-1)
    odds = best / (1 - best)
    sources = np.zeros((2, 14))
    taken = np.zeros((2, 14))
    for child in drawn[moves]:
        cells, edges = np.nonzero(child != parent)
        assert cells[0] == cells[1] and targets[edges[0]] == targets[edges[1]]
        old, new = sorted(edges, key=lambda e: child[cells[0], e] != ABSENT)
        assert child[cells[0], new] == parent[cells[0], old] != ABSENT
        assert child[cells[0], old] == parent[cells[0], new] == ABSENT
        sources[cells[0], old] += 1
        taken[cells[0], new] += 1
    movable = (parent != ABSENT) & (targets > 2)
    assert (sources[~movable] == 0).all()
    np.testing.assert_allclose(sources[movable] / moves.sum(), 1 / movable.sum(), atol=0.03)
    node_5 = [e for e in DARTS.incoming(5) if parent[0, e] == ABSENT]
    shares = taken[0, node_5] / taken[0, node_5].sum()
    np.testing.assert_allclose(shares, odds[0, node_5] / odds[0, node_5].sum(), atol=0.1)


def fill(strategy, cells, rewards):
    state, tell = strategy.init(jax.random.key(0)), jax.jit(strategy.tell)
    for cell, reward in zip(cells, rewards, strict=True):
        state = tell(state, jnp.asarray(cell)[None], jnp.float32([reward]))
    return state


def asked(strategy, state, count):
    keys = jax.random.split(jax.random.key(0), count)
    return np.asarray(jax.jit(jax.vmap(lambda key: strategy.ask(state, key)[0]))(keys))


def distance(cell, other):
    return int((np.asarray(cell) != np.asarray(other)).sum())


def test_parents_are_the_best_of_the_living():
    far = [np.full((1, 6), o, np.int32) for o in range(5)]
    settings = evolution.classic(
        population=3, tournament=50
    )  # so large that all living members compete
    strategy = evolution.evolution(ALPHA, NAS_BENCH_201, optax.identity(), settings)
    state = fill(strategy, far, [0.9, 0.8, 0.1, 0.3, 0.2])
    for child in asked(
        strategy, state, 20
    ):  # members 2, 3 and 4 live; member 0, the best ever, is dead
        assert distance(child, far[3]) == 1


def test_a_tournament_of_one_takes_any_living_member():
    far = [np.full((1, 6), o, np.int32) for o in range(5)]
    settings = evolution.classic(population=3, tournament=1)
    strategy = evolution.evolution(ALPHA, NAS_BENCH_201, optax.identity(), settings)
    state = fill(strategy, far, [0.9, 0.8, 0.1, 0.3, 0.2])
    children = asked(strategy, state, 300)
    parents = [min(range(5), key=lambda o: distance(child, far[o])) for child in children]
    counts = np.bincount(parents, minlength=5)
    assert (counts[:2] == 0).all() and (counts[2:] > 70).all()


def test_a_longer_memory_leaves_the_living_alone():
    far = [np.full((1, 6), o, np.int32) for o in range(5)]
    strategy = guided(memory=5, population=3, tournament=50, proposals=1, train_steps=0)
    state = fill(strategy, far, [0.9, 0.8, 0.1, 0.3, 0.2])
    for child in asked(strategy, state, 20):
        assert distance(child, far[3]) == 1


def test_the_first_population_is_uniform():
    strategy = guided()
    state = strategy.init(jax.random.key(0))
    certain = {"alpha": jnp.zeros((1, 6, 5)).at[..., 0].set(50.0)}
    state = state._replace(params=certain)
    cells = asked(strategy, state, 2000)
    np.testing.assert_allclose([(cells == o).mean() for o in range(5)], 0.2, atol=0.03)


def test_the_most_probable_new_proposal_is_evaluated():
    parent = np.zeros((1, 6), np.int32)
    logits = jnp.zeros((1, 6, 5)).at[0, 2, 4].set(1.0).at[0, 1, 3].set(0.5)
    best, second = parent.copy(), parent.copy()
    best[0, 2], second[0, 1] = 4, 3
    strategy = guided(memory=4, population=1, proposals=400, train_steps=0)
    state = fill(strategy, [parent], [0.5])._replace(params={"alpha": logits})
    np.testing.assert_array_equal(strategy.ask(state, jax.random.key(1))[0], best)
    state = fill(strategy, [best, parent], [0.1, 0.5])._replace(params={"alpha": logits})
    np.testing.assert_array_equal(strategy.ask(state, jax.random.key(1))[0], second)


def test_the_edge_model_learns_towards_the_survivors():
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 5, (4, 1, 6)).astype(np.int32)
    rewards = [0.1, 0.9, 0.3, 0.2]
    settings = evolution.Settings(2, 2, 1, 6, 1, 0.5, 0.0)  # the memory is not full
    strategy = evolution.evolution(ALPHA, NAS_BENCH_201, optax.sgd(1.0), settings)
    before = fill(strategy, cells[:3], rewards[:3])
    logits = np.asarray(before.params["alpha"], np.float64)
    after = strategy.tell(before, jnp.asarray(cells[3:]), jnp.float32(rewards[3:]))
    # The gradient of the cross-entropy by hand is the sum of (w - share) (one-hot - P).
    probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    likelihood = np.array([np.prod(probs[0, np.arange(6), cell[0]]) for cell in cells])
    weights = np.exp(-np.array([3, 0, 1, 2]) / 0.5)
    coefficient = weights / weights.sum() - likelihood / likelihood.sum()
    expected = logits + sum(
        c * (np.eye(5)[cell] - probs) for c, cell in zip(coefficient, cells, strict=True)
    )
    np.testing.assert_allclose(after.params["alpha"], expected, rtol=1e-4, atol=1e-6)


def test_a_memory_shorter_than_the_population_is_refused():
    with pytest.raises(ValueError, match="memory: found 3, expected at least the population, 4"):
        guided(memory=3)
