"""ReLU and depthwise convolution in one, as the operations of a cell begin, with gradients that are fast on CPUs.

There the padded ReLU is stored once: the convolution reads its windows from it, so does the kernel's gradient, and
ReLU's derivative looks at its signs. GPUs and TPUs get `depthwise_conv` of a ReLU.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax.kernels import depthwise
from nge_jax.kernels.stored import stored


@functools.partial(jax.jit, static_argnums=(2, 3))  # traces each shape once
def relu_depthwise_conv(
    x: jax.Array, kernel: jax.Array, stride: int = 1, dilation: int = 1
) -> jax.Array:
    """Computes `depthwise_conv` of the ReLU of x [B, H, W, C]; arguments and result are as of that."""

    def in_turn(x, kernel):
        return depthwise.depthwise_conv(jax.nn.relu(x), kernel, stride, dilation)

    if stride > 1:
        return in_turn(x, kernel)
    by_rows = functools.partial(_by_rows, dilation)
    return lax.platform_dependent(x, kernel.astype(x.dtype), cpu=by_rows, default=in_turn)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _by_rows(dilation, x, kernel):
    return _forward(dilation, x, kernel)[0]


def _forward(dilation, x, kernel):
    rows = _padded(jnp.maximum(_rows(x), 0), kernel, dilation)
    y = _sum_of_windows(rows, kernel, dilation)
    return stored(y, kernel).reshape(x.shape), (rows, kernel)


def _backward(dilation, residuals, gradient):
    rows, kernel = residuals
    fixed = _rows(gradient)
    g_relu = _sum_of_windows(_padded(fixed, kernel, dilation), kernel[::-1, ::-1], dilation)
    margin = dilation * (len(kernel) // 2)
    relu_x = _window(rows, margin, margin * kernel.shape[-1], fixed.shape[2:])
    g_x = stored(jnp.where(relu_x > 0, g_relu, 0), kernel).reshape(gradient.shape)
    g_kernel = depthwise.tap_sums(rows, gradient, kernel.shape[:2], dilation)
    return g_x, g_kernel.astype(kernel.dtype)


_by_rows.defvjp(_forward, _backward)


def _rows(x):
    """Flattens rows: [B, H, W, C] -> [chunks, B / chunks, H, W C]."""
    batch, height, width, channels = x.shape
    chunks = depthwise.chunks_of(batch)
    return x.reshape(chunks, batch // chunks, height, width * channels)


def _padded(rows, kernel, dilation):
    """Stores rows [chunks, n, H, W C] with as many zeros around the pixels as the kernel reaches."""
    margin = dilation * (len(kernel) // 2)
    columns = margin * kernel.shape[-1]
    pads = (0, 0), (0, 0), (margin, margin), (columns, columns)
    return stored(jnp.pad(rows, pads), kernel)


def _window(padded, top, left, size):
    """Takes `size` rows and columns, W C, of padded rows."""
    height, columns = size
    return padded[:, :, top : top + height, left : left + columns]


def _sum_of_windows(padded, kernel, dilation):
    """Convolves padded rows: [chunks, n, H, W C]."""
    k, channels = len(kernel), kernel.shape[-1]
    reach = dilation * (k - 1)
    size = padded.shape[2] - reach, padded.shape[3] - reach * channels
    weights = stored(jnp.tile(kernel, size[1] // channels), kernel)
    total: Any = sum(
        _window(padded, a * dilation, b * dilation * channels, size) * weights[a, b]
        for a in range(k)
        for b in range(k)
    )
    return total
