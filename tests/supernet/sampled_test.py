"""A sampled cell has the values and gradients of the mixed cell under one-hot probabilities."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.space import architecture
from nge_jax.space.architecture import ABSENT
from nge_jax.space.spaces import DARTS, DILATED, SEPARABLE
from nge_jax.supernet import cell
from nge_jax.supernet.layouts import images_last
from nge_jax.supernet.model import make_supernet
from nge_jax.supernet.sampled import Drawn, mix_chosen
from nge_jax.supernet.schedules.looped import mix_one_by_one
from nge_jax.supernet.schedules.reference import mix_as_written
from tests.helpers.cells import mixed_cell

CHANNELS, BEFORE = 2, (3, 5)

# Every operation occurs with stride 1 and with stride 2, and every possible source has a kept edge.
COVERING = np.full((2, 2, 14), ABSENT, np.int32)
COVERING[0, 0, [0, 1, 2, 4, 7, 8, 9, 13]] = [3, 4, 5, 6, 0, 1, 2, 3]
COVERING[0, 1, [0, 1, 2, 3, 5, 6, 9, 10]] = [0, 1, 2, 3, 4, 5, 6, 0]
COVERING[1, 0, [0, 1, 3, 4, 5, 8, 12, 13]] = [4, 0, 3, 6, 1, 5, 2, 0]
COVERING[1, 1, [0, 1, 2, 4, 7, 8, 11, 12]] = [6, 5, 4, 1, 3, 2, 1, 5]


def problem(reduction):
    """Returns a cell's parameters and inputs, and a direction to project the output on."""
    keys = jax.random.split(jax.random.key(0), 4)
    params = cell.init_mixed_cell(keys[0], BEFORE, CHANNELS, reduction, not reduction)
    size = 16 if not reduction else 8
    before = (
        jax.random.normal(keys[1], (3, size, size, BEFORE[0])),
        jax.random.normal(keys[2], (3, 8, 8, BEFORE[1])),
    )
    size_after = 4 if reduction else 8
    return params, before, jax.random.normal(keys[3], (3, size_after, size_after, 4 * CHANNELS))


def value_and_gradients(mix_edges, reduction):
    """Compiles the projection's value and its gradients for parameters and inputs, in the CPU's layout."""

    def projected(params, before, choice, direction):
        arguments = {"reduction": reduction, "mix_edges": mix_edges}
        out = mixed_cell(params, before, choice, layout=images_last, **arguments)
        return (out * direction).sum()

    return jax.jit(jax.value_and_grad(projected, (0, 1)))


@functools.cache
def sampled(reduction):
    return value_and_gradients(functools.partial(mix_chosen, layout=images_last), reduction)


def assert_close(found, expected, relative=1e-5):
    for (path, e), f in zip(
        jax.tree_util.tree_leaves_with_path(expected), jax.tree.leaves(found), strict=True
    ):
        tolerance = relative * max(1.0, np.abs(e).max())
        np.testing.assert_allclose(f, e, atol=tolerance, err_msg=jax.tree_util.keystr(path))


@pytest.mark.whole
@pytest.mark.parametrize("reduction", [False, True])
def test_a_sampled_cell_equals_the_mixed_one_under_one_hot_probabilities(reduction):
    params, before, direction = problem(reduction)
    mixed = value_and_gradients(mix_one_by_one, reduction)
    drawn = architecture.sample(jax.random.key(3), architecture.uniform(DARTS), DARTS)
    for cells in (*jnp.asarray(COVERING), drawn):
        chosen = cells[int(reduction)]
        expected = mixed(params, before, architecture.one_hot(chosen, DARTS), direction)
        found = sampled(reduction)(params, before, chosen, direction)
        assert np.isfinite(found[0])
        assert_close(found, expected)
    assert sampled(reduction)._cache_size() == 1  # an architecture is an argument


@pytest.mark.whole
@pytest.mark.parametrize("reduction", [False, True])
def test_scaled_operations_equal_the_reference_whose_probabilities_are_the_scales(reduction):
    """Gradients are computed for weights, inputs and scales together, and for the scales alone as an embedding does."""
    params, before, direction = problem(reduction)
    operations = jnp.asarray(np.random.default_rng(4).permutation(np.arange(14) % 7), jnp.int32)
    scales = jax.random.uniform(jax.random.key(5), (14,), minval=0.5, maxval=2.0)

    def written(params, before, scales):
        probs = architecture.one_hot(operations, DARTS) * scales[:, None]
        return projected(mix_as_written, params, before, probs)

    def drawn(params, before, scales):
        return projected(mix_chosen, params, before, Drawn(operations, scales))

    def projected(mix_edges, params, before, choices):
        out = cell.mixed_cell(params, before, choices, reduction=reduction, mix_edges=mix_edges)
        return (out * direction).sum()

    arguments = params, before, scales
    expected = jax.jit(jax.value_and_grad(written, (0, 1, 2)))(*arguments)
    found = jax.jit(jax.value_and_grad(drawn, (0, 1, 2)))(*arguments)
    assert_close(found, expected, relative=5e-5)
    value, (_, _, g_scales) = expected
    found = jax.jit(jax.value_and_grad(drawn, 2))(*arguments)
    assert_close(found, (value, g_scales), relative=5e-5)
    assert (np.abs(g_scales) > 1e-3).all()


@pytest.mark.whole
def test_an_operation_that_is_not_chosen_has_no_gradient():
    params, before, direction = problem(reduction=False)
    chosen = COVERING[0, 0]
    _, (g_params, _) = sampled(False)(params, before, jnp.asarray(chosen), direction)
    for name in SEPARABLE | DILATED:
        moved = np.zeros(14, bool)
        for leaf in jax.tree.leaves(g_params["edges"][name]):
            moved |= np.any(np.asarray(leaf).reshape(14, -1) != 0, axis=1)
        np.testing.assert_array_equal(moved, chosen == DARTS.operations.index(name))


def test_the_network_is_the_supernets():
    net = make_supernet(1, 2, 3, image_channels=1)
    weights = net.init(jax.random.key(0))
    images = jax.random.normal(jax.random.key(1), (4, 8, 8, 1))
    cells = jnp.asarray(COVERING[1])
    expected = jax.jit(net.apply)(weights, images, architecture.one_hot(cells, DARTS))
    found = jax.jit(net.sampled().apply)(weights, images, cells)
    assert_close(found, expected)
