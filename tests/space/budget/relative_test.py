"""Limits as arguments of a program: the excess of P, and draws within the limits."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from nge_jax.embedding.model import edge_model
from nge_jax.latency import costs as latency_costs
from nge_jax.networks.network import cifar_network, imagenet_network
from nge_jax.search.steps import relaxation
from nge_jax.settings.search import EDGE_MODELS
from nge_jax.space import architecture, genotype, skips
from nge_jax.space.budget import feasible, relative, strongest
from nge_jax.space.budget.costs import Budget
from nge_jax.space.mixture import Mixture
from nge_jax.space.spaces import DARTS
from nge_jax.strategies import evolution
from nge_jax.train import model as train_model
from tests.helpers import sizes
from tests.helpers.budgets import costs_by, draw_times, network_costs, shape_of_parts, timed_costs

UNIFORM = architecture.uniform(DARTS)
NETWORKS = (  # cells, channels, classes, shape, whether the stem is ImageNet's
    (1, 3, 2, (8, 8, 1), False),
    (2, 8, 10, (9, 9, 3), False),
    (3, 16, 10, (8, 8, 1), False),
    (4, 5, 100, (16, 16, 3), False),
    (3, 7, 1000, (100, 100, 3), True),
)


def budget_for(network, part, adds_part, weight=1.0):
    """Places limits between the least and the most that any cell costs; a part of None is no limit."""
    costs = network_costs(*network)
    least, most = costs.least(DARTS), costs.most(DARTS)
    limits = [
        0 if p is None else int(least[k] + p * (most[k] - least[k]))
        for k, p in enumerate((part, adds_part))
    ]
    return Budget(costs, tuple(limits), weight)


def draw(key):
    return architecture.sample(key, UNIFORM, DARTS)


@jax.jit
def draw_and_mutate(key, costs):
    first, second = jax.random.split(key)
    cell = relative.draw_within(draw, first, costs, DARTS)
    child = relative.draw_within(
        lambda key: evolution.mutate(key, cell, UNIFORM, DARTS), second, costs, DARTS
    )
    return cell, child


def formula(network, cell):
    cells, channels, classes, shape, large = network
    options = {"cells": cells, "channels": channels, "classes": classes}
    return sizes.count(cell, **options, shape=shape, large=large)


def check_within(network, limits, cell):
    counted = formula(network, cell)
    for name, limit in zip(counted, limits, strict=True):
        assert not limit or counted[name] <= limit, (network, cell)


def check_a_config(network, part, adds_part, most_skips, seed):
    """A derived, a drawn and a mutated cell keep the limits, counted by formulas of their own."""
    if part is None and adds_part is None:
        part = 0.5
    budget = budget_for(network, part, adds_part)
    strengths = np.random.default_rng(seed).dirichlet(np.full(7, 0.5), DARTS.shape[:2])
    found = strongest.derive(strengths, DARTS, most_skips, budget)
    check_within(network, budget.limits, found)
    assert skips.count_skips(found, DARTS) <= most_skips
    for drawn in draw_and_mutate(jax.random.key(seed), relative.relative_costs(budget)):
        check_within(network, budget.limits, architecture.to_genotype(np.asarray(drawn)))


parts = st.none() | st.sampled_from([0.0, 1.0]) | st.floats(0, 1)
seeds = st.integers(0, 2**32 - 1)


@given(st.sampled_from(NETWORKS), parts, parts, st.integers(0, 8), seeds)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_no_cell_breaks_its_limit(network, part, adds_part, most_skips, seed):
    check_a_config(network, part, adds_part, most_skips, seed)
    assert draw_and_mutate._cache_size() == 1, "one program serves all limits and networks"


@st.composite
def networks(draw):
    large = draw(st.booleans())
    side = draw(st.integers(32, 80) if large else st.integers(4, 40))
    shape = (side, side, 3 if large else draw(st.sampled_from([1, 3])))
    least = train_model.LEAST_CHANNELS["large" if large else "small"]
    return (
        draw(st.integers(1, 7)),
        draw(st.integers(least, 40)),
        draw(st.integers(2, 200)),
        shape,
        large,
    )


def check_a_timed_config(network, parts, factor, most_skips, seed):
    """A derived, a drawn and a mutated cell keep limits on sizes and on milliseconds, by a drawn table.

    The milliseconds of a cell are summed anew from the table, where the limit counts whole nanoseconds of each edge.
    """
    drawn = draw_times(seed, *network)
    times = {part: factor * time for part, time in drawn.items()}
    costs = costs_by(times, *network)
    least, most = costs.least(DARTS).tolist(), costs.most(DARTS).tolist()
    limits = [
        0 if p is None else max(1, int(low + p * (high - low)))
        for p, low, high in zip(parts, least, most, strict=True)
    ]
    budget = Budget(costs, tuple(limits), 1.0)
    if not any(limits):
        return
    is_free = feasible.has_free_operations(budget, DARTS)
    if not is_free and feasible.cheapest(budget, DARTS, most_skips) is None:
        event("no cell keeps all limits")
        cells = [genotype.random_genotype(other) for other in range(100)]
        cells = [cell for cell in cells if skips.count_skips(cell, DARTS) <= most_skips]
        assert not any(budget.allows(architecture.from_genotype(cell)) for cell in cells)
        return
    if not is_free:
        budget = budget._replace(fallback=feasible.cheapest(budget, DARTS, DARTS.num_kept))

    def check(cell):
        check_within(network, limits[:2], cell)
        nanoseconds = 1e6 * latency_costs.cell_cost(times, shape_of_parts(*network), cell)
        assert not limits[2] or nanoseconds <= limits[2] + ROUNDED, (network, cell)

    event(f"milliseconds: {bool(limits[2])}, free operations: {is_free}")
    strengths = np.random.default_rng(seed).dirichlet(np.full(7, 0.5), DARTS.shape[:2])
    found = strongest.derive(strengths, DARTS, most_skips, budget)
    check(found)
    assert skips.count_skips(found, DARTS) <= most_skips
    keys = jax.random.split(jax.random.key(seed), 4)
    cells = np.asarray(draw_and_mutate_many(keys, relative.relative_costs(budget)))
    for cell in cells.reshape(-1, *DARTS.shape[:2]):
        check(architecture.to_genotype(cell))


# A cell has 16 edges, and the rest of the network is rounded, too, each by half a nanosecond.
ROUNDED = 8.5 + 1e-3


@pytest.mark.whole
@given(networks(), st.tuples(parts, parts, parts), st.floats(-7, 4), st.integers(0, 8), seeds)
@settings(max_examples=60, deadline=None, derandomize=True)  # a thousand take ten minutes
def test_no_cell_breaks_its_limit_in_any_network(network, parts, power, most_skips, seed):
    check_a_timed_config(network, parts, 10**power, most_skips, seed)


@given(networks(), st.integers(200, 2_000_000), st.integers(0, 50_000_000), seeds)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_the_widest_network_is_within_its_limits_and_a_wider_one_is_not(
    network, parameters, multiply_adds, seed
):
    """The counts are those of the formulas, which `cost_test` compares with the program's."""
    cells, _, classes, shape, large = network
    cell = genotype.random_genotype(seed)
    limits = {"parameters": parameters, "multiply_adds": multiply_adds}
    make = imagenet_network if large else cifar_network

    def count(model, shape):
        channels = model.plan[0].channels // (1 + model.plan[0].reduction)
        return train_model.Cost(**formula((cells, channels, classes, shape, large), cell))

    def exceeds(channels):
        counted = formula((cells, channels, classes, shape, large), cell)
        return any(limit and counted[name] > limit for name, limit in limits.items())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_model, "model_cost", count)
        options = {"cells": cells, "classes": classes}
        kind = "large" if large else "small"
        try:
            found = train_model.widest(
                lambda channels: make(cell, channels=channels, **options), kind, shape, limits
            )
        except train_model.InputError as error:
            assert exceeds(train_model.LEAST_CHANNELS[kind]), error
            return
    assert not exceeds(found)
    assert found == train_model.MOST_CHANNELS or exceeds(found + 1)


