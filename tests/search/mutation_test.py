"""Edges that mutate in the steps of the weights: which, how often, into what, and where nothing changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.errors import InputError
from nge_jax.search import build as search_build
from nge_jax.search import checks, phases
from nge_jax.search.steps import gradient, relaxation
from nge_jax.space.mixture import Mixture
from nge_jax.space.parts import parametric
from nge_jax.space.spaces import DARTS, NAS_BENCH_201, SPACES, Space
from nge_jax.supernet.sampled import Drawn
from tests.helpers.small_search import make_config

EPOCHS, STEPS, MOST = 5, 40, 0.4
RATES = relaxation.Line(0.0, MOST, EPOCHS, STEPS)
STREAM = 2**31 + 4


def names(space: Space, cell_type: int, edge: int) -> list[str]:
    """The operations of an edge that EM-DARTS calls parametric, by their names."""
    return [name for name in space.choices(cell_type, edge) if "conv" in name]


def expected(space: Space, key: jax.Array, step: int) -> dict[tuple[int, int], int]:
    """The edges that mutate in a step, each with the number of its operation, computed one by one."""
    key = jax.random.fold_in(jax.random.fold_in(key, STREAM), step)
    cells, edges, _ = space.shape
    chance, choice = np.asarray(jax.random.uniform(key, (2, cells, edges)))
    rate = MOST * (step // STEPS) / (EPOCHS - 1)
    found = {}
    for c in range(cells):
        for e in range(edges):
            among = names(space, c, e)
            if chance[c, e] < rate and among:
                found[c, e] = space.operations.index(among[int(choice[c, e] * len(among))])
    return found


@pytest.mark.parametrize(
    "name, space",
    [("softmax", DARTS), ("partial", DARTS), ("gumbel", DARTS), ("softmax", NAS_BENCH_201), ("softmax", SPACES["s1"])],
    ids=["softmax", "partial", "gumbel", "nas_bench_201", "s1"],
)  # fmt: skip
def test_the_drawn_edges_have_one_operation_with_weights_and_the_others_what_they_had(name, space):
    probs = jax.nn.softmax(jax.random.normal(jax.random.key(0), space.shape))
    relaxed = relaxation.softmax(None)
    if name == "gumbel":
        relaxed = relaxation.gumbel(None, RATES._replace(first=1.0, last=1.0), space)
    given = Mixture(probs, jnp.full(space.shape[:2], 0.3)) if name == "partial" else probs
    mutated = relaxation.with_mutation(relaxed, RATES, parametric.mask(space))
    assert mutated.mix is relaxed.mix  # the embedding's steps
    key, steps = jax.random.key(7), jnp.arange(EPOCHS * STEPS)
    choices, plain = (
        jax.jit(jax.vmap(lambda step, mix=mix: mix(given, key, step)))(steps)
        for mix in (mutated.weight_mix, mutated.mix)
    )
    if isinstance(choices, Mixture):
        np.testing.assert_array_equal(choices.betas, plain.betas)
        choices, plain = choices.probs, plain.probs
    counts = np.zeros((EPOCHS, *space.shape))
    for step in range(EPOCHS * STEPS):
        found, before = (
            jax.tree.map(lambda a, n=step: np.array(a[n]), a) for a in (choices, plain)
        )
        for (c, e), o in expected(space, key, step).items():
            counts[step // STEPS, c, e, o] += 1
            if isinstance(before, Drawn):
                before.operations[c, e], before.scales[c, e] = o, 1
            else:
                before[c, e] = np.eye(space.shape[2])[o]
        jax.tree.map(np.testing.assert_array_equal, found, before)
    _check_counts(counts, space)
    assert [mutated.record(n)["edge_mutation"] for n in (1, 3, 5)] == [0, MOST / 2, MOST]


def _check_counts(counts, space):
    """Checks that edges mutate as often as the epoch says, each operation alike; `counts` [epoch, C, E, O]."""
    has = parametric.mask(space)
    steps = STEPS * has.any(-1).sum()
    for epoch, rate in enumerate(np.linspace(0, MOST, EPOCHS)):
        deviation = (rate * (1 - rate) / steps) ** 0.5
        assert abs(counts[epoch].sum() / steps - rate) <= 4 * deviation
    assert not counts[:, ~has].any()
    # Each operation with weights is as likely.
    draws = has / np.maximum(has.sum(-1, keepdims=True), 1)
    drawn = [n / d for n, d in zip(counts.sum((0, 1, 2)), draws.sum((0, 1)), strict=True) if d]
    assert max(drawn) < 1.5 * min(drawn)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_parametric_operations_have_weights_where_the_size_stays(space):
    """A skip connection that halves the size has weights too, and is no parametric operation."""
    found = parametric.mask(space)
    cells, edges, _ = space.shape
    for c in range(cells):
        for e in range(edges):
            chosen = [n for n, has in zip(space.operations, found[c, e], strict=True) if has]
            assert {*chosen} == {*names(space, c, e)}


def test_only_the_steps_of_the_weights_mutate(data, monkeypatch):
    """Without the key no step knows of mutation, so that the programs are as without it."""
    given = {}
    for name in ("weight", "embedding"):

        def make(*arguments, name=name, **options):
            given[name] = [a for a in arguments if callable(a)][-1]

        monkeypatch.setattr(gradient, f"make_{name}_step", make)
    for rate in (0.0, 0.1):
        search = search_build.build(make_config("gradient", edge_mutation=rate), data)
        phases._make_steps(search, search.arguments)
        assert given["embedding"] is relaxation.mix_all
        assert (given["weight"] is relaxation.mix_all) == (rate == 0)


@pytest.mark.parametrize(
    "strategy, keys, message",
    [
        ("evolution", {}, "found 0.1, expected 0 with strategy 'evolution'"),
        ("gradient", {"space": "pools"}, "found 0.1, expected 0 in the space 'pools', which has no operation with"),
    ],
)  # fmt: skip
def test_mutation_is_refused_where_it_means_nothing(strategy, keys, message, monkeypatch):
    pools = DARTS._replace(operations=DARTS.operations[:3])
    monkeypatch.setattr(checks, "find_space", {"darts": DARTS, "pools": pools}.__getitem__)
    config = make_config(strategy, edge_mutation=0.1, **keys)
    with pytest.raises(InputError, match=f"^config.search.edge_mutation: {message}"):
        checks.check(config)
