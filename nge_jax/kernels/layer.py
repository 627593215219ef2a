"""The steps of an operation in any network: strides, convolutions, pools and the network's normalization.

The `spacing` (before, after) is the distance of neighboring pixels in the input and in the output. With (1, 1) a stride
of 2 halves the array. With (1, 2) the array keeps its size: the pixels that the stride would keep have the same values,
and lie 2 apart (atrous convolution). An operation that asks its layer for each step over pixels works at any spacing.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax.kernels import convolution, pooling
from nge_jax.kernels.depthwise import depthwise_conv


def keep(x: jax.Array) -> jax.Array:
    """Returns x."""
    return x


class Layer(NamedTuple):
    """Computes the steps of an operation; arrays are [B, H, W, C].

    Attributes:
        stride: 1, or 2 on the edges that leave a reduction cell's inputs.
        norm: the network's batch normalization: with the statistics of the batch in a supernet and in training, with
            the running ones in evaluation.
        search_norm: `norm` in a supernet, where it makes an operation without weights comparable; else it returns its
            argument (DARTS).
        spacing: see above.
    """

    stride: int
    norm: Callable[[jax.Array], jax.Array]
    search_norm: Callable[[jax.Array], jax.Array] = keep
    spacing: tuple[int, int] = (1, 1)

    def conv(
        self,
        x: jax.Array,
        kernel: jax.Array,
        stride: int | tuple[int, int] = 1,
        dilation: int = 1,
    ) -> jax.Array:
        """Convolves x, zero-padded so that H and W are divided by the strides and rounded up.

        Args:
            x: [B, H, W, C].
            kernel: [C, C'] for a 1x1 convolution, [k, k, C] for a convolution of each channel, [h, w, C, C'] for any;
                C divided by n for n groups. The sizes are odd.
            stride: the layer's stride or 1, along both axes or along each. A step with the stride 1 and a kernel of
                more than one pixel comes after the step with the layer's stride.
            dilation: distance between the pixels that the kernel reads.

        Raises:
            ValueError: for another stride.
        """
        kernel = kernel.astype(x.dtype)
        pair = (stride, stride) if isinstance(stride, int) else stride
        steps, dilations = zip(*(self._along(s, dilation) for s in pair), strict=True)
        if kernel.ndim == 2 and steps == (1, 1):
            return convolution.pointwise(x, kernel)
        if kernel.ndim == 2 and len({*steps}) == 1:
            return convolution.strided_pointwise(x, kernel, steps[0])
        if kernel.ndim == 3 and len({*steps}) == len({*dilations}) == 1:
            return depthwise_conv(x, kernel, steps[0], dilations[0])
        return _library_conv(x, kernel, steps, dilations)

    def every(self, x: jax.Array) -> jax.Array:
        """Takes every pixel that the stride keeps."""
        step, _ = self._along(self.stride, 1)
        return x[:, ::step, ::step]

    def shift(self, x: jax.Array) -> jax.Array:
        """Moves x by one pixel along both axes: the second pixel comes first, and behind the last there are zeros."""
        before, _ = self.spacing
        moved = x[:, before:, before:]
        return jnp.pad(moved, ((0, 0), (0, before), (0, before), (0, 0)))

    def max_pool(self, x: jax.Array) -> jax.Array:
        """Takes the largest value of each 3x3 window, with the layer's stride."""
        return self._pool(pooling.max_pool, x)

    def avg_pool(self, x: jax.Array) -> jax.Array:
        """Takes the mean of each 3x3 window, without the pixels beyond the edge, with the layer's stride."""
        return self._pool(pooling.avg_pool, x)

    def noise(self, x: jax.Array) -> jax.Array:
        """Draws N(0, 1) for every pixel that the stride keeps. The bits of x are the seed: networks draw no numbers."""
        kept = lax.stop_gradient(self.every(x))
        seed = lax.bitcast_convert_type(kept.astype(jnp.float32).sum(), jnp.uint32)
        return jax.random.normal(jax.random.key(seed), kept.shape, kept.dtype)

    @staticmethod
    def relu(x: jax.Array) -> jax.Array:
        """Computes max(x, 0)."""
        return jax.nn.relu(x)

    @staticmethod
    def sigmoid(x: jax.Array) -> jax.Array:
        """Computes 1 / (1 + exp(-x))."""
        return jax.nn.sigmoid(x)

    @staticmethod
    def join(*parts: jax.Array) -> jax.Array:
        """Concatenates channels."""
        return jnp.concatenate(parts, -1)

    def _pool(self, pool: Callable, x: jax.Array) -> jax.Array:
        step, dilation = self._along(self.stride, 1)
        return pool(x, step) if dilation == 1 else pooling.pool_apart(pool, dilation, x)

    def _along(self, stride: int, dilation: int) -> tuple[int, int]:
        """Returns the step and the dilation along an axis, in pixels of the array."""
        before, after = self.spacing
        if stride == self.stride:
            return stride * before // after, dilation * before
        if stride == 1:
            return 1, dilation * after
        raise ValueError(f"stride: found {stride}, expected 1 or the layer's stride, {self.stride}")


def _library_conv(x, kernel, steps, dilations):
    """Convolves x with a kernel of any number of axes, with a step and a dilation along each axis."""
    if kernel.ndim < 4:
        kernel = kernel[:, :, None] if kernel.ndim == 3 else kernel[None, None]
    sizes = zip(kernel.shape[:2], dilations, strict=True)
    padding = tuple((dilation * (size // 2),) * 2 for size, dilation in sizes)
    if kernel.shape[2] == x.shape[-1]:
        return convolution.conv(x, kernel, steps, padding, dilations)
    return lax.conv_general_dilated(
        x,
        kernel,
        steps,
        padding,
        rhs_dilation=dilations,
        dimension_numbers=convolution.DIMENSIONS,
        feature_group_count=x.shape[-1] // kernel.shape[2],
    )
