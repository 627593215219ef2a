"""Primitive operations on NHWC arrays, as pure functions; the supernet and the derived networks share them.

A depthwise convolution is written twice, because XLA's CPU backend runs a grouped convolution 50 to 150
times slower than the sum of shifted products it stands for. `jax.lax.platform_dependent` picks the form
when a program is lowered, so GPUs and TPUs get the library convolution and never see the other form.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

BATCH_NORM_EPSILON = 1e-5

# Elements in a chunk of the kernel gradient, so that a chunk of input and one of gradient stay in a
# core's second-level cache while every tap reads them: 3 times faster than reading whole arrays per tap.
_CHUNK_ELEMENTS = 65_536


def batch_moments(x: jax.Array, axis_name: str | None = None) -> tuple[jax.Array, jax.Array]:
    """Mean and (biased) variance of `x` [..., C] over all but the last axis, and over `axis_name`: [C], [C]."""
    axes = tuple(range(x.ndim - 1))
    x = x.astype(jnp.float32)
    mean = pmean(x.mean(axes), axis_name)
    return mean, pmean(jnp.square(x - mean).mean(axes), axis_name)


def batch_norm(x: jax.Array, axis_name: str | None = None) -> jax.Array:
    """Batch normalisation of `x` [..., C] without affine and with the batch's own statistics."""
    mean, variance = batch_moments(x, axis_name)
    scale = lax.rsqrt(variance + BATCH_NORM_EPSILON)
    return ((x - mean) * scale).astype(x.dtype)


def depthwise_conv(
    x: jax.Array, kernel: jax.Array, stride: int = 1, dilation: int = 1
) -> jax.Array:
    """Depthwise convolution, zero-padded so that stride 1 keeps the size.

    Args:
        x: [B, H, W, C].
        kernel: [k, k, C], k odd.
        stride: of both axes.
        dilation: of both axes.

    Returns:
        [B, ceil(H / stride), ceil(W / stride), C].
    """
    return _depthwise_conv(x, kernel.astype(x.dtype), stride, dilation)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise_conv(x, kernel, stride, dilation):
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_sum_of_shifts, stride=stride, dilation=dilation),
        default=functools.partial(library_depthwise_conv, stride=stride, dilation=dilation),
    )


def _depthwise_conv_forward(x, kernel, stride, dilation):
    return _depthwise_conv(x, kernel, stride, dilation), (x, kernel)


def _depthwise_conv_backward(stride, dilation, residuals, gradient):
    def by_library(x, kernel, gradient):
        conv = functools.partial(library_depthwise_conv, stride=stride, dilation=dilation)
        return jax.vjp(conv, x, kernel)[1](gradient)

    on_cpu = functools.partial(depthwise_gradients, stride=stride, dilation=dilation)
    return lax.platform_dependent(*residuals, gradient, cpu=on_cpu, default=by_library)


_depthwise_conv.defvjp(_depthwise_conv_forward, _depthwise_conv_backward)


