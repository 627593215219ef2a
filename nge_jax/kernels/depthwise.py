"""Depthwise convolution of NHWC arrays, with gradients that are fast on every platform.

There are three forms, and `jax.lax.platform_dependent` picks one when a program is lowered:

* CPUs get a sum of shifted products, see `shifted_sums`: XLA's grouped convolution takes 50 to 150 times as long there.
* GPUs get the library's convolution, with a dilated one split into phases of pixels: that is ten times as fast.
* TPUs get the library's convolution, dilated or not.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax.kernels import shifted_sums


@functools.partial(jax.jit, static_argnums=(2, 3))  # traces each shape once
def depthwise_conv(
    x: jax.Array, kernel: jax.Array, stride: int = 1, dilation: int = 1
) -> jax.Array:
    """Convolves each channel with its kernel, zero-padded so that stride 1 keeps the size.

    Args:
        x: [B, H, W, C].
        kernel: [k, k, C], k odd.
        stride: stride along both axes.
        dilation: dilation along both axes.

    Returns:
        [B, ceil(H / stride), ceil(W / stride), C].
    """
    return _depthwise_conv(x, kernel.astype(x.dtype), stride, dilation)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise_conv(x, kernel, stride, dilation):
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(shifted_sums.convolve, stride=stride, dilation=dilation),
        tpu=functools.partial(dilated_depthwise_conv, stride=stride, dilation=dilation),
        default=functools.partial(library_depthwise_conv, stride=stride, dilation=dilation),
    )


def _depthwise_conv_forward(x, kernel, stride, dilation):
    return _depthwise_conv(x, kernel, stride, dilation), (x, kernel)


def _depthwise_conv_backward(stride, dilation, residuals, gradient):
    def differentiate(form):
        def pull(x, kernel, gradient):
            conv = functools.partial(form, stride=stride, dilation=dilation)
            return jax.vjp(conv, x, kernel)[1](gradient)

        return pull

    def shifted_gradients(x, kernel, gradient):
        g_x = shifted_sums.input_gradient(kernel, gradient, x.shape[1:3], stride, dilation)
        g_kernel = shifted_sums.kernel_gradient(x, gradient, len(kernel), stride, dilation)
        return g_x, g_kernel.astype(kernel.dtype)

    return lax.platform_dependent(
        *residuals,
        gradient,
        cpu=shifted_gradients,
        tpu=differentiate(dilated_depthwise_conv),
        default=differentiate(library_depthwise_conv),
    )


_depthwise_conv.defvjp(_depthwise_conv_forward, _depthwise_conv_backward)


def library_depthwise_conv(
    x: jax.Array, kernel: jax.Array, stride: int = 1, dilation: int = 1
) -> jax.Array:
    """Computes `depthwise_conv` by XLA's convolution without dilation, on every platform; GPUs use this form.

    A dilated convolution becomes one without dilation on each of the `dilation`^2 phases of the pixels. On an H200
    the derivatives of the library's dilated convolution take ten times as long.

    Images that are not larger than the kernel get zeros around them, which change no value. XLA's GPU compiler tells a
    kernel's gradient from a convolution by the sizes alone: the result is smaller than the image. Otherwise it would
    compute the gradient by a convolution of a single image with as many groups as channels.
    """
    if dilation == 1:
        return _undilated(x, kernel, stride)
    height, width = x.shape[1:3]
    phases = _split_phases(x, dilation)
    if stride % dilation == 0:  # the taps read the pixels of the first phase alone
        return _undilated(phases[:, 0, 0], kernel, stride // dilation)
    if min(phases.shape[3:5]) > len(kernel):
        convolve_phases = jax.vmap(jax.vmap(dilated_depthwise_conv, (1, None), 1), (1, None), 1)
        convolved = convolve_phases(phases, kernel)
    else:
        convolved = _convolve_side_by_side(phases, kernel)
    y = jnp.moveaxis(convolved, (1, 2), (2, 4)).reshape(
        x.shape[0], *(dilation * n for n in phases.shape[3:5]), x.shape[-1]
    )[:, :height, :width]
    return y if stride == 1 else y[:, ::stride, ::stride]


def _undilated(x, kernel, stride):
    """Convolves without dilation. A stride tells the kernel's gradient from a convolution, at any size."""
    height, width = x.shape[1:3]
    if stride > 1 or min(height, width) > len(kernel):
        return dilated_depthwise_conv(x, kernel, stride)
    more = [(0, max(len(kernel) + 1 - size, 0)) for size in (height, width)]
    return dilated_depthwise_conv(jnp.pad(x, ((0, 0), *more, (0, 0))), kernel)[:, :height, :width]


def _convolve_side_by_side(phases, kernel):
    """Convolves phases [B, n, n, h, w, C], n > 1, side by side in one image, with zeros between them.

    There are as many zeros as the kernel reaches. The image is always larger than the kernel.
    """
    batch, number, _, height, width, channels = phases.shape
    gap = (0, len(kernel) // 2)
    apart = jnp.pad(jnp.moveaxis(phases, 2, 3), ((0, 0), (0, 0), gap, (0, 0), gap, (0, 0)))
    image = apart.reshape(batch, number * apart.shape[2], number * apart.shape[4], channels)
    convolved = dilated_depthwise_conv(image, kernel).reshape(apart.shape)
    return jnp.moveaxis(convolved[:, :, :height, :, :width], 3, 2)


def _split_phases(x, number):
    """Takes every `number`-th pixel from each of the first pixels on: [B, n, n, ceil(H / n), ceil(W / n), C].

    This reshapes where a strided slice would do, because GPU compilers fail on such slices, see
    `convolution.strided_pointwise`.
    """
    batch, height, width, channels = x.shape
    x = jnp.pad(x, ((0, 0), (0, -height % number), (0, -width % number), (0, 0)))
    shape = batch, x.shape[1] // number, number, x.shape[2] // number, number, channels
    return jnp.moveaxis(x.reshape(shape), (2, 4), (1, 2))


def dilated_depthwise_conv(
    x: jax.Array, kernel: jax.Array, stride: int = 1, dilation: int = 1
) -> jax.Array:
    """Computes `depthwise_conv` by XLA's convolution with dilation, on every platform; TPUs use this form.

    A v5e's compiler expects it to take a quarter to a third fewer cycles than phases, derivatives included.
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
