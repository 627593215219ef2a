"""ReLU and depthwise convolution in one, the beginning of a cell's operation, with gradients that are fast on CPUs.

On CPUs the padded ReLU is stored once. The convolution and the kernel's gradient read windows from it, and the
derivative of ReLU reads its signs. GPUs and TPUs get `depthwise_conv` of a ReLU.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax.kernels import depthwise, shifted_sums
from nge_jax.kernels.materialize import materialize


@functools.partial(jax.jit, static_argnums=(2, 3))  # traces each shape once
def relu_depthwise_conv(
    x: jax.Array, kernel: jax.Array, stride: int = 1, dilation: int = 1
) -> jax.Array:
    """Computes `depthwise_conv` of the ReLU of x [B, H, W, C]; see there for the arguments and the result."""

    def relu_first(x, kernel):
        return depthwise.depthwise_conv(jax.nn.relu(x), kernel, stride, dilation)

    if stride > 1:
        return relu_first(x, kernel)
    convolve_rows = functools.partial(_convolve_rows, dilation)
    kernel = kernel.astype(x.dtype)
    return lax.platform_dependent(x, kernel, cpu=convolve_rows, default=relu_first)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _convolve_rows(dilation, x, kernel):
    return _forward(dilation, x, kernel)[0]


def _forward(dilation, x, kernel):
    rows = _pad(jnp.maximum(_rows(x), 0), kernel, dilation)
    y = _sum_windows(rows, kernel, dilation)
    return materialize(y, kernel).reshape(x.shape), (rows, kernel)


def _backward(dilation, residuals, gradient):
    rows, kernel = residuals
    fixed = _rows(gradient)
    g_relu = _sum_windows(_pad(fixed, kernel, dilation), kernel[::-1, ::-1], dilation)
    margin = dilation * (len(kernel) // 2)
    relu_x = _window(rows, margin, margin * kernel.shape[-1], fixed.shape[2:])
    g_x = materialize(jnp.where(relu_x > 0, g_relu, 0), kernel).reshape(gradient.shape)
    g_kernel = shifted_sums.tap_sums(rows, gradient, kernel.shape[:2], dilation)
    return g_x, g_kernel.astype(kernel.dtype)


_convolve_rows.defvjp(_forward, _backward)


def _rows(x):
    """Flattens rows: [B, H, W, C] -> [chunks, B / chunks, H, W C]."""
    batch, height, width, channels = x.shape
    chunks = shifted_sums.count_chunks(batch)
    return x.reshape(chunks, batch // chunks, height, width * channels)


def _pad(rows, kernel, dilation):
    """Stores rows [chunks, n, H, W C] with zeros around the pixels, as many as the kernel reaches."""
    margin = dilation * (len(kernel) // 2)
    columns = margin * kernel.shape[-1]
    pads = (0, 0), (0, 0), (margin, margin), (columns, columns)
    return materialize(jnp.pad(rows, pads), kernel)


def _window(padded, top, left, size):
    """Takes a window of `size`, (H, W C), from padded rows."""
    height, columns = size
    return padded[:, :, top : top + height, left : left + columns]


def _sum_windows(padded, kernel, dilation):
    """Convolves padded rows: [chunks, n, H, W C]."""
    k, channels = len(kernel), kernel.shape[-1]
    reach = dilation * (k - 1)
    size = padded.shape[2] - reach, padded.shape[3] - reach * channels
    weights = materialize(jnp.tile(kernel, size[1] // channels), kernel)
    total: Any = sum(
        _window(padded, a * dilation, b * dilation * channels, size) * weights[a, b]
        for a in range(k)
        for b in range(k)
    )
    return total
