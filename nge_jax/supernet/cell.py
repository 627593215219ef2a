"""The mixed cell of the supernet: every edge carries all operations, weighted by their probabilities.

    node_k = sum over i < k, sum over operations o of  p[i, k, o] * o(node_i)          (paper Eq. 11)

Nodes 0 and 1 are the cell's two inputs, preprocessed to C channels. Nodes 2..5 are the inner nodes, and the output
concatenates them. In a reduction cell, edges that leave an input have stride 2.

The sums over edges are computed by one of three schedules, see `schedules.schedule.SCHEDULES`.
"""

import functools
import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from nge_jax.space.mixture import strengths
from nge_jax.space.parts import outside
from nge_jax.space.parts.operation import fan_in, map_shapes
from nge_jax.space.spaces import DARTS, DILATED, SEPARABLE, Space
from nge_jax.supernet import partial
from nge_jax.supernet.edge import (
    REDUCING,
    SKIP,
    edge_groups,
    edges_from,
    other_operations,
    reduced_shape,
)
from nge_jax.supernet.layouts import Layout, channels_last
from nge_jax.supernet.partial import Factors, Nodes
from nge_jax.supernet.trees import Params


def init_mixed_cell(
    key: jax.Array,
    channels_before: tuple[int, int],
    channels: int,
    reduction: bool,
    reduction_before: bool,
    share: int = 1,
    space: Space = DARTS,
) -> Params:
    """Draws the parameters of one cell: the edges of each stride are stacked along a leading axis.

    Args:
        key: PRNG key.
        channels_before: channels of the outputs of the cells (k-2, k-1).
        channels: C, the channels of every node.
        reduction: whether this is a reduction cell.
        reduction_before: whether cell k-1 is a reduction cell; the output of cell k-2 then has twice the size.
        share: the operations see C / share channels.
        space: the space of the cell.
    """
    keys, mixed = jax.random.split(key, 4), channels // share
    before = init_factorized_reduce if reduction_before else init_pointwise
    params: Params = {
        "preprocess_0": before(keys[0], channels_before[0], channels),
        "preprocess_1": init_pointwise(keys[1], channels_before[1], channels),
    }
    for number, (name, sources) in enumerate(edge_groups(space, reduction).items(), start=2):
        stride, count = 2 if name == REDUCING else 1, len(edges_from(sources, space))
        params[name] = _init_edges(keys[number], count, mixed, stride, space)
    return params


