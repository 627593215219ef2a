"""The layout of GPUs and TPUs: the channels are the last axis, [B, H, W, C].

The "pixels" of an array are a matrix [N, C]: one row for each pixel of each image, N = B H W.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax.kernels import convolution, depthwise
from nge_jax.supernet import norm

CHANNEL_AXIS = -1


def to_layout(x: jax.Array) -> jax.Array:
    """Returns x [B, H, W, C] as it is."""
    return x


def to_nhwc(x: jax.Array) -> jax.Array:
    """Returns x [B, H, W, C] as it is."""
    return x


def count_channels(x: jax.Array) -> int:
    """Counts the channels of x."""
    return x.shape[-1]


def concatenate_channels(arrays: jax.Array) -> jax.Array:
    """Joins n arrays [n, B, H, W, C] to one with n C channels."""
    return jnp.concatenate(list(arrays), -1)


def mean(x: jax.Array, axis_name: str | None) -> jax.Array:
    """Computes the mean of each channel, [C] float32, over the devices on `axis_name` too."""
    return norm.pmean(x.mean((0, 1, 2), dtype=jnp.float32), axis_name)


def global_average_pool(x: jax.Array) -> jax.Array:
    """Computes the mean of each channel of each image: [B, C] float32."""
    return x.mean((1, 2), dtype=jnp.float32)


def batch_norm(x: jax.Array, axis_name: str | None) -> jax.Array:
    """Normalizes x with the statistics of the batch, see `norm.batch_norm`."""
    return norm.batch_norm(x, axis_name)


def pointwise(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Applies a 1x1 convolution [C, C'] to x."""
    return x @ weights.astype(x.dtype)


def factorized_reduce(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Halves the resolution of x by two 1x1 convolutions [2, C, C' / 2], the second shifted by one pixel."""
    halves: list[Any] = [
        convolution.strided_pointwise(x, w.astype(x.dtype), step=2, shift=shift, product=jnp.matmul)
        for shift, w in enumerate(weights)
    ]
    return jnp.concatenate(halves, -1)


def depthwise_conv(x: jax.Array, kernel: jax.Array, stride: int, dilation: int) -> jax.Array:
    """Convolves each channel of x with its kernel in [k, k, C], see `depthwise.depthwise_conv`."""
    return depthwise.depthwise_conv(x, kernel, stride, dilation)


def shifted_pixels(x: jax.Array, shift: jax.Array) -> jax.Array:
    """Returns the pixels of x less a vector [C], in the precision of x."""
    shift = shift.astype(x.dtype)
    return x.reshape(-1, x.shape[-1]) - shift


def moments(pixels: jax.Array, axis_name: str | None) -> tuple[jax.Array, jax.Array]:
    """Computes both moments of pixels h: E[h] [C] and E[h h^T] [C, C], float32."""
    first = pixels.mean(0, dtype=jnp.float32)
    second = jnp.matmul(
        pixels.T,
        pixels,
        preferred_element_type=jnp.float32,
        precision=lax.Precision.HIGHEST,
    )
    return norm.pmean((first, second / len(pixels)), axis_name)


def affine(pixels: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """Computes h A + b for each pixel h, with A [C, C'] and b [C'] in the precision of the pixels."""
    y = pixels @ a.astype(pixels.dtype)
    return y + b.astype(y.dtype)
