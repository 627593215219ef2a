"""Both layouts of arrays: what is computed of images that are last is what is computed of images that are first."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.supernet.layout import IMAGES_FIRST, IMAGES_LAST

CHANNELS = 3


def images(seed, shape=(4, 7, 6, CHANNELS)):
    return jax.random.normal(jax.random.key(seed), shape)


def assert_equal(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def of_both(compute, *arrays):
    """What `compute(layout, *arrays)` returns in each layout."""
    return [
        compute(layout, *(layout.laid(a) if a.ndim == 4 else a for a in arrays))
        for layout in (IMAGES_LAST, IMAGES_FIRST)
    ]


def test_images_that_are_laid_last_and_first_again_are_the_same_and_so_are_gradients():
    x, g = images(0), images(1)
    assert IMAGES_LAST.laid(x).shape == (CHANNELS, 7, 6, 4)
    laid, pull = jax.vjp(jax.jit(IMAGES_LAST.laid), x)
    np.testing.assert_array_equal(IMAGES_LAST.images_first(laid), x)
    np.testing.assert_array_equal(pull(IMAGES_LAST.laid(g))[0], g)


@pytest.mark.parametrize(
    "compute",
    [
        lambda layout, x: layout.mean(x, None),
        lambda layout, x: layout.sum(layout.pixels(x)),
        lambda layout, x: layout.pooled(x),
        lambda layout, x: layout.moments(layout.pixels(x), None),
        lambda layout, x: layout.products(layout.pixels(x), layout.pixels(x * x)),
        lambda layout, x: layout.images_first(layout.batch_norm(x, None)),
        lambda layout, x: layout.images_first(layout.pointwise(x, jnp.ones((CHANNELS, 2)))),
        lambda layout, x: layout.images_first(layout.side_by_side(jnp.stack([x, 2 * x]))),
    ],
)
def test_numbers_of_images_do_not_depend_on_where_they_lie(compute):
    for found, expected in zip(*map(jax.tree.leaves, of_both(compute, images(0))), strict=True):
        assert_equal(found, expected)


def test_pixels_do_not_depend_on_where_they_lie():
    x, vector, matrix = images(0), images(1, (CHANNELS,)), images(2, (CHANNELS, CHANNELS))
    for compute in (
        lambda layout, x: layout.pixels_less(x, vector),
        lambda layout, x: layout.pixels_where(layout.pixels(x) > 0, x + 1),
        lambda layout, x: layout.affine(layout.pixels(x), matrix, vector),
    ):
        last, first = of_both(compute, x)
        last = last.reshape(CHANNELS, 7, 6, 4)
        assert_equal(IMAGES_LAST.images_first(last), first.reshape(x.shape))


@pytest.mark.parametrize(
    "size, k, dilation, stride",
    [((7, 6), 3, 1, 1), ((7, 6), 5, 2, 1), ((7, 6), 5, 1, 2), ((7, 6), 3, 2, 2), ((1, 3), 5, 2, 1)],
)
def test_depthwise_convolutions_and_their_gradients_do_not_depend_on_where_images_lie(
    size, k, dilation, stride
):
    kernel = images(1, (k, k, CHANNELS))

    def convolve(layout, x):
        return jax.vjp(lambda x, k: layout.depthwise(x, k, stride, dilation), x, kernel)

    (last, last_pull), (first, first_pull) = of_both(convolve, images(0, (4, *size, CHANNELS)))
    assert_equal(IMAGES_LAST.images_first(last), first)
    g = images(2, first.shape)
    (g_last, k_last), (g_first, k_first) = last_pull(IMAGES_LAST.laid(g)), first_pull(g)
    np.testing.assert_allclose(IMAGES_LAST.images_first(g_last), g_first, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(k_last, k_first, rtol=1e-4, atol=1e-4)