def library_depthwise_conv(
    x: jax.Array, kernel: jax.Array, stride: int = 1, dilation: int = 1
) -> jax.Array:
    """`depthwise_conv` as XLA's own convolution on every platform; unlike it, it can be `vmap`ped."""
    padding = dilation * (kernel.shape[0] // 2)
    return lax.conv_general_dilated(
        x,
        kernel.astype(x.dtype)[:, :, None, :],
        window_strides=(stride, stride),
        padding=[(padding, padding)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def _sum_of_shifts(x, kernel, stride, dilation):
    """The convolution as one sum over its taps of the shifted, strided input times the tap's weights."""
    k = kernel.shape[0]
    height, width = (-(-size // stride) for size in x.shape[1:3])
    x = _pad(x, dilation * (k // 2))
    return sum(
        _window(x, a * dilation, b * dilation, height, width, stride) * kernel[a, b]
        for a in range(k)
        for b in range(k)
    )


def depthwise_gradients(
    x: jax.Array, kernel: jax.Array, gradient: jax.Array, stride: int, dilation: int
) -> tuple[jax.Array, jax.Array]:
    """Gradients of `depthwise_conv` with respect to x and kernel, from `gradient` [B, H', W', C]."""
    k, padding = kernel.shape[0], dilation * (kernel.shape[0] // 2)
    chunks = _divisor_near(len(x), gradient.size / _CHUNK_ELEMENTS)
    x_shape = x.shape
    x, gradient = (a.reshape(chunks, -1, *a.shape[1:]) for a in (x, gradient))
    taps = [(a, b) for a in range(k) for b in range(k)]
    if stride == 1:
        # Both gradients move the padded `gradient` over the output's positions; it is padded once.
        padded = _pad(gradient, padding)
        mirrored = [((k - 1 - a) * dilation, (k - 1 - b) * dilation) for a, b in taps]
        size = gradient.shape[-3:-1]
        g_x = sum(
            _window(padded, *start, *size, 1) * kernel[tap]
            for tap, start in zip(taps, mirrored, strict=True)
        )
        g_kernel = _tap_sums(padded, x, mirrored, stride)
    else:
        g_x = _polyphase_input_gradient(gradient, kernel, x_shape[1:3], stride, dilation)
        starts = [(a * dilation, b * dilation) for a, b in taps]
        g_kernel = _tap_sums(_pad(x, padding), gradient, starts, stride)
    return g_x.reshape(x_shape), g_kernel.reshape(kernel.shape).astype(kernel.dtype)


def _polyphase_input_gradient(gradient, kernel, size, stride, dilation):
    """The input gradient of a strided convolution: [..., *size, C].

    Each of the stride^2 parities of input positions meets only the taps of its parity, so that each is a
    small sum of shifts at the output's resolution and nothing is computed on an array full of zeros.
    """
    k, padding = kernel.shape[0], dilation * (kernel.shape[0] // 2)
    *batch, height, width, channels = gradient.shape
    margin = padding // stride + 1
    padded = _pad(gradient, margin)

    def shifts(parity):  # taps reaching inputs of this parity, with the output's offset
        for tap in range(k):
            offset = parity + padding - tap * dilation
            if offset % stride == 0:
                yield tap, offset // stride + margin

    def phase(row, column):
        terms = [
            _window(padded, top, left, height, width, 1) * kernel[a, b]
            for a, top in shifts(row)
            for b, left in shifts(column)
        ]
        return sum(terms) if terms else jnp.zeros_like(gradient)

    phases = [
        jnp.stack([phase(r, c) for c in range(stride)], axis=-2) for r in range(stride)
    ]  # stride x [..., H', W', stride, C]
    interleaved = jnp.stack(phases, axis=-4)  # [..., H', stride, W', stride, C]
    full = interleaved.reshape(*batch, height * stride, width * stride, channels)
    return full[..., : size[0], : size[1], :]


def _tap_sums(moving, fixed, starts, stride):
    """For each tap, the sum over pixels of `fixed` times the window of `moving` at its start: [taps, C].

    Arrays are [chunks, B / chunks, H, W, C]; a chunk of both stays in the cache while all taps read it.
    Rows are flattened to [W C], so that the sums run over long vectors also when channels are few.
    """
    height, width, channels = fixed.shape[-3:]

    def add_chunk(total, chunk):
        moving, fixed = chunk
        products = (_window(moving, *start, height, width, stride) * fixed for start in starts)
        rows = (p.reshape(-1, height, width * channels) for p in products)
        return total + jnp.stack([r.sum((0, 1), dtype=jnp.float32) for r in rows]), None

    zeros = jnp.zeros((len(starts), width * channels), jnp.float32)
    total, _ = lax.scan(add_chunk, zeros, (moving, fixed))
    return total.reshape(-1, width, channels).sum(1)


def max_pool(x: jax.Array, stride: int = 1) -> jax.Array:
    """3x3 max pooling of [B, H, W, C], padded so that stride 1 keeps the size."""
    return _max_pool(x, stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _max_pool(x, stride):
    height, width = (-(-size // stride) for size in x.shape[1:3])
    x = _pad(x, 1, -jnp.inf)
    windows = [_window(x, a, b, height, width, stride) for a in range(3) for b in range(3)]
    return functools.reduce(jnp.maximum, windows)


def _max_pool_forward(x, stride):
    y = _max_pool(x, stride)
    return y, (x, y)


def _max_pool_backward(stride, residuals, gradient):
    def by_library(x, y, gradient):
        def pool(x):
            pads = [(0, 0), (1, 1), (1, 1), (0, 0)]
            return lax.reduce_window(
                x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, stride, stride, 1), pads
            )

        return jax.vjp(pool, x)[1](gradient)[0]

    on_cpu = functools.partial(max_pool_input_gradient, stride=stride)
    return (lax.platform_dependent(*residuals, gradient, cpu=on_cpu, default=by_library),)


_max_pool.defvjp(_max_pool_forward, _max_pool_backward)


def max_pool_input_gradient(x, y, gradient, stride):
    """Gives each output's gradient to its first maximum in row order (as PyTorch), by shifts alone.

    `lax.map` over chunks of the batch makes the index of the maximum an array of its own; XLA would
    otherwise compute it anew for each of the nine taps that read it.
    """
    height, width = y.shape[1:3]

    def first_maximum(chunk):
        x, y = chunk
        x = _pad(x, 1, -jnp.inf)
        first = jnp.full(y.shape, 9, jnp.int8)
        for tap in reversed(range(9)):
            is_maximum = _window(x, tap // 3, tap % 3, height, width, stride) == y
            first = jnp.where(is_maximum, jnp.int8(tap), first)
        return first

    chunks = _divisor_near(len(x), x.size / _CHUNK_ELEMENTS)
    split = jax.tree.map(lambda a: a.reshape(chunks, -1, *a.shape[1:]), (x, y))
    first = lax.map(first_maximum, split)

    def scatter(chunk):
        first, gradient = chunk
        taps = [jnp.where(first == tap, gradient, 0) for tap in range(9)]
        return _scatter_taps(taps, x.shape, stride)

    gradient = gradient.reshape(first.shape)
    return lax.map(scatter, (first, gradient)).reshape(x.shape)


def _scatter_taps(taps, input_shape, stride):
    """Sums 3x3 windows' gradients, given per tap at the output's resolution, back onto the input."""
    total = jnp.zeros((), taps[0].dtype)
    for tap, value in enumerate(taps):
        row, column = tap // 3, tap % 3
        pads = [(0, 0, 0)]
        for size, positions, start in zip(
            input_shape[1:3], value.shape[1:3], (row, column), strict=True
        ):
            reach = start + (positions - 1) * stride + 1
            pads.append((start, size + 2 - reach, stride - 1))
        pads.append((0, 0, 0))
        total = total + lax.pad(value, jnp.zeros((), value.dtype), pads)
    return total[:, 1:-1, 1:-1]


def avg_pool(x: jax.Array, stride: int = 1) -> jax.Array:
    """3x3 average pooling of [B, H, W, C] at the size of `max_pool`; padding is not counted."""
    kernel = jnp.ones((3, 3, x.shape[-1]), x.dtype)
    return depthwise_conv(x, kernel, stride) * _inverse_counts(x.shape[1:3], stride).astype(x.dtype)


def _inverse_counts(size, stride):
    """1 / number of pixels that a 3x3 window sees: [ceil(H / stride), ceil(W / stride), 1]."""
    height, width = (
        jnp.minimum(jnp.arange(0, n, stride) + 2, n) - jnp.maximum(jnp.arange(0, n, stride) - 1, 0)
        for n in size
    )
    return (1.0 / (height[:, None] * width[None, :]))[..., None]


def _pad(x, margin, value=0.0):
    """Pads H and W of [..., H, W, C] by `margin` on each side."""
    pads = [(0, 0, 0)] * (x.ndim - 3) + [(margin, margin, 0), (margin, margin, 0), (0, 0, 0)]
    return lax.pad(x, jnp.asarray(value, x.dtype), pads)


def _window(x, top, left, height, width, stride):
    """`height` x `width` positions of `x` [..., H, W, C] from (top, left), `stride` apart."""
    rows = slice(top, top + (height - 1) * stride + 1, stride)
    columns = slice(left, left + (width - 1) * stride + 1, stride)
    return x[..., rows, columns, :]


def _divisor_near(number, target):
    """The divisor of `number` nearest to `target`."""
    return min((d for d in range(1, number + 1) if number % d == 0), key=lambda d: abs(d - target))


def pmean(x: Any, axis_name: str | None) -> Any:
    """Mean of a tree over the mapped axis; the tree itself where there is none."""
    return x if axis_name is None else lax.pmean(x, axis_name)
