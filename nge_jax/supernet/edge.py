"""One edge's arithmetic: the operations that an edge mixes, and which edges there are (paper Eq. 11)."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nge_jax.kernels import pooling
from nge_jax.space.genotype import EDGES, NUM_INPUTS, NUM_NODES, OPERATIONS
from nge_jax.space.spaces import DILATED, SEPARABLE
from nge_jax.supernet.layout import IMAGES_LAST, Layout
from nge_jax.supernet.norm import fold
from nge_jax.supernet.trees import Params

# Operations that are convolutions, ending in 1x1 convolution and batch normalization (see `norm.fold`) ...
CONVOLUTIONS = (*SEPARABLE, *DILATED)
# ... and those without weights, which are the same for all edges that leave a node at one stride.
POOLS = ("max_pool_3x3", "avg_pool_3x3")
SKIP = "skip_connect"


def edges_from(sources: range) -> tuple[tuple[int, int], ...]:
    """Lists the edges (i, k) that leave `sources`, in the order of their stacked parameters."""
    return tuple((i, k) for i, k in EDGES if i in sources)


INPUTS, INNER, ALL = range(NUM_INPUTS), range(NUM_INPUTS, NUM_NODES - 1), range(NUM_NODES - 1)


def reduced_positions(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Takes the two sets of positions that FactorizedReduce reads: every second one, and those shifted by one.

    Of either layout of x, [B, H, W, C] or [C, H, W, B]. Of an odd size the shifted ones end in a zero.
    """
    height, width = x.shape[1:3]
    shifted = x[:, 1::2, 1::2]
    if height % 2 or width % 2:
        shifted = jnp.pad(shifted, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
    return x[:, ::2, ::2], shifted


def reduced_shape(x: jax.Array, stride: int) -> tuple[int, int, int, int]:
    """Returns the shape of what a stride makes of x [B, H, W, C] or [C, H, W, B]."""
    first, height, width, last = x.shape
    return first, -(-height // stride), -(-width // stride), last


def weightless(p: jax.Array, stride: int) -> jax.Array:
    """Takes the probabilities [..., F] of the operations of `weightless_operations` from p [..., 7]."""
    return p[..., weightless_numbers(stride)]


def weightless_numbers(stride: int) -> np.ndarray:
    """Lists the numbers in OPERATIONS of the operations of `weightless_operations`."""
    names = POOLS if stride == 2 else (SKIP, *POOLS)
    return np.array([OPERATIONS.index(name) for name in names])


@functools.partial(jax.jit, static_argnames=("stride", "axis_name"))
def weightless_operations(x: jax.Array, stride: int, axis_name: str | None) -> jax.Array:
    """Computes what all edges leaving a node x [C, H, W, B] share, once instead of once an edge: [F, C, H, W, B].

    Max and average pool, each with its BN, behind the identity when the stride is 1.
    """
    pools = [pooling.max_pool(x, stride), pooling.avg_pool(x, stride)]
    pools = [IMAGES_LAST.batch_norm(pool, axis_name) for pool in pools]
    return jnp.stack(pools if stride == 2 else [x, *pools])


@functools.partial(jax.jit, static_argnames=("stride", "axis_name"))
def mixed_convolutions(
    params: Params,
    relu_x: jax.Array,
    center: jax.Array,
    p: jax.Array,
    stride: int,
    axis_name: str | None,
) -> tuple[jax.Array, Params]:
    """Computes the p-weighted sum of one edge's convolutions, and of its FactorizedReduce if `params` has one.

    Args:
        params: one edge's parameters.
        relu_x: [C, H, W, B], ReLU of the source node; every convolution begins with it.
        center: [C], mean of `relu_x`, over all devices when `axis_name` is given.
        p: [7].
        stride: 1 or 2.
        axis_name: mapped axis over which batch statistics are averaged, if any.

    Returns:
        [C, ceil(H / stride), ceil(W / stride), B] and, for a derivative by hand, the statistics of the input of every
        1x1 convolution: name -> (center [C], mean [C], second moment [C, C]), see `centered_depthwise`
        and `Layout.moments`.
    """
    statistics = {}

    def normalized(name, h, center, weights, p):
        """Computes p BN(h W) and notes the statistics of h."""
        statistics[name] = center, *IMAGES_LAST.moments(h, axis_name)
        return IMAGES_LAST.affine(h, *fold(weights, p, *statistics[name][1:]))

    shape = reduced_shape(relu_x, stride)
    depthwise = functools.partial(centered_depthwise, layout=IMAGES_LAST)
    mixed: Any = 0.0
    for name in SEPARABLE:
        first, second = params[name]["first"], params[name]["second"]
        h = depthwise(relu_x, center, first["depthwise"], stride, 1)
        z = normalized(f"{name}/first", h, center, first["pointwise"], 1.0)
        z = jax.nn.relu(z).reshape(shape)
        z_center = IMAGES_LAST.mean(z, axis_name)
        h = depthwise(z, z_center, second["depthwise"], 1, 1)
        mixed += normalized(name, h, z_center, second["pointwise"], p[OPERATIONS.index(name)])
    for name in DILATED:
        h = depthwise(relu_x, center, params[name]["depthwise"], stride, 2)
        pointwise = params[name]["pointwise"]
        mixed += normalized(name, h, center, pointwise, p[OPERATIONS.index(name)])
    if SKIP in params:
        halves = [
            normalized(f"{SKIP}/{half}", h, center, params[SKIP][half], p[OPERATIONS.index(SKIP)])
            for half, h in enumerate(centered_halves(relu_x, center))
        ]
        mixed += jnp.concatenate(halves)
    return mixed.reshape(shape), statistics


def centered_depthwise(
    x: jax.Array,
    center: jax.Array,
    kernel: jax.Array,
    stride: int,
    dilation: int,
    layout: Layout,
) -> jax.Array:
    """Convolves x, laid as `layout` says, depthwise, less what its mean `center` [C] brings: pixels.

    The normalization behind it does not see a constant; without one, h's variance does not cancel.
    """
    h = layout.depthwise(x, kernel, stride, dilation)
    return layout.pixels_less(h, lax.stop_gradient(center * kernel.sum((0, 1))))


def centered_halves(x: jax.Array, center: jax.Array) -> list[jax.Array]:
    """Takes what FactorizedReduce's two 1x1 convolutions read of `x`, less its mean: two times pixels [C, N]."""
    center = lax.stop_gradient(center)
    return [IMAGES_LAST.pixels_less(half, center) for half in reduced_positions(x)]