def timed_budget(slack):
    """Limits milliseconds to the least that any cell takes, and a part of it more."""
    costs = timed_costs(1, *NETWORKS[2])
    budget = Budget(costs, (0, 0, int((1 + slack) * costs.least(DARTS)[2])))
    return budget._replace(fallback=feasible.cheapest(budget, DARTS, DARTS.num_kept))


@jax.jit  # one program for all limits
def draw_and_mutate_many(keys, costs):
    pair = draw_and_mutate.__wrapped__  # its programs are counted
    return jax.vmap(lambda key: jnp.stack(pair(key, costs)))(keys)


@pytest.mark.parametrize("slack", [0, 0.01, 0.1])
def test_draws_and_mutations_keep_a_limit_close_to_the_least_time(slack):
    budget = timed_budget(slack)
    costs = relative.relative_costs(budget)
    drawn = draw_and_mutate_many(jax.random.split(jax.random.key(0), 200), costs)
    cells = np.asarray(drawn).reshape(-1, *DARTS.shape[:2])
    assert budget.allows(cells).all()
    assert all(architecture.to_genotype(cell) is not None for cell in cells[:5])
    kept = [(cells[..., list(DARTS.incoming(node))] >= 0).sum(-1) for node in DARTS.inner_nodes]
    assert (np.array(kept) == 2).all(), "a cell of half of a node's edges is no cell"
    if slack == 0.1:
        assert len(np.unique(cells, axis=0)) > 20


