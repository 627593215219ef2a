"""The layout of CPUs: the images of a batch are the last axis, [C, H, W, B].

XLA's CPU backend vectorizes the innermost axis of a loop and no other. An axis of 4 to 16 channels fills no vector, or
few; an axis of images fills many. With the images last a window reads whole rows of memory. A 1x1 convolution is then a
product with long rows, and a sum over pixels runs along the rows.

The "pixels" of an array are a matrix [C, N]: one column for each pixel of each image, N = H W B.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax.kernels import depthwise_images_last
from nge_jax.kernels.materialize import materialize, materialize_value
from nge_jax.supernet import norm

CHANNEL_AXIS = -4


@jax.custom_vjp
def to_layout(x: jax.Array) -> jax.Array:
    """Transposes x [B, H, W, C] to [C, H, W, B], or back.

    On CPUs the result and its gradient are stored as arrays. Otherwise XLA would fuse the transposition with the code
    around it into a loop that takes four times as long.
    """
    return materialize(x.swapaxes(0, -1), x)


to_layout.defvjp(lambda x: (to_layout(x), None), lambda _, gradient: (to_layout(gradient),))


def to_nhwc(x: jax.Array) -> jax.Array:
    """Transposes x [C, H, W, B] to [B, H, W, C]."""
    return to_layout(x)  # swapping two axes undoes itself


def count_channels(x: jax.Array) -> int:
    """Counts the channels of x."""
    return len(x)


def concatenate_channels(arrays: jax.Array) -> jax.Array:
    """Joins n arrays [n, C, H, W, B] to one with n C channels."""
    return arrays.reshape(-1, *arrays.shape[2:])


def mean(x: jax.Array, axis_name: str | None) -> jax.Array:
    """Computes the mean of each channel, [C] float32, over the devices on `axis_name` too."""
    return norm.pmean(x.mean((1, 2, 3), dtype=jnp.float32), axis_name)


def global_average_pool(x: jax.Array) -> jax.Array:
    """Computes the mean of each channel of each image: [B, C] float32."""
    return x.mean((1, 2), dtype=jnp.float32).T


def batch_norm(x: jax.Array, axis_name: str | None) -> jax.Array:
    """Normalizes x with the statistics of the batch, see `norm.batch_norm`."""
    return norm.batch_norm(x, axis_name, CHANNEL_AXIS)


def pointwise(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Applies a 1x1 convolution [C, C'] to x."""
    return multiply(to_pixels(x), weights).reshape(-1, *x.shape[1:])


def factorized_reduce(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Halves the resolution of x by two 1x1 convolutions [2, C, C' / 2], the second shifted by one pixel."""
    halves = [pointwise(p, w) for p, w in zip(reduced_positions(x), weights, strict=True)]
    return jnp.concatenate(halves)


def reduced_positions(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Takes the two sets of pixels that FactorizedReduce reads: every second one, and the same shifted by one.

    Where the height or width is odd, the shifted pixels end in a zero.
    """
    height, width = x.shape[1:3]
    shifted = x[:, 1::2, 1::2]
    if height % 2 or width % 2:
        shifted = jnp.pad(shifted, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    return x[:, ::2, ::2], shifted


def depthwise_conv(x: jax.Array, kernel: jax.Array, stride: int, dilation: int) -> jax.Array:
    """Convolves each channel of x with its kernel in [k, k, C], see `depthwise.depthwise_conv`."""
    return depthwise_images_last.depthwise_conv(x, kernel, stride, dilation)


def to_pixels(x: jax.Array) -> jax.Array:
    """Returns the pixels of x."""
    return x.reshape(len(x), -1)


def shifted_pixels(x: jax.Array, shift: jax.Array) -> jax.Array:
    """Returns the pixels of x less a vector [C], in the precision of x."""
    # The difference is stored before the reshape: XLA fuses it with the windows before it into a loop along images,
    # which is vectorized. A loop along all pixels would not be vectorized.
    shift = norm.along(shift.astype(x.dtype), x.ndim, CHANNEL_AXIS)
    return to_pixels(materialize_value(x - shift))


def masked_pixels(x: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the pixels of x, zero where `mask` [C, N] is false."""
    # Stored for the same reason as in `shifted_pixels`.
    return to_pixels(materialize_value(jnp.where(mask.reshape(x.shape), x, 0)))


def moments(pixels: jax.Array, axis_name: str | None) -> tuple[jax.Array, jax.Array]:
    """Computes both moments of pixels h: E[h] [C] and E[h h^T] [C, C], float32."""
    first = pixels.mean(1, dtype=jnp.float32)
    second = sum_products(pixels, pixels, precision=lax.Precision.HIGHEST)
    return norm.pmean((first, second / count_pixels(pixels)), axis_name)


def affine(pixels: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """Computes h A + b for each pixel h, with A [C, C'] and b [C'] in the precision of the pixels."""
    return add(multiply(pixels, a), b)


def multiply(pixels: jax.Array, matrix: jax.Array) -> jax.Array:
    """Computes h A for each pixel h, with A [C, C'] in the precision of the pixels."""
    return matrix.astype(pixels.dtype).T @ pixels


def add(pixels: jax.Array, vector: jax.Array) -> jax.Array:
    """Adds a vector [C] to each pixel, in the precision of the pixels."""
    return pixels + norm.along(vector.astype(pixels.dtype), 2, 0)


def sum_pixels(pixels: jax.Array) -> jax.Array:
    """Sums pixels: [C], float32."""
    return pixels.sum(1, dtype=jnp.float32)


def count_pixels(pixels: jax.Array) -> int:
    """Counts pixels: N."""
    return pixels.shape[1]


def sum_products(left: jax.Array, right: jax.Array, **precision: Any) -> jax.Array:
    """Sums h g^T over the pixels h of `left` [C, N] and g of `right` [C', N]: [C, C'], float32."""
    return jnp.matmul(left, right.T, preferred_element_type=jnp.float32, **precision)
