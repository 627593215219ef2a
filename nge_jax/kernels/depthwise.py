"""Depthwise convolution of NHWC arrays, with gradients that are fast on CPUs too.

It is written three times, because XLA's CPU backend runs a grouped convolution 50 to 150 times slower than the
sum of shifted products it stands for, and the library for GPUs a dilated one ten times slower than one of each
phase of the pixels. `jax.lax.platform_dependent` picks the form when a program is lowered, so GPUs and TPUs get
the library convolution and never see the form for CPUs.
"""

import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax.kernels.stored import stored

# Parts of a batch in the kernel gradient: a part of input and one of gradient stay in a core's
# second-level cache while every tap reads them.
_CHUNKS = 16


@functools.partial(jax.jit, static_argnums=(2, 3))  # traces each shape once, like those below
def depthwise_conv(
    x: jax.Array, kernel: jax.Array, stride: int = 1, dilation: int = 1
) -> jax.Array:
    """Convolves each channel with a kernel of its own, zero-padded so that stride 1 keeps the size.

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
        cpu=functools.partial(sum_of_shifts, stride=stride, dilation=dilation),
        tpu=functools.partial(dilated_depthwise_conv, stride=stride, dilation=dilation),
        default=functools.partial(library_depthwise_conv, stride=stride, dilation=dilation),
    )


def _depthwise_conv_forward(x, kernel, stride, dilation):
    return _depthwise_conv(x, kernel, stride, dilation), (x, kernel)


def _depthwise_conv_backward(stride, dilation, residuals, gradient):
    def by(form):
        def pull(x, kernel, gradient):
            conv = functools.partial(form, stride=stride, dilation=dilation)
            return jax.vjp(conv, x, kernel)[1](gradient)

        return pull

    def by_shifts(x, kernel, gradient):
        g_x = depthwise_input_gradient(kernel, gradient, x.shape[1:3], stride, dilation)
        g_kernel = depthwise_kernel_gradient(x, gradient, len(kernel), stride, dilation)
        return g_x, g_kernel.astype(kernel.dtype)

    return lax.platform_dependent(
        *residuals,
        gradient,
        cpu=by_shifts,
        tpu=by(dilated_depthwise_conv),
        default=by(library_depthwise_conv),
    )


_depthwise_conv.defvjp(_depthwise_conv_forward, _depthwise_conv_backward)


def library_depthwise_conv(
    x: jax.Array, kernel: jax.Array, stride: int = 1, dilation: int = 1
) -> jax.Array:
    """Computes `depthwise_conv` by XLA's own convolution, as GPUs do, on every platform.

    A dilated convolution is made one without dilation, of each of the `dilation`^2 phases of the pixels by itself:
    on an H200 the library's derivatives of a dilated one take ten times as long as those of this one.
    """
    if dilation == 1:
        return dilated_depthwise_conv(x, kernel, stride)
    height, width = x.shape[1:3]
    by_phase = _split_phases(x, dilation)
    if stride % dilation == 0:  # its taps read the pixels of the first phase alone
        return dilated_depthwise_conv(by_phase[:, 0, 0], kernel, stride // dilation)
    of_phases = jax.vmap(jax.vmap(dilated_depthwise_conv, (1, None), 1), (1, None), 1)
    convolved = of_phases(by_phase, kernel)
    y = jnp.moveaxis(convolved, (1, 2), (2, 4)).reshape(
        x.shape[0], *(dilation * n for n in by_phase.shape[3:5]), x.shape[-1]
    )[:, :height, :width]
    return y if stride == 1 else y[:, ::stride, ::stride]


def _split_phases(x, number):
    """Takes every `number`-th pixel from each of the first ones on: [B, n, n, ceil(H / n), ceil(W / n), C].

    By shape, where a strided slice would do: see `convolution.strided_pointwise` for what GPU compilers make of those.
    """
    batch, height, width, channels = x.shape
    x = jnp.pad(x, ((0, 0), (0, -height % number), (0, -width % number), (0, 0)))
    shape = batch, x.shape[1] // number, number, x.shape[2] // number, number, channels
    return jnp.moveaxis(x.reshape(shape), (2, 4), (1, 2))


def dilated_depthwise_conv(
    x: jax.Array, kernel: jax.Array, stride: int = 1, dilation: int = 1
) -> jax.Array:
    """Computes `depthwise_conv` by XLA's own convolution, its dilation too, as TPUs do, on every platform.

    A v5e's compiler expects a quarter to a third fewer cycles of a dilated one and its derivatives than of phases.
    """
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


def sum_of_shifts(x, kernel, stride, dilation):
    """Computes the convolution as one sum over its taps: the shifted, strided input times the tap's weights.

    Also of [C, H, W, B], with a kernel of [k, k, C, 1, 1, 1].
    """
    size = tuple(-(-size // stride) for size in x.shape[1:3])
    padded = _pad(x, dilation * (kernel.shape[0] // 2))
    return _sum_of_windows(padded, kernel, size, stride, dilation)


def _sum_of_windows(padded, kernel, size, stride, dilation):
    height, width = size
    k = kernel.shape[0]
    total: Any = sum(
        _window(padded, a * dilation, b * dilation, height, width, stride) * kernel[a, b]
        for a in range(k)
        for b in range(k)
    )
    return total


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def depthwise_input_gradient(
    kernel: jax.Array, gradient: jax.Array, size: tuple[int, int], stride: int, dilation: int
) -> jax.Array:
    """Computes the gradient of `depthwise_conv` with respect to x [B, *size, C], from `gradient` [B, H', W', C]."""
    kernel = kernel.astype(gradient.dtype)
    if stride == 1:
        padded = _pad(gradient, dilation * (kernel.shape[0] // 2))
        return _sum_of_windows(padded, kernel[::-1, ::-1], size, 1, dilation)
    return _polyphase_input_gradient(gradient, kernel, size, stride, dilation)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def depthwise_kernel_gradient(
    x: jax.Array, gradient: jax.Array, k: int, stride: int, dilation: int
) -> jax.Array:
    """Computes the gradient of `depthwise_conv` with respect to its kernel, [k, k, C], float32."""
    return _kernel_gradient(x, gradient, (k, k, x.shape[-1]), stride, dilation, _tap_sums)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def depthwise_conv_of_images_last(
    x: jax.Array, kernel: jax.Array, stride: int, dilation: int
) -> jax.Array:
    """Computes `depthwise_conv` of x [C, H, W, B] by the form for CPUs: [C, ceil(H / stride), ceil(W / stride), B]."""
    return sum_of_shifts(x, _of_images_last(kernel.astype(x.dtype)), stride, dilation)


def _of_images_last_forward(x, kernel, stride, dilation):
    return depthwise_conv_of_images_last(x, kernel, stride, dilation), (x, kernel)


def _of_images_last_backward(stride, dilation, residuals, gradient):
    x, kernel = residuals
    g_x = depthwise_input_gradient_of_images_last(kernel, gradient, x.shape[1:3], stride, dilation)
    g_kernel = depthwise_kernel_gradient_of_images_last(x, gradient, len(kernel), stride, dilation)
    return g_x, g_kernel.astype(kernel.dtype)


depthwise_conv_of_images_last.defvjp(_of_images_last_forward, _of_images_last_backward)


def _of_images_last(kernel):
    """Lays each tap of a kernel [k, k, C] along the channels of [C, H, W, B]."""
    return kernel[..., None, None, None]


def depthwise_input_gradient_of_images_last(
    kernel: jax.Array, gradient: jax.Array, size: tuple[int, int], stride: int, dilation: int
) -> jax.Array:
    """Computes `depthwise_input_gradient` from `gradient` [C, H', W', B]: [C, *size, B]; kernel: [k, k, C]."""
    return depthwise_input_gradient(_of_images_last(kernel), gradient, size, stride, dilation)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def depthwise_kernel_gradient_of_images_last(
    x: jax.Array, gradient: jax.Array, k: int, stride: int, dilation: int
) -> jax.Array:
    """Computes `depthwise_kernel_gradient` of x [C, H, W, B] and `gradient` [C, H', W', B]: [k, k, C], float32."""
    shape = k, k, len(x)
    return _kernel_gradient(x, gradient, shape, stride, dilation, _tap_sums_of_images_last)


def _polyphase_input_gradient(gradient, kernel, size, stride, dilation):
    """Computes the input gradient of a strided convolution: [..., *size, C].

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


