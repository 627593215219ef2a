"""Layers of the derived networks as Flax Linen modules on NHWC arrays.

`OPS` maps the DARTS name of an operation to a builder, and `builder` has a builder for any operation. Every builder has
the signature `(channels, stride, norm, dtype, name, spacing)` and returns a function
`[N, H, W, channels] -> [N, ceil(H/stride), ceil(W/stride), channels]`. The network decides once which normalization
`norm` makes (training or evaluation, data type), and layers call it.

`spacing` (before, after) is the distance of neighboring pixels in the input and in the output of an operation. With
(1, 1) a stride of 2 halves the array. With (1, 2) the array keeps its size: the pixels that the stride would keep have
the same values, and lie 2 apart. Operations that follow with (2, 2) preserve this, which is atrous convolution. Weights
do not depend on the spacing.

Weights start from PyTorch's defaults (paper silent, DARTS value): uniform in +-1/sqrt(fan_in), which is He-uniform with
a = sqrt(5) and has the variance 1/(3 fan_in).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from nge_jax.kernels import convolution, normalization, pooling
from nge_jax.kernels.relu_depthwise import relu_depthwise_conv
from nge_jax.networks.described import DescribedOperation
from nge_jax.space.parts import outside
from nge_jax.space.spaces import DILATED, SEPARABLE

kernel_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
# A depthwise kernel [k, k, C] has no input axis: each channel reads k*k inputs.
depthwise_init = nn.initializers.variance_scaling(
    1 / 3, "fan_in", "uniform", in_axis=(0, 1), out_axis=2
)


def _product(x, weights, dimensions, precision, step=1, shift=0):
    del (
        dimensions,
        precision,
    )  # Flax passes the dimensions of a 1x1 convolution and the default precision
    if step == 1 and shift == 0:
        return convolution.pointwise(x, weights)
    return convolution.strided_pointwise(x, weights, step, shift)


def _convolve(x, kernel, strides, padding, *, rhs_dilation, **defaults):
    del defaults
    return convolution.conv(x, kernel, strides, padding, rhs_dilation)


# A 1x1 convolution is a matrix product over the last axis; XLA runs it as one on every platform.
pointwise = partial(nn.Dense, use_bias=False, kernel_init=kernel_init, dot_general=_product)
conv = partial(nn.Conv, use_bias=False, kernel_init=kernel_init, conv_general_dilated=_convolve)


Spacing = tuple[int, int]


def input_step(stride: int, spacing: Spacing) -> int:
    """Computes the number of input pixels between neighboring pixels of the output."""
    before, after = spacing
    return stride * before // after


class BatchNorm(nn.BatchNorm):
    """Normalizes [..., C] like Flax's module, and in training with a derivative that is fast on CPUs too."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.use_running_average or self.is_initializing():
            return super().__call__(x)
        shape = x.shape[-1:]
        scale = self.param("scale", self.scale_init, shape, self.param_dtype)
        bias = self.param("bias", self.bias_init, shape, self.param_dtype)
        y, *statistics = normalization.batch_norm(
            x,
            scale,
            bias,
            epsilon=self.epsilon,
            dtype=self.dtype or jnp.result_type(x, scale, bias),
            axis_name=self.axis_name,
        )
        for name, new in zip(("mean", "var"), statistics, strict=True):
            running = self.variable("batch_stats", name, jnp.zeros, shape)
            running.value = self.momentum * running.value + (1 - self.momentum) * new
        return y


def batch_norms(*, train: bool, dtype: Any, axis_name: str | None) -> Callable[..., BatchNorm]:
    """Makes the maker of a network's batch normalizations; `axis_name`: a mapped axis over which batches are one."""
    # PyTorch's momentum of 0.1 is 0.9 in Flax. PyTorch's running variance is unbiased, and Flax's is biased. The two
    # differ by a factor of 1 - 1 / (N H W).
    return partial(
        BatchNorm,
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        dtype=dtype,
        axis_name=axis_name,
    )


class DepthwiseConv(nn.Module):
    """Applies ReLU and convolves each channel: [N, H, W, C] -> [N, ceil(H/stride), ceil(W/stride), C]."""

    size: int
    stride: int = 1
    dilation: int = 1
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", depthwise_init, (self.size, self.size, x.shape[-1]))
        x, kernel = promote_dtype(x, kernel, dtype=self.dtype)
        return relu_depthwise_conv(x, kernel, self.stride, self.dilation)


class ReluConvNorm(nn.Module):
    """Applies ReLU, 1x1 convolution and batch normalization: [N, H, W, C] -> [N, H, W, channels]."""

    channels: int
    norm: Callable
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return self.norm(name="norm")(pointwise(self.channels, dtype=self.dtype)(nn.relu(x)))


