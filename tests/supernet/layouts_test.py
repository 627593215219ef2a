"""The two layouts of arrays: `images_last` computes the same numbers as `channels_last`."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.supernet.layouts import channels_last, images_last

CHANNELS = 3


def images(seed, shape=(4, 7, 6, CHANNELS)):
    return jax.random.normal(jax.random.key(seed), shape)


def assert_equal(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def in_both(compute, *arrays):
    """Returns `compute(layout, *arrays)` for each layout, with images [B, H, W, C] converted to the layout."""
    return [
        compute(layout, *(layout.to_layout(a) if a.ndim == 4 else a for a in arrays))
        for layout in (images_last, channels_last)
    ]


def test_both_layouts_have_the_same_functions():
    """Code takes either module, therefore a function of one must not be missing in the other."""

    def signatures(layout):
        functions = inspect.getmembers(layout, callable)
        return {
            name: inspect.signature(f) for name, f in functions if f.__module__ == layout.__name__
        }

    shared, both = signatures(channels_last), signatures(images_last)
    assert len(shared) > 10
    assert {name: both[name] for name in shared} == shared


def test_a_layout_and_back_is_the_identity_and_so_are_gradients():
    x, g = images(0), images(1)
    assert images_last.to_layout(x).shape == (CHANNELS, 7, 6, 4)
    y, pull = jax.vjp(jax.jit(images_last.to_layout), x)
    np.testing.assert_array_equal(images_last.to_nhwc(y), x)
    np.testing.assert_array_equal(pull(images_last.to_layout(g))[0], g)


@pytest.mark.parametrize(
    "compute",
    [
        lambda layout, x: layout.mean(x, None),
        lambda layout, x: layout.global_average_pool(x),
        lambda layout, x: layout.count_channels(x),
        lambda layout, x: layout.moments(layout.shifted_pixels(x, jnp.ones(CHANNELS)), None),
        lambda layout, x: layout.to_nhwc(layout.batch_norm(x, None)),
        lambda layout, x: layout.to_nhwc(layout.pointwise(x, jnp.ones((CHANNELS, 2)))),
        lambda layout, x: layout.to_nhwc(layout.factorized_reduce(x, images(1, (2, CHANNELS, 2)))),
        lambda layout, x: layout.to_nhwc(layout.concatenate_channels(jnp.stack([x, 2 * x]))),
    ],
)
def test_results_do_not_depend_on_the_layout(compute):
    for found, expected in zip(*map(jax.tree.leaves, in_both(compute, images(0))), strict=True):
        assert_equal(found, expected)


def test_pixels_do_not_depend_on_the_layout():
    x, vector, matrix = images(0), images(1, (CHANNELS,)), images(2, (CHANNELS, CHANNELS))

    def compute(layout, x):
        return layout.affine(layout.shifted_pixels(x, vector), matrix, vector)

    last, first = in_both(compute, x)
    assert_equal(images_last.to_nhwc(last.reshape(CHANNELS, 7, 6, 4)), first.reshape(x.shape))


def test_pixels_with_images_last_are_columns():
    """The loop's derivative needs these functions in its own layout alone."""
    x = images_last.to_layout(images(0))
    pixels = np.asarray(images_last.to_pixels(x))
    assert pixels.shape == (CHANNELS, images_last.count_pixels(pixels))
    np.testing.assert_array_equal(images_last.masked_pixels(x, pixels > 0), np.maximum(pixels, 0))
    assert_equal(images_last.sum_pixels(pixels), np.asarray(x).sum((1, 2, 3)))
    assert_equal(images_last.sum_products(pixels, pixels**2) / 100, pixels @ (pixels**2).T / 100)


@pytest.mark.parametrize(
    "size, k, dilation, stride",
    [((7, 6), 3, 1, 1), ((7, 6), 5, 2, 1), ((7, 6), 5, 1, 2), ((7, 6), 3, 2, 2), ((1, 3), 5, 2, 1)],
)
def test_depthwise_convolutions_and_their_gradients_do_not_depend_on_the_layout(
    size, k, dilation, stride
):
    kernel = images(1, (k, k, CHANNELS))

    def convolve(layout, x):
        return jax.vjp(lambda x, k: layout.depthwise_conv(x, k, stride, dilation), x, kernel)

    (last, last_pull), (first, first_pull) = in_both(convolve, images(0, (4, *size, CHANNELS)))
    assert_equal(images_last.to_nhwc(last), first)
    g = images(2, first.shape)
    (g_last, k_last), (g_first, k_first) = last_pull(images_last.to_layout(g)), first_pull(g)
    np.testing.assert_allclose(images_last.to_nhwc(g_last), g_first, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(k_last, k_first, rtol=1e-4, atol=1e-4)