def _kernel_gradient(x, gradient, shape, stride, dilation, tap_sums):
    """Computes the gradient of a kernel of this shape [k, k, C]; tap_sums: `_tap_sums` of the arrays' layout."""
    padding = dilation * (shape[0] // 2)
    if stride > 1:
        return _strided_kernel_gradient(
            _pad(x, padding), gradient, shape, stride, dilation, tap_sums
        )
    # It is `gradient` that moves, over x: its padded copy is there already, for the input's gradient.
    return tap_sums(_pad(gradient, padding), x, shape[:2], dilation)[::-1, ::-1]


def _strided_kernel_gradient(padded, gradient, shape, stride, dilation, tap_sums):
    """Computes `_kernel_gradient` of a strided convolution, of the padded x.

    Taps whose windows begin at the same parity read the same `stride`-th pixels; these are taken out once
    for all of them, and the taps move over them as at stride 1.
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
    """Sums for tap (a, b), over pixels, `fixed` times `moving` from (a * step, b * step) on: [*taps, C]."""
    rows = moving.reshape(chunks_of(len(moving)), -1, moving.shape[1], math.prod(moving.shape[2:]))
    return tap_sums(rows, fixed, taps, step)


def _tap_sums_of_images_last(moving, fixed, taps, step):
    """Computes `_tap_sums` of moving [C, H', W', B] and fixed [C, H, W, B]: [*taps, C].

    Sums over rows first, all in one expression an element for all taps of a column, whose windows of a row are its
    neighbors: the same reasons as in `tap_sums`. The last sums, over [W B], are products with ones, which are
    vectorized, too.
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
        # Stored, or XLA would make one loop of this and of laying it as a matrix, which is not vectorized.
        total = stored(functools.reduce(jnp.add, products), fixed)
        sums.append(total.reshape(channels, taps[0], -1) @ ones)
    return jnp.moveaxis(jnp.stack(sums, -1), 0, -1)


def chunks_of(batch: int) -> int:
    """Finds the number of equal parts of a batch that `tap_sums` takes one by one; 1 where the size is a symbol."""
    return _divisor_near(batch, _CHUNKS) if isinstance(batch, int) else 1


def tap_sums(rows: jax.Array, fixed: jax.Array, taps: tuple[int, int], step: int) -> jax.Array:
    """Sums for tap (a, b), over pixels, `fixed` times what moves over it, from (a * step, b * step) on.

    Sums over images first, a few at a time, in one expression an element: XLA's CPU backend vectorizes that,
    and not a sum over pixels. Rows are flattened to [W C], so that vectors are long also when channels are few.

    Args:
        rows: what moves, [chunks, B / chunks, H', W' C], B of them in `chunks_of(B)` parts.
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
    totals = _over_chunks(add_images, [zeros] * taps[1], parts, len(rows))
    sums = [total.sum(1).reshape(taps[0], width, channels).sum(1) for total in totals]
    return jnp.stack(sums, axis=1)


def _row_windows(rows, count, step, height):
    """Lists the windows rows[a * step : a * step + height] for a < count, from rows [R, J]: [count, height, J].

    By reading the rows over and over, each window a little later: index arithmetic that one fused loop
    does, where slices would be stacked in memory.
    """
    length = len(rows)
    times = -(-count * (length + step) // length)  # count + 1, but for few rows
    repeated = jnp.broadcast_to(rows, (times, *rows.shape)).reshape(-1, rows.shape[-1])
    later = repeated[: count * (length + step)].reshape(count, length + step, -1)
    return later[:, :height]


def _over_chunks(body, carry, arrays, chunks):
    """Runs `carry = body(carry, chunk)` for each of `chunks` equal parts, the rows of `arrays` [chunks, ...].

    A chunk is small enough for the caches, and it is carried from the iteration before, which makes it an
    array of its own: XLA would fuse its dynamic slice into every use of it, which are then not vectorized.
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


def _divisor_near(number, target):
    """Finds the divisor of `number` nearest to `target`."""
    return min((d for d in range(1, number + 1) if number % d == 0), key=lambda d: abs(d - target))