class FactorizedReduce(nn.Module):
    """Halves the resolution: [N, H, W, C] -> [N, ceil(H/2), ceil(W/2), channels].

    The steps are ReLU, two 1x1 convolutions of stride 2, concatenation and BN. The second convolution reads the input
    shifted by one pixel. Where H or W is odd the shifted input ends in a zero (DARTS refuses odd sizes).
    """

    channels: int
    norm: Callable
    dtype: Any = None
    spacing: Spacing = (1, 1)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(x)
        step, shifts = input_step(2, self.spacing), (0, self.spacing[0])
        halves = self.channels - self.channels // 2, self.channels // 2
        y = [
            pointwise(c, dtype=self.dtype, dot_general=partial(_product, step=step, shift=shift))(x)
            for c, shift in zip(halves, shifts, strict=True)
        ]
        return self.norm(name="norm")(jnp.concatenate(y, axis=-1))


class SepConv(nn.Module):
    """Applies (ReLU, depthwise convolution, 1x1 convolution, BN) twice; the first convolution has the stride."""

    channels: int
    stride: int
    norm: Callable
    dtype: Any = None
    size: int = 3
    spacing: Spacing = (1, 1)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        before, after = self.spacing
        for step, dilation in ((input_step(self.stride, self.spacing), before), (1, after)):
            x = DepthwiseConv(self.size, step, dilation, dtype=self.dtype)(x)
            x = self.norm()(pointwise(self.channels, dtype=self.dtype)(x))
        return x


class DilConv(nn.Module):
    """Applies ReLU, depthwise convolution with dilation 2, 1x1 convolution, BN."""

    channels: int
    stride: int
    norm: Callable
    dtype: Any = None
    size: int = 3
    spacing: Spacing = (1, 1)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        step, dilation = input_step(self.stride, self.spacing), 2 * self.spacing[0]
        x = DepthwiseConv(self.size, step, dilation, dtype=self.dtype)(x)
        return self.norm()(pointwise(self.channels, dtype=self.dtype)(x))


def is_identity(operation: str, stride: int) -> bool:
    """Tells whether the operation returns the input unchanged; drop-path spares such operations."""
    if operation in OPS:
        return operation == "skip_connect" and stride == 1
    return outside.is_identity(operation, stride)


def _none(channels, stride, norm, dtype, name, spacing=(1, 1)):
    del channels, norm, dtype, name
    step = input_step(stride, spacing)
    return lambda x: jnp.zeros_like(x[:, ::step, ::step])


def _skip_connect(channels, stride, norm, dtype, name, spacing=(1, 1)):
    if is_identity("skip_connect", stride):
        return lambda x: x
    return FactorizedReduce(channels, norm, dtype, spacing, name=name)


def _pool(pool, channels, stride, norm, dtype, name, spacing=(1, 1)):
    del channels, norm, dtype, name
    if spacing[0] == 1:
        return partial(pool, stride=input_step(stride, spacing))
    return partial(pooling.pool_apart, pool, spacing[0])


def _conv(module, size, channels, stride, norm, dtype, name, spacing=(1, 1)):
    return module(channels, stride, norm, dtype, size, spacing, name=name)


POOLS = "max_pool_3x3", "avg_pool_3x3"  # these have no weights

OPS: dict[str, Callable[..., Callable[[jax.Array], jax.Array]]] = {
    "none": _none,
    "skip_connect": _skip_connect,
    "max_pool_3x3": partial(_pool, pooling.max_pool),
    "avg_pool_3x3": partial(_pool, pooling.avg_pool),
} | {
    name: partial(_conv, module, size)
    for module, sizes in ((SepConv, SEPARABLE), (DilConv, DILATED))
    for name, size in sizes.items()
}


def builder(operation: str) -> Callable[..., Callable[[jax.Array], jax.Array]]:
    """Returns the builder of an operation: of `OPS`, or one that computes the operation from its description."""
    return OPS.get(operation) or partial(_described, operation)


def _described(operation, channels, stride, norm, dtype, name, spacing=(1, 1)):
    return DescribedOperation(operation, channels, stride, norm, dtype, spacing, name=name)


class CifarStem(nn.Module):
    """Applies a 3x3 convolution and BN; both inputs of the first cell are the result [N, H, W, channels]."""

    channels: int
    norm: Callable
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = self.norm()(conv(self.channels, (3, 3), dtype=self.dtype)(x))
        return x, x


class ImageNetStem(nn.Module):
    """Applies three 3x3 convolutions of stride 2: [N, H, W, C] -> `channels` at H/4 x W/4 and at H/8 x W/8."""

    channels: int
    norm: Callable
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        def halve(channels, x):
            # PyTorch pads 1 on both sides, and "SAME" would pad 0 and 1.
            return self.norm()(conv(channels, (3, 3), 2, padding=1, dtype=self.dtype)(x))

        s0 = halve(self.channels, nn.relu(halve(self.channels // 2, x)))
        return s0, halve(self.channels, nn.relu(s0))


class Classifier(nn.Module):
    """Applies a fully connected layer, in float32 for any data type of the network: [N, C] -> [N, classes]."""

    classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        bound = x.shape[-1] ** -0.5

        def bias_init(key, shape, dtype):
            return jax.random.uniform(key, shape, dtype, -bound, bound)

        dense = nn.Dense(
            self.classes, kernel_init=kernel_init, bias_init=bias_init, dtype=jnp.float32
        )
        return dense(x)