def test_cheapest_operations_alone_would_break_such_a_limit():
    budget = timed_budget(0.01)
    costs = relative.relative_costs(budget)._replace(fallback=None)
    cheapened = jax.jit(jax.vmap(lambda key: relative.cheapen(key, costs, draw(key), DARTS)))
    cells = cheapened(jax.random.split(jax.random.key(0), 50))
    assert not budget.allows(np.asarray(cells)).all()


def test_a_cell_that_fits_stays_as_it_is():
    budget = timed_budget(0.3)
    costs = relative.relative_costs(budget)
    cell = jnp.asarray(budget.fallback)
    np.testing.assert_array_equal(relative.cheapen(jax.random.key(0), costs, cell, DARTS), cell)


def test_the_price_is_relative_to_the_mean_of_all_cells():
    costs = network_costs(*NETWORKS[2])
    price = relative.relative_to_mean(costs, 0, 0.5, DARTS)
    assert float(relative.expected_part(price, UNIFORM, DARTS)) == pytest.approx(0.5, rel=1e-5)
    probs = np.random.default_rng(0).dirichlet(np.ones(7), DARTS.shape[:2])
    parts = [costs.expected(p, DARTS)[0] for p in (probs, np.asarray(UNIFORM))]
    found = relative.expected_part(price, jnp.asarray(probs), DARTS)
    assert float(found) == pytest.approx(0.5 * parts[0] / parts[1], rel=1e-5)
    entropy = relaxation.with_entropy(
        relaxation.softmax(None), relaxation.Line(1.0, 1.0, epochs=1, steps=1)
    )
    both = relaxation.with_price(entropy, price, DARTS).penalty(probs, 0)
    assert float(both - entropy.penalty(probs, 0)) == pytest.approx(float(found), rel=1e-4)


def test_without_limits_the_program_of_a_draw_is_the_same():
    def within(key):
        return relative.draw_within(draw, key, None, DARTS)

    key = jax.random.key(3)
    assert str(jax.make_jaxpr(within)(key)) == str(jax.make_jaxpr(draw)(key))


