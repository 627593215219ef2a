"""Depthwise convolution and both gradients as sums of shifted products: the forms for CPUs.

XLA's CPU backend runs a grouped convolution 50 to 150 times slower than the sum of shifted products that equals it. The
automatic derivative of that sum is slow again. Therefore the input's gradient is the same sum with the kernel flipped,
and the kernel's gradient is a reduction for each tap.

Arrays are [B, H, W, C]. `depthwise_images_last` uses the same functions for [C, H, W, B].
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

# The kernel's gradient takes a batch in so many parts. One part of the input and one of the gradient then stay in the
# second-level cache of a core while every tap reads them.
_CHUNKS = 16


def convolve(x: jax.Array, kernel: jax.Array, stride: int, dilation: int) -> jax.Array:
    """Convolves as one sum over taps: the shifted, strided input times the weights of the tap.

    Args:
        x: [B, H, W, C], or [C, H, W, B].
        kernel: [k, k, C], or [k, k, C, 1, 1, 1].
        stride: stride along both axes.
        dilation: dilation along both axes.
    """
    size = tuple(-(-size // stride) for size in x.shape[1:3])
    padded = _pad(x, dilation * (kernel.shape[0] // 2))
    return _sum_windows(padded, kernel, size, stride, dilation)


def _sum_windows(padded, kernel, size, stride, dilation):
    height, width = size
    k = kernel.shape[0]
    total: Any = sum(
        _window(padded, a * dilation, b * dilation, height, width, stride) * kernel[a, b]
        for a in range(k)
        for b in range(k)
    )
    return total


@functools.partial(jax.jit, static_argnums=(2, 3, 4))  # traces each shape once
def input_gradient(
    kernel: jax.Array, gradient: jax.Array, size: tuple[int, int], stride: int, dilation: int
) -> jax.Array:
    """Computes the gradient of `convolve` with respect to x [B, *size, C], from `gradient` [B, H', W', C]."""
    kernel = kernel.astype(gradient.dtype)
    if stride == 1:
        padded = _pad(gradient, dilation * (kernel.shape[0] // 2))
        return _sum_windows(padded, kernel[::-1, ::-1], size, 1, dilation)
    return _polyphase_input_gradient(gradient, kernel, size, stride, dilation)


def _polyphase_input_gradient(gradient, kernel, size, stride, dilation):
    """Computes the input gradient of a strided convolution: [..., *size, C].

    Input positions have stride^2 parities, and each parity meets only some of the taps. Therefore each parity is a
    small sum of shifts at the output's resolution, and nothing is computed on an array full of zeros.
    """
    k, padding = kernel.shape[0], dilation * (kernel.shape[0] // 2)
    *batch, height, width, channels = gradient.shape
    margin = padding // stride + 1
    padded = _pad(gradient, margin)

    def shifts(parity):
        """Yields the taps that reach inputs of this parity, each with the offset of the output."""
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


@functools.partial(jax.jit, static_argnums=(2, 3, 4))  # traces each shape once
def kernel_gradient(
    x: jax.Array, gradient: jax.Array, k: int, stride: int, dilation: int
) -> jax.Array:
    """Computes the gradient of `convolve` with respect to the kernel: [k, k, C], float32."""
    return sum_taps(x, gradient, (k, k, x.shape[-1]), stride, dilation, _tap_sums)


def sum_taps(
    x: jax.Array,
    gradient: jax.Array,
    shape: tuple[int, int, int],
    stride: int,
    dilation: int,
    tap_sums: Callable[..., jax.Array],
) -> jax.Array:
    """Computes the gradient of a kernel: [k, k, C], float32.

    Args:
        x: the input, in either layout.
        gradient: the gradient of the output, in the same layout.
        shape: (k, k, C).
        stride: stride along both axes.
        dilation: dilation along both axes.
        tap_sums: (moving, fixed, taps, step) -> sums [*taps, C] in this layout, see `tap_sums` for the arguments.
    """
    padding = dilation * (shape[0] // 2)
    if stride > 1:
        return _strided_kernel_gradient(
            _pad(x, padding), gradient, shape, stride, dilation, tap_sums
        )
    # Here `gradient` moves over x, because the input's gradient has already made a padded copy of it.
    return tap_sums(_pad(gradient, padding), x, shape[:2], dilation)[::-1, ::-1]


def _strided_kernel_gradient(padded, gradient, shape, stride, dilation, tap_sums):
    """Computes `sum_taps` for a strided convolution, from the padded x.

    Taps whose windows begin at the same parity read the same `stride`-th pixels. These pixels are taken out once for
    all such taps, which then move over them as at stride 1.
    """
    common = math.gcd(stride, dilation)
    parities = stride // common
    total = jnp.zeros(shape, jnp.float32)
    for row, column in itertools.product(range(parities), repeat=2):
        top, left = row * dilation, column * dilation
        pixels = padded[:, top % stride :: stride, left % stride :: stride]
        pixels = pixels[:, top // stride :, left // stride :]
        taps = total[row::parities, column::parities].shape[:2]
        sums = tap_sums(pixels, gradient, taps, dilation // common)
        total = total.at[row::parities, column::parities].set(sums)
    return total


def _tap_sums(moving, fixed, taps, step):
    """Computes `tap_sums` for moving [B, H', W', C]."""
    chunks = count_chunks(len(moving))
    rows = moving.reshape(chunks, -1, moving.shape[1], math.prod(moving.shape[2:]))
    return tap_sums(rows, fixed, taps, step)


def count_chunks(batch: int) -> int:
    """Returns the number of equal parts in which `tap_sums` takes a batch; 1 where the size is a symbol."""
    return _nearest_divisor(batch, _CHUNKS) if isinstance(batch, int) else 1


def tap_sums(rows: jax.Array, fixed: jax.Array, taps: tuple[int, int], step: int) -> jax.Array:
    """Sums `fixed` times the moving array over pixels, where tap (a, b) has moved it by (a * step, b * step).

    The sum over images comes first, a few images at a time and in one expression per element. XLA's CPU backend
    vectorizes this form, and not a sum over pixels. Rows are flattened to [W C], therefore vectors are long even if
    channels are few.

    Args:
        rows: the moving array [chunks, B / chunks, H', W' C], with `count_chunks(B)` chunks.
        fixed: [B, H, W, C].
        taps: numbers of rows and of columns.
        step: pixels from one tap to the next.

    Returns:
        [*taps, C], float32.
    """
    height, width, channels = fixed.shape[1:]

    def add_images(totals, images):
        moving, fixed = images
        for column in range(taps[1]):
            begin = column * step * channels
            windows = moving[..., begin : begin + width * channels]
            products = (
                _row_windows(rows, taps[0], step, height) * pixels
                for rows, pixels in zip(windows, fixed, strict=True)
            )
            totals[column] += functools.reduce(jnp.add, products).astype(jnp.float32)
        return totals

    zeros = jnp.zeros((taps[0], height, width * channels), jnp.float32)
    parts = rows, fixed.reshape(*rows.shape[:2], height, width * channels)
    totals = _loop_over_chunks(add_images, [zeros] * taps[1], parts, len(rows))
    sums = [total.sum(1).reshape(taps[0], width, channels).sum(1) for total in totals]
    return jnp.stack(sums, axis=1)


def _row_windows(rows, count, step, height):
    """Lists the windows rows[a * step : a * step + height] for a < count, from rows [R, J]: [count, height, J].

    The rows are repeated, and each window begins a little later. A fused loop does this by index arithmetic, while
    slices would be stacked in memory.
    """
    length = len(rows)
    times = -(-count * (length + step) // length)  # count + 1, unless rows are few
    repeated = jnp.broadcast_to(rows, (times, *rows.shape)).reshape(-1, rows.shape[-1])
    later = repeated[: count * (length + step)].reshape(count, length + step, -1)
    return later[:, :height]


def _loop_over_chunks(body, carry, arrays, chunks):
    """Runs `carry = body(carry, chunk)` for each of `chunks` equal parts, the rows of `arrays` [chunks, ...].

    A chunk is small enough for the caches. Each iteration slices the next chunk, and the loop carries it, which makes
    it an array in memory. Otherwise XLA would fuse the dynamic slice into every use, and would vectorize none of them.
    """

    def take(i):
        return jax.tree.map(lambda a: lax.dynamic_index_in_dim(a, i, keepdims=False), arrays)

    def step(i, state):
        carry, chunk = state
        return body(carry, chunk), take(jnp.minimum(i + 1, chunks - 1))

    return lax.fori_loop(0, chunks, step, (carry, take(0)))[0]


def _pad(x, margin):
    """Pads H and W of [..., H, W, C] by `margin` zeros on each side."""
    pads = [(0, 0, 0)] * (x.ndim - 3) + [(margin, margin, 0), (margin, margin, 0), (0, 0, 0)]
    return lax.pad(x, jnp.zeros((), x.dtype), pads)


def _window(x, top, left, height, width, stride):
    """Takes `height` x `width` positions of `x` [..., H, W, C] from (top, left), `stride` apart."""
    rows = slice(top, top + (height - 1) * stride + 1, stride)
    columns = slice(left, left + (width - 1) * stride + 1, stride)
    return x[..., rows, columns, :]


def _nearest_divisor(number, target):
    """Finds the divisor of `number` nearest to `target`."""
    return min((d for d in range(1, number + 1) if number % d == 0), key=lambda d: abs(d - target))
