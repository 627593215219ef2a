"""The fast schedules of the mixed cell against the reference, and the arithmetic that they share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.space.genotype import OPERATIONS
from nge_jax.space.spaces import DILATED, SEPARABLE
from nge_jax.supernet import cell, norm
from nge_jax.supernet.layouts import channels_last, images_last
from nge_jax.supernet.schedules import looped_edge, reference
from nge_jax.supernet.schedules.schedule import SCHEDULES
from tests.helpers.cells import mixed_cell_by

CHANNELS, BEFORE = 4, (6, 5)


@pytest.fixture(scope="module")
def key():
    return jax.random.key(7)


def problem(key, reduction, reduction_before, size=8):
    """Returns parameters, inputs, probabilities and a direction to project the output on."""
    keys = jax.random.split(key, 5)
    params = cell.init_mixed_cell(keys[0], BEFORE, CHANNELS, reduction, reduction_before)
    size_before = size * 2 - size % 2 if reduction_before else size
    before = (
        jax.random.normal(keys[1], (3, size_before, size_before, BEFORE[0])),
        jax.random.normal(keys[2], (3, size, size, BEFORE[1])),
    )
    probs = jax.nn.softmax(2 * jax.random.normal(keys[3], (14, 7)))
    size_after = -(-size // 2) if reduction else size
    direction = jax.random.normal(keys[4], (3, size_after, size_after, 4 * CHANNELS))
    return params, before, probs, direction


def value_and_gradients(schedule, reduction, params, before, probs, direction):
    def projected(params, before, probs):
        out = mixed_cell_by(schedule, params, before, probs, reduction=reduction)
        return (out * direction).sum(), out

    (_, out), grads = jax.jit(jax.value_and_grad(projected, argnums=(0, 1, 2), has_aux=True))(
        params, before, probs
    )
    return out, grads


@pytest.mark.whole
@pytest.mark.parametrize("reduction, size", [(False, 7), (True, 8), (True, 7)])
def test_the_fast_schedules_equal_the_reference(key, reduction, size):
    args = problem(key, reduction, reduction_before=not reduction, size=size)
    expected = value_and_gradients("reference", reduction, *args)
    for schedule in SCHEDULES.keys() - {"reference"}:
        found = value_and_gradients(schedule, reduction, *args)
        for path, (f, e) in zip_leaves(found, expected):
            scale = np.abs(e).max()
            np.testing.assert_allclose(
                f, e, atol=2e-5 * scale, rtol=1e-4, err_msg=f"{schedule} {path}"
            )


@pytest.mark.whole
@pytest.mark.parametrize("reduction", [False, True])
def test_a_gradient_does_not_depend_on_which_others_are_asked_for(key, reduction):
    """A step that updates one group of parameters skips the gradient of the other group, and nothing else."""
    params, before, probs, direction = problem(key, reduction, reduction_before=False)

    def projected(params, before, probs):
        out = mixed_cell_by("loop", params, before, probs, reduction=reduction)
        return (out * direction).sum()

    def gradients(argnums):
        return jax.jit(jax.grad(projected, argnums))(params, before, probs)

    together = gradients((0, 1, 2))
    for number in (0, 2):
        for path, (f, e) in zip_leaves(gradients((number,)), (together[number],)):
            np.testing.assert_allclose(f, e, atol=1e-5 * np.abs(e).max(), err_msg=path)


def zip_leaves(found, expected):
    paths, _ = jax.tree_util.tree_flatten_with_path(expected)
    leaves = jax.tree.leaves(found)
    assert len(leaves) == len(paths)
    return [
        (jax.tree_util.keystr(p), (np.asarray(f), np.asarray(e)))
        for f, (p, e) in zip(leaves, paths, strict=True)
    ]


@pytest.mark.parametrize("schedule", ["reference", "together"])
def test_one_hot_probabilities_give_the_chosen_operation(key, schedule):
    params, before, _, _ = problem(key, False, False)
    probs = jnp.zeros((14, 7)).at[:, 0].set(1.0)  # skip_connect everywhere
    out = mixed_cell_by(schedule, params, before, probs, reduction=False)
    nodes = [preprocessed_by_numpy(params[f"preprocess_{n}"], x) for n, x in enumerate(before)]
    for _ in range(4):
        nodes.append(sum(nodes))
    np.testing.assert_allclose(out, np.concatenate(nodes[2:], -1), rtol=1e-4, atol=1e-4)


def preprocessed_by_numpy(weights, x):
    """Computes ReLU, 1x1 convolution (or both of FactorizedReduce) and batch normalization, in float64."""
    weights, x = (np.asarray(a, np.float64) for a in (weights, x))
    x = np.maximum(x, 0)
    if weights.ndim == 3:
        halves = x[:, ::2, ::2] @ weights[0], x[:, 1::2, 1::2] @ weights[1]
        y = np.concatenate(halves, -1)
    else:
        y = x @ weights
    return (y - y.mean((0, 1, 2))) / np.sqrt(y.var((0, 1, 2)) + 1e-5)


@pytest.mark.parametrize("shape", [(6, 4), (2, 6, 2)])
def test_inputs_are_preprocessed_as_darts_does(key, shape):
    weights = jax.random.normal(key, shape)
    x = jax.random.normal(jax.random.fold_in(key, 1), (3, 8, 8, 6))
    expected = preprocessed_by_numpy(weights, x)
    np.testing.assert_allclose(cell.preprocess(weights, x, None), expected, atol=1e-5)
    if len(shape) == 3:
        np.testing.assert_allclose(reference.factorized_reduce(weights, x), expected, atol=1e-5)


@pytest.mark.parametrize("mean", [0.0, 3.0, 1000.0])
def test_folded_batch_norm_equals_the_unfolded(key, mean):
    """`fold` gets pixels less a constant near their mean, as in `mixed_convolutions`."""
    keys = jax.random.split(key, 3)
    h = mean + jax.random.normal(keys[0], (4096, 8)) * jnp.arange(1, 9)
    weights = jax.random.normal(keys[1], (8, 8))
    centered = h - h[:64].mean(0)
    moments = channels_last.moments(centered, None)
    found = channels_last.affine(centered, *norm.fold(weights, 0.3, *moments))
    h = np.asarray(h, np.float64)
    y = h @ np.asarray(weights, np.float64)
    expected = 0.3 * (y - y.mean(0)) / np.sqrt(y.var(0) + 1e-5)
    np.testing.assert_allclose(found, expected, atol=2e-4 if mean == 1000 else 2e-6)


def test_the_folds_derivative_equals_that_of_the_unfolded(key):
    """The derivative by hand equals the automatic one for h, W and p, also where a channel has no variance."""
    keys = jax.random.split(key, 3)
    h = 0.1 + jax.random.normal(keys[0], (512, 6)) * jnp.arange(6)
    weights = jax.random.normal(keys[1], (6, 4))
    direction = jax.random.normal(keys[2], (512, 4))

    def folded(h, weights, p):
        moments = channels_last.moments(h, None)
        return (direction * channels_last.affine(h, *norm.fold(weights, p, *moments))).sum()

    def unfolded(h, weights, p):
        return (direction * p * norm.batch_norm(h @ weights)).sum()

    found, expected = (jax.grad(f, (0, 1, 2))(h, weights, 0.3) for f in (folded, unfolded))
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(f, e, atol=1e-4 * np.abs(e).max())


@pytest.mark.parametrize("mean", [0.0, 30.0])
def test_convolutions_with_large_means_do_not_cancel(key, mean):
    """The mixed convolutions equal their values in float64, also for a source far from zero."""
    keys = jax.random.split(key, 3)
    params = cell.init_mixed_cell(keys[0], BEFORE, CHANNELS, False, False)["edges"]
    edge = jax.tree.map(lambda a: a[0], params)
    x = mean + jax.random.normal(keys[1], (4, 16, 16, CHANNELS))
    p = jax.nn.softmax(jax.random.normal(keys[2], (7,)))
    relu_x = jax.nn.relu(x)
    center = relu_x.mean((0, 1, 2))
    found, _ = looped_edge.mixed_convolutions(
        edge, images_last.to_layout(relu_x), center, p, 1, None
    )
    found = images_last.to_nhwc(found)
    with jax.enable_x64(True):
        edge, x, p = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.float64), (edge, x, p))
        expected = sum(
            p[o] * reference.operation(name, edge, x, 1)
            for o, name in enumerate(OPERATIONS)
            if name in SEPARABLE | DILATED
        )
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("mean", [0.0, 3.0])
def test_batch_norm_in_one_pass_equals_that_in_two(key, mean):
    """The results differ by the rounding of the difference of squares, which is small at a convolution's means."""
    x = mean + jax.random.normal(key, (8, 4, 4, 5)) * jnp.arange(5.0)  # channel 0 is constant
    g = jax.random.normal(key, x.shape)
    expected, expected_pull = jax.vjp(norm.batch_norm, x)
    found, pull = jax.vjp(norm.batch_norm_in_one_pass, x)
    np.testing.assert_allclose(found[..., 1:], expected[..., 1:], atol=2e-5)
    np.testing.assert_allclose(pull(g)[0][..., 1:], expected_pull(g)[0][..., 1:], atol=2e-5)
    assert jnp.isfinite(found).all() and jnp.isfinite(pull(g)[0]).all()


