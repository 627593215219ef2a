"""Convolution and 1x1 convolution of NHWC arrays with weight gradients that are fast on CPUs too.

GPUs and TPUs get the library's forms, as in `depthwise`.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int] = (1, 1),
    padding: str | Sequence[tuple[int, int]] = "SAME",
    dilation: Sequence[int] = (1, 1),
) -> jax.Array:
    """Convolves x [B, H, W, C_in] with a kernel [h, w, C_in, C]; see `lax.conv_general_dilated` for the arguments.

    On CPUs the kernel's gradient is a matrix product. The library's gradient takes a hundred times as long inside a
    compiled loop, such as the steps of a training.
    """
    if not isinstance(padding, str):  # a static argument must be hashable
        padding = tuple((before, after) for before, after in padding)
    return _conv(x, kernel, tuple(strides), padding, tuple(dilation))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv(x, kernel, strides, padding, dilation):
    return _library_conv(x, kernel, strides, padding, dilation)


def _library_conv(x, kernel, strides, padding, dilation):
    return lax.conv_general_dilated(
        x, kernel, strides, padding, rhs_dilation=dilation, dimension_numbers=DIMENSIONS
    )


def _conv_forward(x, kernel, strides, padding, dilation):
    return _conv(x, kernel, strides, padding, dilation), (x, kernel)


def _conv_backward(strides, padding, dilation, residuals, gradient):
    x, kernel = residuals
    setting = {"strides": strides, "padding": padding, "dilation": dilation}

    def library_gradient(x, gradient):
        return jax.vjp(lambda k: _library_conv(x, k, **setting), kernel)[1](gradient)[0]

    cpu_gradient = functools.partial(_kernel_gradient, size=kernel.shape[:2], **setting)
    (g_x,) = jax.vjp(lambda x: _library_conv(x, kernel, **setting), x)[1](gradient)
    g_kernel = lax.platform_dependent(x, gradient, cpu=cpu_gradient, default=library_gradient)
    return g_x, g_kernel


_conv.defvjp(_conv_forward, _conv_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def dense_conv(
    x: jax.Array,
    kernel: jax.Array,
    stride: int = 1,
    padding: tuple[int, int] | None = None,
) -> jax.Array:
    """Convolves like `conv`, with the same stride and padding along both axes and an input gradient fast on CPUs too.

    On CPUs the input's gradient is a convolution with the flipped kernel. It is 25 times as fast as the library's
    (64 images of 32 x 32 pixels, 16 to 48 channels). `conv` keeps the library's gradient because the two round
    differently, and a training must repeat earlier ones bit by bit.

    Args:
        x: [B, H, W, C_in].
        kernel: [k, k, C_in, C].
        stride: stride along both axes.
        padding: zeros before and behind; None: half of an odd kernel, which keeps the size at stride 1.
    """
    return _library_conv(x, kernel, (stride, stride), _both_axes(kernel, padding), (1, 1))


def _both_axes(kernel, padding):
    half = len(kernel) // 2
    return (padding or (half, half),) * 2


def _dense_conv_forward(x, kernel, stride, padding):
    return dense_conv(x, kernel, stride, padding), (x, kernel)


def _dense_conv_backward(stride, padding, residuals, gradient):
    x, kernel = residuals
    pads = _both_axes(kernel, padding)
    setting = {"strides": (stride, stride), "padding": pads, "dilation": (1, 1)}

    def library_gradients(x, kernel, gradient):
        return jax.vjp(functools.partial(_library_conv, **setting), x, kernel)[1](gradient)

    def cpu_gradients(x, kernel, gradient):
        g_kernel = _kernel_gradient(x, gradient, size=kernel.shape[:2], **setting)
        # A stride puts zeros between the pixels of the gradient, and the reach of the kernel puts zeros around them.
        # Negative padding cuts off pixels that no output has seen.
        reach, spread = len(kernel) - 1, [(n - 1) * stride + 1 for n in gradient.shape[1:3]]
        low = reach - pads[0][0]
        around = [
            (low, size + reach - low - n, stride - 1)
            for size, n in zip(x.shape[1:3], spread, strict=True)
        ]
        zero = jnp.zeros((), gradient.dtype)
        gradient = lax.pad(gradient, zero, [(0, 0, 0), *around, (0, 0, 0)])
        flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
        g_x = _library_conv(gradient, flipped, (1, 1), "VALID", (1, 1))
        return g_x, g_kernel.astype(kernel.dtype)

    forms = {"cpu": cpu_gradients, "default": library_gradients}
    return lax.platform_dependent(x, kernel, gradient, **forms)


dense_conv.defvjp(_dense_conv_forward, _dense_conv_backward)


def _kernel_gradient(x, gradient, *, size, strides, padding, dilation):
    """Computes the kernel's gradient [h, w, C_in, C]: the sum of every pixel's window times its gradient."""
    reach = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], reach, strides, padding)
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    stops = [(n - 1) * s + 1 for n, s in zip(gradient.shape[1:3], strides, strict=True)]
    windows = [
        x[:, top : top + stops[0] : strides[0], left : left + stops[1] : strides[1]]
        for top in range(0, reach[0], dilation[0])
        for left in range(0, reach[1], dilation[1])
    ]
    g = _product_over_pixels(jnp.concatenate(windows, axis=-1), gradient)
    return g.reshape(*size, x.shape[-1], -1).astype(gradient.dtype)


@jax.custom_vjp
def pointwise(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Applies a 1x1 convolution: x [..., C_in] times weights [C_in, C]."""
    return x @ weights


