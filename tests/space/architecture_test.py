"""The distribution over architectures against an enumeration of all of them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.space import architecture, genotype
from nge_jax.space.architecture import ABSENT
from nge_jax.space.spaces import DARTS, NAS_BENCH_201, Space

# Two inputs, three inner nodes of which two choose 2 of 3 and 2 of 4 edges: 3 * 6 * 2^6 = 1152.
SMALL = Space(("a", "b"), ("normal",), num_inputs=2, num_nodes=5, kept_edges=2)


def random_probs(space, seed=0, sharpness=1.0):
    logits = np.random.default_rng(seed).normal(0, sharpness, space.shape)
    return np.asarray(jax.nn.softmax(logits), np.float32)


def every_architecture(space):
    """Written out by hand for one cell type."""
    choices = [itertools.combinations(space.incoming(k), space.kept(k)) for k in space.inner_nodes]
    for sets in itertools.product(*choices):
        kept = sorted(itertools.chain(*sets))
        for operations in itertools.product(range(len(space.operations)), repeat=len(kept)):
            cell = np.full((1, len(space.edges)), ABSENT, np.int32)
            cell[0, kept] = operations
            yield cell


def by_drawing_in_order(probs, cell, space):
    """Probability of one architecture as the docstring tells it: one edge drawn after another."""
    best = probs[0].astype(np.float64).max(-1)
    odds = best / (1 - best)
    total = 1.0
    for node in space.inner_nodes:
        incoming = space.incoming(node)
        kept = [e for e in incoming if cell[0, e] != ABSENT]
        of_orders = 0.0
        for order in itertools.permutations(kept):
            p, left = 1.0, set(incoming)
            for e in order:
                p *= odds[e] / sum(odds[list(left)])
                left -= {e}
            of_orders += p
        total *= of_orders * np.prod([probs[0, e, cell[0, e]] for e in kept])
    return total


@pytest.fixture(scope="module")
def enumerated():
    probs = random_probs(SMALL)
    cells = np.stack(list(every_architecture(SMALL)))
    log_probs = jax.vmap(lambda cell: architecture.log_prob(probs, cell, SMALL))(cells)
    return probs, cells, np.asarray(log_probs, np.float64)


def test_log_prob_is_that_of_drawing_edges_in_order(enumerated):
    probs, cells, log_probs = enumerated
    assert len(cells) == 1152
    expected = [by_drawing_in_order(probs, cell, SMALL) for cell in cells]
    np.testing.assert_allclose(np.exp(log_probs), expected, rtol=1e-4)
    assert np.exp(log_probs).sum() == pytest.approx(1, abs=1e-5)


def test_entropy_is_that_of_the_enumeration(enumerated):
    probs, _, log_probs = enumerated
    expected = -(np.exp(log_probs) * log_probs).sum()
    assert architecture.entropy(probs, SMALL) == pytest.approx(expected, rel=1e-5)


def test_samples_come_as_often_as_their_probability_says(enumerated):
    probs, cells, log_probs = enumerated
    draws = 20_000
    keys = jax.random.split(jax.random.key(0), draws)
    sampled = jax.jit(jax.vmap(lambda key: architecture.sample(key, probs, SMALL)))(keys)
    names = {cell.tobytes(): i for i, cell in enumerate(cells)}
    counts = np.bincount([names[cell.tobytes()] for cell in np.asarray(sampled)], minlength=1152)
    # Chi-square over all cells: mean 1151, deviation 48 if the two agree.
    expected = draws * np.exp(log_probs)
    assert ((counts - expected) ** 2 / expected).sum() < 1151 + 5 * 48


def test_uniform_probabilities_make_all_architectures_equal():
    cells = np.stack(list(every_architecture(SMALL)))
    uniform = architecture.uniform(SMALL)
    log_probs = jax.vmap(lambda cell: architecture.log_prob(uniform, cell, SMALL))(cells)
    np.testing.assert_allclose(log_probs, -np.log(1152), rtol=1e-6)


def test_what_the_space_does_not_allow_has_no_probability():
    probs = random_probs(SMALL)
    cell = next(every_architecture(SMALL))
    cell[0, SMALL.incoming(4)[3]] = 0  # a third edge into the last node
    assert architecture.log_prob(probs, cell, SMALL) == -np.inf


def test_where_all_edges_are_kept_only_operations_are_drawn():
    probs = random_probs(NAS_BENCH_201)
    cell = np.array([[0, 1, 2, 3, 4, 3]], np.int32)
    expected = np.log(probs[0, np.arange(6), cell[0]]).sum()
    assert architecture.log_prob(probs, cell, NAS_BENCH_201) == pytest.approx(expected, rel=1e-6)


def test_the_most_probable_architecture_is_the_derived_one():
    probs = random_probs(DARTS, seed=3, sharpness=2.0)
    derived = genotype.derive(probs)
    log_prob = jax.jit(lambda cell: architecture.log_prob(probs, cell, DARTS))
    best = np.full((2, 14), ABSENT, np.int32)
    for c, cell_type in enumerate(DARTS.cell_types):
        for j, (operation, i) in enumerate(derived.cell(cell_type)[0]):
            best[c, DARTS.edges.index((i, 2 + j // 2))] = DARTS.operations.index(operation)
    keys = jax.random.split(jax.random.key(1), 500)
    others = jax.jit(jax.vmap(lambda key: architecture.sample(key, probs, DARTS)))(keys)
    assert log_prob(best) >= jax.jit(jax.vmap(log_prob))(others).max()
    for node in DARTS.inner_nodes:  # another predecessor, with its own best operation
        for dropped, taken in itertools.permutations(DARTS.incoming(node), 2):
            if best[0, dropped] != ABSENT and best[0, taken] == ABSENT:
                other = best.copy()
                other[0, dropped], other[0, taken] = ABSENT, probs[0, taken].argmax()
                assert log_prob(best) > log_prob(other)


def test_a_sample_is_a_genotype_of_one_hot_probabilities():
    probs = random_probs(DARTS)
    keys = jax.random.split(jax.random.key(0), 20)
    cells = jax.jit(jax.vmap(lambda key: architecture.sample(key, probs, DARTS)))(keys)
    for cell in np.asarray(cells):
        assert cell.dtype == np.int32
        one_hot = np.asarray(architecture.one_hot(cell, DARTS))
        np.testing.assert_array_equal(one_hot.sum(-1), cell != ABSENT)
        found = genotype.validate(genotype.derive(one_hot))
        for c, cell_type in enumerate(DARTS.cell_types):
            pairs = {(i, 2 + j // 2): o for j, (o, i) in enumerate(found.cell(cell_type)[0])}
            kept = {
                edge: DARTS.operations[o]
                for edge, o in zip(DARTS.edges, cell[c], strict=True)
                if o != ABSENT
            }
            assert pairs == kept


def test_gradients_are_finite_where_probabilities_are_certain():
    logits = jnp.zeros(DARTS.shape).at[..., 0].set(200.0)

    def value(logits):
        probs = jax.nn.softmax(logits)
        cell = architecture.sample(jax.random.key(0), probs, DARTS)
        return architecture.log_prob(probs, cell, DARTS) + architecture.entropy(probs, DARTS)

    assert jnp.isfinite(jax.jit(jax.grad(value))(logits)).all()
