"""The edges of a cell, and what all forms of their convolutions share (paper Eq. 11)."""

import jax
from jax import lax

from nge_jax.space.spaces import DARTS, Space
from nge_jax.supernet.layouts import Layout

# The operations that have no weights, SKIP with stride 1 only.
POOLS = ("max_pool_3x3", "avg_pool_3x3")
SKIP = "skip_connect"


# The names of the weights of stride-1 edges, and of stride-2 edges, which leave a reduction cell's inputs.
EDGES, REDUCING = "edges", "reducing_edges"


def edge_groups(space: Space, reduction: bool) -> dict[str, range]:
    """Lists the sources of a cell's edges by the name of the edges' weights, in the order of computation."""
    inputs, nodes = range(space.num_inputs), range(space.num_nodes - 1)
    if reduction:
        return {REDUCING: inputs, EDGES: nodes[space.num_inputs :]}
    return {EDGES: nodes}


def edges_from(sources: range, space: Space = DARTS) -> tuple[tuple[int, int], ...]:
    """Lists the edges (i, k) that leave `sources`, in the order of their stacked parameters."""
    return tuple((i, k) for i, k in space.edges if i in sources)


def fast_operations(space: Space) -> tuple[str, ...]:
    """Lists the space's operations that the schedules compute by forms of their own: the paper's."""
    return tuple(name for name in DARTS.operations if name in space.operations)


def other_operations(space: Space) -> tuple[str, ...]:
    """Lists the space's operations that the schedules compute from their description, see `schedules.described`."""
    return tuple(name for name in space.operations if name not in DARTS.operations)


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