def test_batch_norm_in_one_pass_sums_many_terms_well(key):
    """Statistics from one sum after another would be off by 2e-6."""
    x = 1 + jax.random.normal(key, (8, 32, 32, 16))
    wide, others = np.asarray(x, np.float64), (0, 1, 2)
    exact = (wide - wide.mean(others)) / np.sqrt(wide.var(others) + norm.BATCH_NORM_EPSILON)
    errors = jax.jit(norm.batch_norm_in_one_pass)(x) - exact
    assert np.abs(errors.mean(others)).max() < 5e-7
    assert np.abs((errors * exact).mean(others)).max() < 5e-7


def test_both_batch_norms_share_statistics_between_devices_alike(key):
    x = 1 + jax.random.normal(key, (2, 3, 4, 4, 5))
    g = jax.random.normal(jax.random.fold_in(key, 1), x.shape)

    def normalized(normalize):
        def on_device(x, g):
            y, pull = jax.vjp(lambda x: normalize(x, "batch"), x)
            return y, *pull(g)

        return jax.vmap(on_device, axis_name="batch")(x, g)

    found, expected = map(normalized, (norm.batch_norm_in_one_pass, norm.batch_norm))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)
    whole = norm.batch_norm(x.reshape(-1, *x.shape[2:])).reshape(x.shape)
    np.testing.assert_allclose(found[0], whole, atol=2e-5)