def test_where_no_limit_binds_draws_are_spread_over_the_space():
    costs = relative.relative_costs(budget_for(NETWORKS[2], 1.0, None))
    cells = [draw_and_mutate(jax.random.key(seed), costs)[0] for seed in range(30)]
    assert len(np.unique(np.array(cells), axis=0)) == 30


def test_the_excess_is_relative_to_each_limit_and_nothing_within_it():
    budget = budget_for(NETWORKS[2], 0.25, 0.5)
    costs = relative.relative_costs(budget)
    probs = jnp.asarray(np.random.default_rng(0).dirichlet(np.ones(7), DARTS.shape[:2]))
    expected = budget.costs.expected(np.asarray(probs), DARTS)
    excess = np.maximum(expected / budget.limits - 1, 0).sum()
    assert excess > 0
    np.testing.assert_allclose(relative.expected_excess(costs, probs, DARTS), excess, rtol=1e-4)
    free = jax.nn.one_hot(jnp.full(DARTS.shape[:2], 1), 7)
    assert relative.expected_excess(costs, free, DARTS) == 0


def test_betas_decide_which_edges_are_paid_for():
    costs = relative.relative_costs(budget_for(NETWORKS[2], 0.0, None))
    dear = jnp.full(DARTS.shape[:2], 3)
    probs = jax.nn.one_hot(dear.at[:, 3].set(1), 7)  # node 3 has the edges 2 to 4; edge 3 pools
    onto_pool = jnp.concatenate(
        [jnp.full((2, 2), 0.5)] + [jnp.eye(n)[jnp.ones(2, int)] for n in (3, 4, 5)], -1
    )
    even = jnp.concatenate([jnp.full((2, n), 1 / n) for n in (2, 3, 4, 5)], -1)
    by_betas = [
        relative.expected_excess(costs, Mixture(probs, betas), DARTS) for betas in (onto_pool, even)
    ]
    assert by_betas[0] < by_betas[1]
    np.testing.assert_allclose(
        by_betas[1], relative.expected_excess(costs, probs, DARTS), rtol=1e-5
    )


def test_the_penalty_adds_to_another_one():
    costs = relative.relative_costs(budget_for(NETWORKS[2], 0.25, None, weight=2.0))
    entropy = relaxation.with_entropy(
        relaxation.softmax(None), relaxation.Line(1.0, 1.0, epochs=1, steps=1)
    )
    both = relaxation.with_limits(entropy, costs, DARTS)
    alone = relaxation.with_limits(relaxation.softmax(None), costs, DARTS)
    excess = 2 * relative.expected_excess(costs, UNIFORM, DARTS)
    np.testing.assert_allclose(alone.penalty(UNIFORM, 0), excess, rtol=1e-6)
    np.testing.assert_allclose(
        both.penalty(UNIFORM, 0) - excess, entropy.penalty(UNIFORM, 0), rtol=1e-4
    )


@pytest.mark.parametrize("betas", [False, True])
@pytest.mark.parametrize("name", EDGE_MODELS)
def test_every_edge_model_learns_to_stay_within_a_limit(name, betas):
    model = edge_model(name, "printed", DARTS, betas=betas)
    costs = relative.relative_costs(budget_for(NETWORKS[2], 0.2, None))
    optimizer = optax.adam(0.03)

    def excess(params):
        return relative.expected_excess(costs, model.probs(params), DARTS)

    def step(_, params_and_state):
        params, state = params_and_state
        updates, state = optimizer.update(jax.grad(excess)(params), state)
        return optax.apply_updates(params, updates), state

    params = model.init(jax.random.key(0))
    before = excess(params)
    after, _ = jax.jit(lambda p: jax.lax.fori_loop(0, 100, step, (p, optimizer.init(p))))(params)
    assert before > 0.5
    assert excess(after) < 0.02
