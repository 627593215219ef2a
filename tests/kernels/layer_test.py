"""The steps that a layer offers operations, against NumPy; and counts of multiply-adds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.kernels.layer import Layer, keep
from nge_jax.kernels.multiply_adds import count

X = np.random.default_rng(0).normal(size=(2, 7, 6, 4)).astype(np.float32)


def convolved(x, kernel, strides, dilation):
    """Convolves x with a kernel [h, w, C / groups, C'], from the definition."""
    height, width, read, outputs = kernel.shape
    pads = [dilation * (size // 2) for size in (height, width)]
    padded = np.pad(x, ((0, 0), *((p, p) for p in pads), (0, 0)))
    rows, columns = (range(0, n, s) for n, s in zip(x.shape[1:3], strides, strict=True))
    y = np.zeros((len(x), len(rows), len(columns), outputs))
    groups = x.shape[-1] // read
    for a, row in enumerate(rows):
        for b, column in enumerate(columns):
            window = padded[:, row : row + dilation * height : dilation]
            window = window[:, :height, column : column + dilation * width : dilation][:, :, :width]
            for o in range(outputs):
                first = o * groups // outputs * read
                part = window[..., first : first + read]
                y[:, a, b, o] = (part * kernel[..., o]).sum((1, 2, 3))
    return y


@pytest.mark.parametrize(
    "shape, strides, dilation",
    [
        ((4, 6), (2, 2), 1),
        ((4, 6), (1, 1), 1),
        ((3, 3, 4), (2, 2), 2),
        ((1, 7, 4, 4), (1, 2), 1),
        ((7, 1, 4, 4), (2, 1), 1),
        ((3, 3, 2, 4), (2, 2), 1),
        ((3, 3, 4), (1, 2), 1),
    ],
)
def test_a_convolution_of_any_kernel_equals_the_definition(shape, strides, dilation):
    kernel = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    whole = {2: kernel[None, None], 4: kernel}.get(kernel.ndim)
    expected = convolved(X, kernel[:, :, None] if whole is None else whole, strides, dilation)
    found = Layer(2, keep).conv(jnp.asarray(X), jnp.asarray(kernel), strides, dilation)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_another_stride_than_the_layers_is_refused():
    with pytest.raises(ValueError, match="stride: found 2, expected 1 or the layer's stride, 1"):
        Layer(1, keep).conv(jnp.asarray(X), jnp.ones((4, 4)), 2)


def test_pixels_that_a_stride_keeps():
    layer = Layer(2, keep)
    np.testing.assert_array_equal(layer.every(X), X[:, ::2, ::2])
    shifted = np.asarray(layer.shift(jnp.asarray(X)))
    np.testing.assert_array_equal(shifted[:, :-1, :-1], X[:, 1:, 1:])
    assert not shifted[:, -1].any() and not shifted[:, :, -1].any()


def test_noise_is_normal_and_follows_from_the_bits_of_x():
    x = jnp.asarray(np.random.default_rng(2).normal(size=(8, 16, 16, 4)), jnp.float32)
    layer = Layer(2, keep)
    noise = np.asarray(layer.noise(x))
    assert noise.shape == (8, 8, 8, 4) and abs(noise.mean()) < 0.1 and abs(noise.std() - 1) < 0.1
    np.testing.assert_array_equal(noise, layer.noise(x))
    assert (noise != np.asarray(layer.noise(x + 1))).mean() > 0.9
    assert not np.asarray(jax.grad(lambda x: (layer.noise(x) * noise).sum())(x)).any()


def test_the_multiply_adds_of_a_program():
    x, kernel = jnp.zeros((1, 8, 8, 4)), jnp.zeros((3, 3, 2, 6))
    layer = Layer(2, keep)
    # Each of 4 x 4 x 6 outputs reads 3 x 3 pixels of 2 channels. Dense: 6 x 5.
    assert count(lambda x, k: layer.conv(x, k, 2), x, kernel) == 16 * 6 * 18
    assert count(lambda x, w: x.mean((1, 2)) @ w, jnp.zeros((1, 8, 8, 6)), jnp.zeros((6, 5))) == 30
    assert count(lambda x, k: layer.conv(x, k, 2), x, jnp.zeros((5, 5, 4))) == 16 * 4 * 25
