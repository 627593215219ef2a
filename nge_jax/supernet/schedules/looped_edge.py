"""The operations of one edge, for the CPU's loop over edges and in the layout `images_last` (paper Eq. 11)."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nge_jax.kernels import pooling
from nge_jax.space.genotype import OPERATIONS
from nge_jax.space.spaces import DILATED, SEPARABLE
from nge_jax.supernet.edge import POOLS, SKIP, centered_depthwise, reduced_shape
from nge_jax.supernet.layouts import images_last
from nge_jax.supernet.norm import fold
from nge_jax.supernet.trees import Params


def shared_probs(p: jax.Array, stride: int) -> jax.Array:
    """Takes the probabilities [..., F] of the `shared_operations` from p [..., 7]."""
    return p[..., shared_numbers(stride)]


def shared_numbers(stride: int) -> np.ndarray:
    """Lists the numbers of the `shared_operations` in OPERATIONS."""
    names = POOLS if stride == 2 else (SKIP, *POOLS)
    return np.array([OPERATIONS.index(name) for name in names])


@functools.partial(jax.jit, static_argnames=("stride", "axis_name"))
def shared_operations(x: jax.Array, stride: int, axis_name: str | None) -> jax.Array:
    """Computes the operations without weights, which all edges that leave a node x [C, H, W, B] share.

    Args:
        x: [C, H, W, B], the node.
        stride: 1 or 2.
        axis_name: mapped axis over which batch statistics are averaged, if any.

    Returns:
        [F, C, H, W, B]: max pool and average pool, each with its BN, behind the identity when the stride is 1.
    """
    pools = [pooling.max_pool(x, stride), pooling.avg_pool(x, stride)]
    pools = [images_last.batch_norm(pool, axis_name) for pool in pools]
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
    """Computes the sum of one edge's convolutions weighted by p, and of its FactorizedReduce if `params` has one.

    Args:
        params: one edge's parameters.
        relu_x: [C, H, W, B], ReLU of the source node; every convolution begins with it.
        center: [C], mean of `relu_x`, over all devices when `axis_name` is given.
        p: [7].
        stride: 1 or 2.
        axis_name: mapped axis over which batch statistics are averaged, if any.

    Returns:
        The sum [C, ceil(H / stride), ceil(W / stride), B], and the statistics that `looped_gradient` needs.
        They map the name of every 1x1 convolution to the center [C], mean [C] and second moment [C, C] of its input.
    """
    statistics = {}

    def normalized(name, h, center, weights, p):
        """Computes p BN(h W) and notes the statistics of h."""
        statistics[name] = center, *images_last.moments(h, axis_name)
        return images_last.affine(h, *fold(weights, p, *statistics[name][1:]))

    shape = reduced_shape(relu_x, stride)
    depthwise = functools.partial(centered_depthwise, layout=images_last)
    mixed: Any = 0.0
    for name in SEPARABLE:
        first, second = params[name]["first"], params[name]["second"]
        h = depthwise(relu_x, center, first["depthwise"], stride, 1)
        z = normalized(f"{name}/first", h, center, first["pointwise"], 1.0)
        z = jax.nn.relu(z).reshape(shape)
        z_center = images_last.mean(z, axis_name)
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


def centered_halves(x: jax.Array, center: jax.Array) -> list[jax.Array]:
    """Takes the pixels [C, N] that each of FactorizedReduce's two 1x1 convolutions reads of x, less the mean of x."""
    center = lax.stop_gradient(center)
    return [images_last.shifted_pixels(half, center) for half in images_last.reduced_positions(x)]
