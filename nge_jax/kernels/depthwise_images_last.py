"""Depthwise convolution of arrays with the images last, [C, H, W, B], in the form for CPUs on every platform.

CPUs vectorize along the images, which are more than the channels of a small network, see `supernet.layouts`.
"""

import functools

import jax
import jax.numpy as jnp

from nge_jax.kernels import shifted_sums
from nge_jax.kernels.materialize import materialize


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise_conv(x: jax.Array, kernel: jax.Array, stride: int, dilation: int) -> jax.Array:
    """Convolves each channel of x [C, H, W, B] with its kernel: [C, ceil(H / stride), ceil(W / stride), B].

    Args:
        x: [C, H, W, B].
        kernel: [k, k, C], k odd.
        stride: stride along both axes.
        dilation: dilation along both axes.
    """
    return shifted_sums.convolve(x, _broadcast_taps(kernel.astype(x.dtype)), stride, dilation)


def _forward(x, kernel, stride, dilation):
    return depthwise_conv(x, kernel, stride, dilation), (x, kernel)


def _backward(stride, dilation, residuals, gradient):
    x, kernel = residuals
    g_x = input_gradient(kernel, gradient, x.shape[1:3], stride, dilation)
    g_kernel = kernel_gradient(x, gradient, len(kernel), stride, dilation)
    return g_x, g_kernel.astype(kernel.dtype)


depthwise_conv.defvjp(_forward, _backward)


def _broadcast_taps(kernel):
    """Reshapes a kernel [k, k, C] so that each tap [C, 1, 1, 1] broadcasts along the channels of [C, H, W, B]."""
    return kernel[..., None, None, None]


def input_gradient(
    kernel: jax.Array, gradient: jax.Array, size: tuple[int, int], stride: int, dilation: int
) -> jax.Array:
    """Computes the gradient of x [C, *size, B] from `gradient` [C, H', W', B], for a kernel [k, k, C]."""
    return shifted_sums.input_gradient(_broadcast_taps(kernel), gradient, size, stride, dilation)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))  # traces each shape once
def kernel_gradient(
    x: jax.Array, gradient: jax.Array, k: int, stride: int, dilation: int
) -> jax.Array:
    """Computes the gradient of a kernel from x [C, H, W, B] and `gradient` [C, H', W', B]: [k, k, C], float32."""
    return shifted_sums.sum_taps(x, gradient, (k, k, len(x)), stride, dilation, _tap_sums)


def _tap_sums(moving, fixed, taps, step):
    """Computes `shifted_sums.tap_sums` for moving [C, H', W', B] and fixed [C, H, W, B]: [*taps, C].

    The sum over rows comes first. One expression per element computes all taps of a column, because their windows of a
    row are neighbors. The last sums, over [W B], are products with ones, which XLA's CPU backend vectorizes.
    """
    channels, height, width, batch = fixed.shape
    moving, fixed = moving.astype(jnp.float32), fixed.astype(jnp.float32)
    reach = (taps[0] - 1) * step + 1
    ones = jnp.ones(width * batch, jnp.float32)
    sums = []
    for column in range(taps[1]):
        columns = slice(column * step, column * step + width)
        products = (
            moving[:, row : row + reach : step, columns] * fixed[:, row, None]
            for row in range(height)
        )  # each [C, taps, W, B]
        # Otherwise XLA would fuse the sum with the reshape into one loop, which is not vectorized.
        total = materialize(functools.reduce(jnp.add, products), fixed)
        sums.append(total.reshape(channels, taps[0], -1) @ ones)
    return jnp.moveaxis(jnp.stack(sums, -1), 0, -1)
