"""3x3 pools of NHWC arrays, with gradients that are fast on CPUs too.

XLA's CPU backend is slow at the windows of a pool and at their derivative. On CPUs the maximum is taken along the
columns and then along the rows. GPUs and TPUs get the library's form. The average is a depthwise convolution.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax.kernels.depthwise import depthwise_conv


def max_pool(x: jax.Array, stride: int = 1) -> jax.Array:
    """Takes the maximum of each 3x3 window of x [B, H, W, C], padded so that stride 1 keeps the size."""
    return _max_pool(x, stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_pool(x, stride):
    return lax.platform_dependent(
        x,
        cpu=functools.partial(_max_of_nine, stride=stride),
        default=functools.partial(_library_max_pool, stride=stride),
    )


def _max_pool_forward(x, stride):
    y = _max_pool(x, stride)
    return y, (x, y)


def _max_pool_backward(stride, residuals, gradient):
    def library_gradient(x, y, gradient):
        return jax.vjp(lambda x: _library_max_pool(x, stride), x)[1](gradient)[0]

    cpu_gradient = functools.partial(_max_pool_input_gradient, stride=stride)
    forms = {"cpu": cpu_gradient, "default": library_gradient}
    return (lax.platform_dependent(*residuals, gradient, **forms),)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _library_max_pool(x, stride):
    pads = [(0, 0), (1, 1), (1, 1), (0, 0)]
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, stride, stride, 1), pads)


def _max_of_nine(x, stride):
    return _max_of_three(_max_of_three(x, 2, stride), 1, stride)


def _max_pool_input_gradient(x, y, gradient, stride):
    """Gives each output's gradient to its first maximum in row order, as PyTorch does.

    The gradient first goes along the columns of the row maxima, and then along the rows. Each direction has three taps,
    not nine, and two comparisons tell the first maximum of three without an array of indices.
    """
    row_maxima = _max_of_three(x, 2, stride)
    g_row_maxima = _max_of_three_gradient(row_maxima, y, gradient, 1, stride)
    return _max_of_three_gradient(x, row_maxima, g_row_maxima, 2, stride)


def _max_of_three(x, axis, stride):
    return functools.reduce(jnp.maximum, _three(x, axis, stride))


def _max_of_three_gradient(x, y, gradient, axis, stride):
    first, second, _ = (window == y for window in _three(x, axis, stride))
    masks = first, ~first & second, ~(first | second)
    total = jnp.zeros((), gradient.dtype)
    for start, mask in enumerate(masks):
        reach = start + (y.shape[axis] - 1) * stride + 1
        pads = [(0, 0, 0)] * x.ndim
        pads[axis] = (start, x.shape[axis] + 2 - reach, stride - 1)
        total += lax.pad(jnp.where(mask, gradient, 0), jnp.zeros((), gradient.dtype), pads)
    return lax.slice_in_dim(total, 1, 1 + x.shape[axis], axis=axis)


def _three(x, axis, stride):
    """Lists the first, second and third elements of all windows along `axis`, which is padded by one."""
    size = x.shape[axis]
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (1, 1, 0)
    padded = lax.pad(x, jnp.asarray(-jnp.inf, x.dtype), pads)
    return [lax.slice_in_dim(padded, start, start + size, stride, axis) for start in range(3)]


def avg_pool(x: jax.Array, stride: int = 1) -> jax.Array:
    """Takes the mean of each 3x3 window of x [B, H, W, C], padded like `max_pool`; the mean leaves padding out."""
    kernel = jnp.ones((3, 3, x.shape[-1]), x.dtype)
    return depthwise_conv(x, kernel, stride) * _inverse_counts(x.shape[1:3], stride).astype(x.dtype)


def _inverse_counts(size, stride):
    """Computes 1 / number of pixels in each 3x3 window: [ceil(H / stride), ceil(W / stride), 1]."""

    def count(length):
        center = jnp.arange(0, length, stride)
        return 1 + (center > 0) + (center + 1 < length)

    height, width = map(count, size)
    return (1.0 / (height[:, None] * width[None, :]))[..., None]
