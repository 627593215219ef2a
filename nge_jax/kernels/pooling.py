"""3x3 pools of NHWC arrays, with gradients that are fast on every platform.

CPUs and GPUs take the maximum along the columns and then along the rows. XLA's CPU backend is slow at the windows of a
pool and at their derivative. On GPUs the library's derivative is a scatter whose atomic additions come in any order.
The average is a depthwise convolution on CPUs, and a sum along columns and rows on GPUs. TPUs get the library's forms.
"""

import functools
import itertools
from collections.abc import Callable

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
        cpu=functools.partial(_max_of_nine, stride=stride, every=_every_by_slice),
        tpu=functools.partial(_library_max_pool, stride=stride),
        default=functools.partial(_max_of_nine, stride=stride, every=_every_by_reshape),
    )


def _max_pool_forward(x, stride):
    y = _max_pool(x, stride)
    return y, (x, y)


def _max_pool_backward(stride, residuals, gradient):
    def library_gradient(x, y, gradient):
        return jax.vjp(lambda x: _library_max_pool(x, stride), x)[1](gradient)[0]

    g_x = lax.platform_dependent(
        *residuals,
        gradient,
        cpu=functools.partial(_max_pool_gradient, stride=stride, every=_every_by_slice),
        tpu=library_gradient,
        default=functools.partial(_max_pool_gradient, stride=stride, every=_every_by_reshape),
    )
    return (g_x,)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def _library_max_pool(x, stride):
    pads = [(0, 0), (1, 1), (1, 1), (0, 0)]
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, stride, stride, 1), pads)


def _max_of_nine(x, stride, every):
    return _max_of_three(_max_of_three(x, 2, stride, every), 1, stride, every)


def _max_pool_gradient(x, y, gradient, stride, every):
    """Gives each output's gradient to its first maximum in row order, as PyTorch does.

    The gradient first goes along the columns of the row maxima, and then along the rows. Each direction has three taps,
    not nine, and two comparisons tell the first maximum of three without an array of indices.
    """
    row_maxima = _max_of_three(x, 2, stride, every)
    g_row_maxima = _max_of_three_gradient(row_maxima, y, gradient, 1, stride, every)
    return _max_of_three_gradient(x, row_maxima, g_row_maxima, 2, stride, every)


def _max_of_three(x, axis, stride, every):
    return functools.reduce(jnp.maximum, _three(x, axis, stride, every, -jnp.inf))


def _max_of_three_gradient(x, y, gradient, axis, stride, every):
    first, second, _ = (window == y for window in _three(x, axis, stride, every, -jnp.inf))
    masks = first, ~first & second, ~(first | second)
    total = jnp.zeros((), gradient.dtype)
    for start, mask in enumerate(masks):
        reach = start + (y.shape[axis] - 1) * stride + 1
        pads = [(0, 0, 0)] * x.ndim
        pads[axis] = (start, x.shape[axis] + 2 - reach, stride - 1)
        total += lax.pad(jnp.where(mask, gradient, 0), jnp.zeros((), gradient.dtype), pads)
    return lax.slice_in_dim(total, 1, 1 + x.shape[axis], axis=axis)


def _three(x, axis, stride, every, padding):
    """Lists the first, second and third elements of all windows along `axis`, which is padded by one.

    `every` is `_every_by_slice` or `_every_by_reshape`.
    """
    size = x.shape[axis]
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (1, 1, 0)
    padded = lax.pad(x, jnp.asarray(padding, x.dtype), pads)
    return [every(padded, start, size, stride, axis) for start in range(3)]


def _every_by_slice(x, start, size, stride, axis):
    """Takes every `stride`-th element along `axis`, among `size` elements from `start` on."""
    return lax.slice_in_dim(x, start, start + size, stride, axis)


def _every_by_reshape(x, start, size, stride, axis):
    """Computes `_every_by_slice` without a strided slice, at which GPU compilers fail, see `strided_pointwise`."""
    x = lax.slice_in_dim(x, start, start + size, axis=axis)
    if stride == 1:
        return x
    pads = [(0, 0)] * x.ndim
    pads[axis] = (0, -size % stride)
    x = jnp.pad(x, pads)
    x = x.reshape(*x.shape[:axis], -1, stride, *x.shape[axis + 1 :])
    return lax.index_in_dim(x, 0, axis + 1, keepdims=False)


def avg_pool(x: jax.Array, stride: int = 1) -> jax.Array:
    """Takes the mean of each 3x3 window of x [B, H, W, C], padded like `max_pool`; the mean leaves padding out."""
    return _sum_of_nine(x, stride) * _inverse_counts(x.shape[1:3], stride).astype(x.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _sum_of_nine(x, stride):
    ones = functools.partial(_convolve_ones, stride=stride)
    rows = functools.partial(_sum_by_rows, stride=stride)
    return lax.platform_dependent(x, cpu=ones, tpu=ones, default=rows)


def _sum_forward(x, stride):
    return _sum_of_nine(x, stride), x


def _sum_backward(stride, x, gradient):
    def pull(form):
        return lambda x, g: jax.vjp(functools.partial(form, stride=stride), x)[1](g)[0]

    ones, rows = pull(_convolve_ones), pull(_sum_by_rows)
    return (lax.platform_dependent(x, gradient, cpu=ones, tpu=ones, default=rows),)


_sum_of_nine.defvjp(_sum_forward, _sum_backward)


def _convolve_ones(x, stride):
    return depthwise_conv(x, jnp.ones((3, 3, x.shape[-1]), x.dtype), stride)


def _sum_by_rows(x, stride):
    for axis in (2, 1):
        x = sum(_three(x, axis, stride, _every_by_reshape, 0))
    return x


def _inverse_counts(size, stride):
    """Computes 1 / number of pixels in each 3x3 window: [ceil(H / stride), ceil(W / stride), 1]."""

    def count(length):
        center = jnp.arange(0, length, stride)
        return 1 + (center > 0) + (center + 1 < length)

    height, width = map(count, size)
    return (1.0 / (height[:, None] * width[None, :]))[..., None]


def pool_apart(pool: Callable[..., jax.Array], spacing: int, x: jax.Array) -> jax.Array:
    """Pools x [B, H, W, C] with stride 1 over every `spacing`-th pixel, from each of the first pixels on."""
    y = jnp.zeros_like(x)
    for row, column in itertools.product(range(spacing), repeat=2):
        part = slice(None), slice(row, None, spacing), slice(column, None, spacing)
        y = y.at[part].set(pool(x[part]))
    return y
