"""The operations of one edge, for the CPU's loop over edges and in the layout `images_last` (paper Eq. 11)."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nge_jax.kernels import pooling
from nge_jax.space.spaces import DARTS, DILATED, SEPARABLE, Space
from nge_jax.supernet.edge import POOLS, SKIP, centered_depthwise, reduced_shape
from nge_jax.supernet.layouts import images_last
from nge_jax.supernet.norm import fold
from nge_jax.supernet.trees import Params


def shared_probs(p: jax.Array, stride: int, space: Space = DARTS) -> jax.Array:
    """Takes the probabilities [..., F] of the `shared_operations` from p [..., 7]."""
    return p[..., shared_numbers(stride, space)]


def shared_numbers(stride: int, space: Space = DARTS) -> np.ndarray:
    """Lists the numbers of the `shared_operations` in the space."""
    names = shared_names(stride, space)
    return np.array([space.operations.index(name) for name in names], int)


def shared_names(stride: int, space: Space) -> list[str]:
    """Lists the `shared_operations` that the space has."""
    names = POOLS if stride == 2 else (SKIP, *POOLS)
    return [name for name in names if name in space.operations]


@functools.partial(jax.jit, static_argnames=("stride", "axis_name", "space"))
def shared_operations(
    x: jax.Array, stride: int, axis_name: str | None, space: Space = DARTS
) -> jax.Array:
    """Computes the operations without weights, which all edges that leave a node x [C, H, W, B] share.

    Args:
        x: [C, H, W, B], the node.
        stride: 1 or 2.
        axis_name: mapped axis over which batch statistics are averaged, if any.
        space: the space of the cell.

    Returns:
        [F, C, H, W, B]: max pool and average pool, each with its BN, behind the identity when the stride is 1; those
        that the space has.
    """
    pools = {"max_pool_3x3": pooling.max_pool, "avg_pool_3x3": pooling.avg_pool}
    names = shared_names(stride, space)
    computed = {name: pools[name](x, stride) for name in names if name in pools}
    features = {name: images_last.batch_norm(pool, axis_name) for name, pool in computed.items()}
    if not names:
        return jnp.zeros((0, *reduced_shape(x, stride)), x.dtype)
    return jnp.stack([features.get(name, x) for name in names])


@functools.partial(jax.jit, static_argnames=("stride", "axis_name", "space"))
def mixed_convolutions(
    params: Params,
    relu_x: jax.Array,
    center: jax.Array,
    p: jax.Array,
    stride: int,
    axis_name: str | None,
    space: Space = DARTS,
) -> tuple[jax.Array, Params]:
    """Computes the sum of one edge's convolutions weighted by p, and of its FactorizedReduce if `params` has one.

    Args:
        params: one edge's parameters.
        relu_x: [C, H, W, B], ReLU of the source node; every convolution begins with it.
        center: [C], mean of `relu_x`, over all devices when `axis_name` is given.
        p: [7].
        stride: 1 or 2.
        axis_name: mapped axis over which batch statistics are averaged, if any.
        space: the space of the cell.

    Returns:
        The sum [C, ceil(H / stride), ceil(W / stride), B], and the statistics that `looped_gradient` needs.
        They map the name of every 1x1 convolution to the center [C], mean [C] and second moment [C, C] of its input.
    """
    statistics, numbers = {}, {name: o for o, name in enumerate(space.operations)}

    def normalized(name, h, center, weights, p):
        """Computes p BN(h W) and notes the statistics of h."""
        statistics[name] = center, *images_last.moments(h, axis_name)
        return images_last.affine(h, *fold(weights, p, *statistics[name][1:]))

    shape = reduced_shape(relu_x, stride)
    depthwise = functools.partial(centered_depthwise, layout=images_last)
    mixed: Any = 0.0
    for name in filter(numbers.__contains__, SEPARABLE):
        first, second = params[name]["first"], params[name]["second"]
        h = depthwise(relu_x, center, first["depthwise"], stride, 1)
        z = normalized(f"{name}/first", h, center, first["pointwise"], 1.0)
        z = jax.nn.relu(z).reshape(shape)
        z_center = images_last.mean(z, axis_name)
        h = depthwise(z, z_center, second["depthwise"], 1, 1)
        mixed += normalized(name, h, z_center, second["pointwise"], p[numbers[name]])
    for name in filter(numbers.__contains__, DILATED):
        h = depthwise(relu_x, center, params[name]["depthwise"], stride, 2)
        pointwise = params[name]["pointwise"]
        mixed += normalized(name, h, center, pointwise, p[numbers[name]])
    if SKIP in params:
        halves = [
            normalized(f"{SKIP}/{half}", h, center, params[SKIP][half], p[numbers[SKIP]])
            for half, h in enumerate(centered_halves(relu_x, center))
        ]
        mixed += jnp.concatenate(halves)
    if not statistics:
        mixed = jnp.zeros(shape, relu_x.dtype)
    return mixed.reshape(shape), statistics


def centered_halves(x: jax.Array, center: jax.Array) -> list[jax.Array]:
    """Takes the pixels [C, N] that each of FactorizedReduce's two 1x1 convolutions reads of x, less the mean of x."""
    center = lax.stop_gradient(center)
    return [images_last.shifted_pixels(half, center) for half in images_last.reduced_positions(x)]