def _init_edges(key, count, channels, stride, space):
    """Draws the parameters of E = `count` edges, stacked: "depthwise" [E, k, k, C] and "pointwise" [E, C, C]."""
    keys = iter(jax.random.split(key, 2 * len(SEPARABLE) + len(DILATED) + 1))
    operations = space.operations

    def depthwise_separable(size):
        key_depthwise, key_pointwise = jax.random.split(next(keys))
        return {
            "depthwise": uniform(key_depthwise, (count, size, size, channels), size * size),
            "pointwise": uniform(key_pointwise, (count, channels, channels), channels),
        }

    params = {}
    for name, size in _present(SEPARABLE, operations):
        params[name] = {"first": depthwise_separable(size), "second": depthwise_separable(size)}
    for name, size in _present(DILATED, operations):
        params[name] = depthwise_separable(size)
    if stride == 2 and SKIP in operations:
        shape = (count, 2, channels, channels // 2)
        params[SKIP] = uniform(next(keys), shape, channels)
    for number, name in enumerate(other_operations(space)):
        if shapes := outside.parameters(name, channels, stride):
            params[name] = _init_described(jax.random.fold_in(key, number), count, shapes)
    return params


def _present(sizes, operations):
    return [(name, size) for name, size in sizes.items() if name in operations]


def _init_described(key, count, shapes):
    """Draws the weights of an operation that is computed from its description, for `count` edges."""

    def draw(path, shape):
        if not fan_in(shape):
            return jnp.zeros((count, *shape))
        number = zlib.crc32(path.encode())
        return uniform(jax.random.fold_in(key, number), (count, *shape), fan_in(shape))

    return map_shapes(draw, shapes)


def init_pointwise(key: jax.Array, channels_in: int, channels: int) -> jax.Array:
    """Draws the weights of a 1x1 convolution: [C_in, C]."""
    return uniform(key, (channels_in, channels), channels_in)


def init_factorized_reduce(key: jax.Array, channels_in: int, channels: int) -> jax.Array:
    """Draws the weights of the two strided 1x1 convolutions of FactorizedReduce: [2, C_in, C / 2]."""
    return uniform(key, (2, channels_in, channels // 2), channels_in)


def uniform(key: jax.Array, shape: tuple[int, ...], fan_in: int) -> jax.Array:
    """Draws from PyTorch's default for convolutions, U(-1/sqrt(fan_in), 1/sqrt(fan_in)) (paper silent, DARTS value)."""
    bound = fan_in**-0.5
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)


def mixed_cell(
    params: Params,
    before: tuple[jax.Array, jax.Array],
    probs: Any,
    *,
    reduction: bool,
    mix_edges: Callable[..., Any],
    share: int = 1,
    layout: Layout = channels_last,
    normalize: Callable[..., Any] | None = None,
    axis_name: str | None = None,
    space: Space = DARTS,
) -> jax.Array:
    """Computes the output of a mixed cell: [B, H, W, 4 C], or [4 C, H, W, B] with the layout `images_last`.

    A reduction cell halves H and W and rounds them up.

    Args:
        params: as from `init_mixed_cell`.
        before: outputs of the cells k-2 and k-1, in `layout`.
        probs: [14, 7], probabilities of each edge's operations, in the order of `space.genotype.EDGES`; or what
            else `mix_edges` reads in their place.
        reduction: whether this is a reduction cell.
        mix_edges: one of the three schedules, or `sampled.mix_chosen`.
        share: as in `init_mixed_cell`; with 2 or more, `probs` is a `space.mixture.Mixture`, see `partial`.
        layout: the layout of `before`, of the arrays that `mix_edges` takes, and of the output.
        normalize: batch normalization of the inputs; None: the layout's. The schedules have their own.
        axis_name: mapped axis over which batch statistics are averaged, if any.
        space: the space of the cell; the sizes above are the paper's.
    """
    inputs = jnp.stack(
        [
            preprocess(params[f"preprocess_{number}"], x, axis_name, layout, normalize)
            for number, x in enumerate(before)
        ]
    )
    mix_edges = functools.partial(mix_edges, axis_name=axis_name, space=space)
    if share > 1:
        return _partial_cell(params, inputs, probs, reduction, mix_edges, share, layout, space)
    return _whole_cell(params, inputs, probs, reduction, mix_edges, layout, space)


def _whole_cell(params, inputs, probs, reduction, mix_edges, layout, space):
    """Computes `mixed_cell` from the preprocessed inputs [2, B, H, W, C] where all channels are mixed."""
    if reduction:
        nodes = jnp.zeros((space.num_nodes, *reduced_shape(inputs[0], 2)), inputs.dtype)
    else:
        inner = jnp.zeros((len(space.inner_nodes), *inputs.shape[1:]), inputs.dtype)
        nodes = jnp.concatenate([inputs, inner])
    for name, sources in edge_groups(space, reduction).items():
        read = inputs if name == REDUCING else None
        nodes = mix_edges(params[name], nodes, read, probs, sources)
    return layout.concatenate_channels(nodes[space.num_inputs :])


def _partial_cell(params, inputs, mixture, reduction, mix_edges, share, layout, space):
    """Computes `mixed_cell` from the preprocessed inputs [2, B, H, W, C] where one channel in `share` is mixed."""
    factors = Factors(strengths(mixture), mixture.betas)
    mixed = layout.count_channels(inputs[0]) // share
    if reduction:
        nodes = jnp.zeros((space.num_nodes, *reduced_shape(inputs[0], 2)), inputs.dtype)
        nodes = Nodes(*partial.split(nodes, mixed, layout))
    else:
        inner = [(0, len(space.inner_nodes)), *[(0, 0)] * 4]
        nodes = partial.divide(inputs, mixed, layout)
        nodes = Nodes(*(jnp.pad(part, inner) for part in nodes))
    for name, sources in edge_groups(space, reduction).items():
        read = inputs if name == REDUCING else None
        nodes = mix_edges(params[name], nodes, read, factors, sources)
    whole = partial.join(Nodes(*(part[space.num_inputs :] for part in nodes)), layout)
    return layout.concatenate_channels(whole)


def preprocess(
    weights: jax.Array,
    x: jax.Array,
    axis_name: str | None,
    layout: Layout = channels_last,
    normalize: Callable[..., Any] | None = None,
) -> jax.Array:
    """Applies ReLU, 1x1 convolution and BN to an input of a cell, or FactorizedReduce if the weights are a pair.

    Args:
        weights: [C_in, C], or [2, C_in, C / 2] of a FactorizedReduce.
        x: the array, in `layout`.
        axis_name: mapped axis over which batch statistics are averaged, if any.
        layout: the layout of `x` and of the result.
        normalize: the batch normalization; None: the layout's.
    """
    convolve = layout.pointwise if weights.ndim == 2 else layout.factorized_reduce
    return (normalize or layout.batch_norm)(convolve(jax.nn.relu(x), weights), axis_name)
