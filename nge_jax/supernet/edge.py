"""The edges of a cell, and what all forms of their convolutions share (paper Eq. 11)."""

import jax
from jax import lax

from nge_jax.space.genotype import EDGES, NUM_INPUTS, NUM_NODES
from nge_jax.supernet.layouts import Layout

# The operations that have no weights, SKIP with stride 1 only.
POOLS = ("max_pool_3x3", "avg_pool_3x3")
SKIP = "skip_connect"

# The sources of edges: the cell's two inputs, the inner nodes but the last, and all nodes but the last.
INPUTS, INNER, ALL = range(NUM_INPUTS), range(NUM_INPUTS, NUM_NODES - 1), range(NUM_NODES - 1)


def edges_from(sources: range) -> tuple[tuple[int, int], ...]:
    """Lists the edges (i, k) that leave `sources`, in the order of their stacked parameters."""
    return tuple((i, k) for i, k in EDGES if i in sources)


def reduced_shape(x: jax.Array, stride: int) -> tuple[int, int, int, int]:
    """Returns the shape that x, in either layout, has after a stride."""
    first, height, width, last = x.shape
    return first, -(-height // stride), -(-width // stride), last


def centered_depthwise(
    x: jax.Array,
    center: jax.Array,
    kernel: jax.Array,
    stride: int,
    dilation: int,
    layout: Layout,
) -> jax.Array:
    """Convolves x depthwise and subtracts the contribution of a constant image with the channels `center` [C].

    The normalization that follows does not see a constant. Without it the variance of the result does not cancel.

    Args:
        x: the array, in `layout`.
        center: [C], the mean of `x`.
        kernel: [k, k, C].
        stride: 1 or 2.
        dilation: dilation of the kernel.
        layout: `channels_last` or `images_last`.

    Returns:
        Pixels, see `layout`.
    """
    h = layout.depthwise_conv(x, kernel, stride, dilation)
    return layout.shifted_pixels(h, lax.stop_gradient(center * kernel.sum((0, 1))))
