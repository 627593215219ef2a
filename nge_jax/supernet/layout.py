"""Where arrays of images have their channels: last, [B, H, W, C], or first with the images last, [C, H, W, B].

GPUs and TPUs take the former. A CPU computes a loop's innermost axis by vectors, and XLA's CPU backend nothing beyond
it: 4 to 16 channels leave vectors empty or make them few, and a batch of images does not. With the images last, what
moves windows reads rows of memory, 1x1 convolutions are products with long rows, and sums over pixels are along them.
Height and width are the axes 1 and 2 in both, so that what moves windows over them reads either.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax.kernels import depthwise
from nge_jax.kernels.stored import stored, stored_value
from nge_jax.supernet import norm


@dataclasses.dataclass(frozen=True)
class Layout:
    """Says what depends on the axis of the channels.

    "Pixels" are those of all images, as the rows of a matrix [N, C] or, with the channels first, its columns [C, N].

    Attributes:
        axis: of the channels: 3 in [B, H, W, C], 0 in [C, H, W, B].
    """

    axis: int

    @property
    def _others(self) -> tuple[int, ...]:
        return (1, 2, 3) if self.axis == 0 else (0, 1, 2)

    def laid(self, x: jax.Array) -> jax.Array:
        """Lays x [B, H, W, C] so."""
        return _ends_swapped(x) if self.axis == 0 else x

    def images_first(self, x: jax.Array) -> jax.Array:
        """Lays an x of this layout [B, H, W, C]."""
        return self.laid(x)  # the axes at the ends have changed places, which undoes itself

    def side_by_side(self, arrays: jax.Array) -> jax.Array:
        """Lays the channels of n arrays [n, ...] side by side: n C of them."""
        if self.axis == 0:
            return arrays.reshape(-1, *arrays.shape[2:])
        return jnp.concatenate(list(arrays), self.axis)

    def channels(self, x: jax.Array) -> int:
        """Counts the channels of x."""
        return x.shape[self.axis]

    def mean(self, x: jax.Array, axis_name: str | None) -> jax.Array:
        """Computes the mean of each channel of x, [C], float32, over `axis_name`, too."""
        return norm.pmean(x.mean(self._others, dtype=jnp.float32), axis_name)

    def pooled(self, x: jax.Array) -> jax.Array:
        """Computes the mean of each image's channels: [B, C], float32."""
        mean = x.mean((1, 2), dtype=jnp.float32)
        return mean.T if self.axis == 0 else mean

    def batch_norm(self, x: jax.Array, axis_name: str | None) -> jax.Array:
        """Normalizes x with the batch's own statistics, as `norm.batch_norm`."""
        return norm.batch_norm(x, axis_name, self.axis)

    def pixels(self, x: jax.Array) -> jax.Array:
        """Lays x as pixels."""
        channels = self.channels(x)
        return x.reshape(channels, -1) if self.axis == 0 else x.reshape(-1, channels)

    def pixels_where(self, positive: jax.Array, x: jax.Array) -> jax.Array:
        """Lays x as pixels, with zeros where not `positive`, pixels too."""
        if self.axis == 0:  # as in `pixels_less`
            x = jnp.where(positive.reshape(x.shape), x, 0)
            return self.pixels(stored_value(x))
        return jnp.where(positive, self.pixels(x), 0)

    def sum(self, pixels: jax.Array) -> jax.Array:
        """Sums pixels: [C], float32."""
        return pixels.sum(self._of_pixels, dtype=jnp.float32)

    @property
    def of_channels(self) -> int:
        """Is the channels' axis among those of pixels, and of images as counted from the end."""
        return 0 if self.axis == 0 else -1

    @property
    def _of_pixels(self) -> int:
        return 1 if self.axis == 0 else 0

    def count(self, pixels: jax.Array) -> int:
        """Counts pixels: N."""
        return pixels.shape[self._of_pixels]

    def plus(self, pixels: jax.Array, vector: jax.Array) -> jax.Array:
        """Adds a vector [C] to each pixel, in the pixels' precision."""
        return pixels + norm.along(vector.astype(pixels.dtype), 2, self.of_channels)

    def pixels_less(self, x: jax.Array, vector: jax.Array) -> jax.Array:
        """Lays x as pixels, less a vector [C] each, in x's precision."""
        vector = vector.astype(x.dtype)
        if self.axis == 0:
            # The difference first: XLA makes one loop of it and of the windows before it, which is vectorized along
            # the images and would not be along all pixels.
            return self.pixels(stored_value(x - norm.along(vector, x.ndim, self.axis)))
        return self.pixels(x) - vector

    def pointwise(self, x: jax.Array, matrix: jax.Array) -> jax.Array:
        """Applies a 1x1 convolution [C, C'] to x."""
        y = self.times(self.pixels(x), matrix)
        shape = list(x.shape)
        shape[self.axis] = matrix.shape[1]
        return y.reshape(shape)

    def times(self, pixels: jax.Array, matrix: jax.Array) -> jax.Array:
        """Multiplies each pixel, a row, with a matrix [C, C'], in the pixels' precision: N pixels of C' channels."""
        matrix = matrix.astype(pixels.dtype)
        return matrix.T @ pixels if self.axis == 0 else pixels @ matrix

    def products(self, left: jax.Array, right: jax.Array, **precision: Any) -> jax.Array:
        """Sums the products of two channels over pixels: [C, C'], float32."""
        left, right = (left, right.T) if self.axis == 0 else (left.T, right)
        return jnp.matmul(left, right, preferred_element_type=jnp.float32, **precision)

    def moments(self, h: jax.Array, axis_name: str | None) -> tuple[jax.Array, jax.Array]:
        """Computes both moments over pixels h: E[h] [C] and E[h h^T] [C, C], float32."""
        mean = h.mean(self._of_pixels, dtype=jnp.float32)
        second = self.products(h, h, precision=lax.Precision.HIGHEST)
        return norm.pmean((mean, second / self.count(h)), axis_name)

    def affine(self, h: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
        """Computes h A + b of pixels h, in h's own precision."""
        return self.plus(self.times(h, a), b)

    def depthwise(self, x: jax.Array, kernel: jax.Array, stride: int, dilation: int) -> jax.Array:
        """Computes `depthwise.depthwise_conv`; kernel: [k, k, C]."""
        if self.axis == 0:
            return depthwise.depthwise_conv_of_images_last(x, kernel, stride, dilation)
        return depthwise.depthwise_conv(x, kernel, stride, dilation)


IMAGES_FIRST = Layout(axis=3)  # [B, H, W, C]
IMAGES_LAST = Layout(axis=0)  # [C, H, W, B]


@jax.custom_vjp
def _ends_swapped(x):
    """Swaps the first axis and the last.

    On CPUs by itself, there and in the derivative: XLA's loop of this and of what is around it takes four times as
    long.
    """
    return stored(x.swapaxes(0, -1), x)


_ends_swapped.defvjp(lambda x: (_ends_swapped(x), None), lambda _, g: (_ends_swapped(g),))