def _pointwise_forward(x, weights):
    return pointwise(x, weights), (x, weights)


def _pointwise_backward(residuals, gradient):
    def library_gradients(x, weights, gradient):
        return jax.vjp(jnp.matmul, x, weights)[1](gradient)

    def cpu_gradients(x, weights, gradient):
        # The barrier stores the gradient for both products. Otherwise XLA would fuse the source of the gradient into a
        # transposed copy for one product. That copy takes several times as long as the product.
        flat = lax.optimization_barrier(gradient.reshape(-1, gradient.shape[-1]))
        g_x = (flat @ weights.T).reshape(x.shape)
        return g_x, _product_over_pixels(x, flat).astype(weights.dtype)

    forms = {"cpu": cpu_gradients, "default": library_gradients}
    return lax.platform_dependent(*residuals, gradient, **forms)


pointwise.defvjp(_pointwise_forward, _pointwise_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def strided_pointwise(
    x: jax.Array,
    weights: jax.Array,
    step: int,
    shift: int = 0,
    product: Callable = pointwise,
) -> jax.Array:
    """Applies a 1x1 convolution to every `step`-th pixel from `shift` on, along both axes.

    On CPUs this is the product of a strided slice, elsewhere the library's strided convolution. XLA's GPU compiler
    (jaxlib 0.10.2) aborts on a product of y[:, ::2, ::2] if y has other readers and comes from a broadcast. The zero of
    a ReLU is such a broadcast. To decide what the kernel computes, the compiler measures a slice by its limits alone.
    It takes this slice for all of y, and fails because the sizes differ.

    Args:
        x: [B, H, W, C_in]; pixels behind the last one are zero.
        weights: [C_in, C].
        step: distance of the pixels that are read.
        shift: number of pixels before the first one that is read.
        product: the product of pixels [B, H', W', C_in] and weights that CPUs compute.

    Returns:
        [B, ceil(H / step), ceil(W / step), C].
    """
    cpu_form = functools.partial(_multiply_slice, step=step, shift=shift, product=product)
    library_form = functools.partial(_strided_conv, step=step, shift=shift)
    return lax.platform_dependent(x, weights, cpu=cpu_form, default=library_form)


def _strided_pointwise_forward(x, weights, step, shift, product):
    return strided_pointwise(x, weights, step, shift, product), (x, weights)


def _strided_pointwise_backward(step, shift, product, residuals, gradient):
    def cpu_gradients(x, weights, gradient):
        function = functools.partial(_multiply_slice, step=step, shift=shift, product=product)
        return jax.vjp(function, x, weights)[1](gradient)

    def library_gradients(x, weights, gradient):
        function = functools.partial(_strided_conv, step=step, shift=shift)
        return jax.vjp(function, x, weights)[1](gradient)

    forms = {"cpu": cpu_gradients, "default": library_gradients}
    return lax.platform_dependent(*residuals, gradient, **forms)


strided_pointwise.defvjp(_strided_pointwise_forward, _strided_pointwise_backward)


def _multiply_slice(x, weights, step, shift, product):
    x = jnp.pad(x, ((0, 0), (0, shift), (0, shift), (0, 0))) if shift else x
    return product(x[:, shift::step, shift::step], weights)


def _strided_conv(x, weights, step, shift):
    """Shifts by a kernel whose first taps are zero, which costs arithmetic; a shifted copy of x would cost memory."""
    before = int(shift > 0)
    kernel = jnp.pad(weights[None, None], ((before, 0), (before, 0), (0, 0), (0, 0)))
    # Zeros follow the last pixel as far as the last tap reaches. There are none if `step` divides the size.
    reach = [(-(-size // step) - 1) * step + shift + 1 for size in x.shape[1:3]]
    pads = [(0, max(0, r - size)) for r, size in zip(reach, x.shape[1:3], strict=True)]
    return _library_conv(x, kernel, (step, step), pads, (max(shift, 1),) * 2)


def _product_over_pixels(x, y):
    """Computes x^T y [C_x, C_y], float32, from x [..., C_x] and y [..., C_y]."""
    x, y = (a.reshape(-1, a.shape[-1]) for a in (x, y))
    return jnp.matmul(x.T, y, preferred_element_type=jnp.float32)
