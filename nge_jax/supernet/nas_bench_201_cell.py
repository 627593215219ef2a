"""A cell of NAS-Bench-201's supernet, see `nas_bench_201`: all operations mixed, or one operation for each edge.

A cell has one input, node 0, and its output is the last node:

    node_k = sum over i < k, sum over operations o of  p[i, k, o] * o(node_i)

All edges that leave a node share its ReLU and its pool. Their convolutions are computed as one, with E times the
channels.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nge_jax.kernels import convolution, pooling
from nge_jax.kernels.selection import take_rows
from nge_jax.space.spaces import BENCH_CONVOLUTIONS, NAS_BENCH_201
from nge_jax.supernet import norm
from nge_jax.supernet.sampled import Drawn
from nge_jax.supernet.trees import Params, in_order

NONE, SKIP, CONV_1X1, CONV_3X3, POOL = range(len(NAS_BENCH_201.operations))  # in the space's order
# The numbers of the edges, those of one source as neighbors.
BY_SOURCE = tuple(sorted(range(len(NAS_BENCH_201.edges)), key=lambda e: NAS_BENCH_201.edges[e][0]))


def mixed_cell(
    params: Params, x: jax.Array, probs: jax.Array, axis_name: str | None = None
) -> jax.Array:
    """Computes the output [B, H, W, C] of a mixed cell.

    Args:
        params: "nor_conv_1x1" [6, C, C] and "nor_conv_3x3" [6, 3, 3, C, C] of one cell.
        x: [B, H, W, C], node 0.
        probs: [6, 5], probabilities of each edge's operations.
        axis_name: mapped axis over which batch statistics are averaged, if any.
    """
    nodes: list[Any] = [x, *[0.0] * (NAS_BENCH_201.num_nodes - 1)]
    ordered = jax.tree.map(lambda a: in_order(a, BY_SOURCE), (params, probs))
    for source in range(NAS_BENCH_201.num_nodes - 1):
        places = [n for n, e in enumerate(BY_SOURCE) if NAS_BENCH_201.edges[e][0] == source]
        leaving = slice(places[0], places[-1] + 1)
        kernels, p = jax.tree.map(lambda a, leaving=leaving: a[leaving], ordered)
        contributions = _mixed_edges(kernels, nodes[source], p, axis_name)
        for edge, mixed in zip(BY_SOURCE[leaving], contributions, strict=True):
            target = NAS_BENCH_201.edges[edge][1]
            nodes[target] = nodes[target] + mixed
    return nodes[-1]


def _mixed_edges(params, x, probs, axis_name):
    """Computes the contributions of the E edges that leave x: a list of [B, H, W, C]. `none` contributes nothing."""
    relu_x, pooled = jax.nn.relu(x), pooling.avg_pool(x)
    # The kernels [..., C_in, C] of all edges, side by side: [..., C_in, E C].
    wide = [jnp.concatenate(list(params[name]), -1) for name in BENCH_CONVOLUTIONS]
    kernel_1x1, kernel_3x3 = (kernel.astype(x.dtype) for kernel in wide)
    edges, channels = len(probs), x.shape[-1]
    p = probs.astype(x.dtype)
    numbers = np.repeat(np.arange(edges), channels)  # each channel has an edge
    y: Any = norm.batch_norm(convolution.pointwise(relu_x, kernel_1x1), axis_name)
    convolved = y * take_rows(p[:, CONV_1X1, None], numbers)[:, 0]
    y = norm.batch_norm(convolution.dense_conv(relu_x, kernel_3x3), axis_name)
    convolved += y * take_rows(p[:, CONV_3X3, None], numbers)[:, 0]
    parts = jnp.split(convolved, edges, -1)
    return [part + w[SKIP] * x + w[POOL] * pooled for w, part in zip(p, parts, strict=True)]


def chosen_cell(
    params: Params,
    x: jax.Array,
    choices: Drawn,
    axis_name: str | None = None,
    all_scalars: bool = False,
) -> jax.Array:
    """Computes the output [B, H, W, C] of a cell with one operation for each edge.

    The arguments are those of `mixed_cell`, with `choices` [6] in place of probabilities, and the attribute
    `all_scalars` of the supernet.
    """
    nodes: list[Any] = [x, *[0.0] * (NAS_BENCH_201.num_nodes - 1)]
    # The edges are in the order of their targets, therefore each source is complete.
    for edge, (source, target) in enumerate(NAS_BENCH_201.edges):
        kernels = jax.tree.map(lambda a, edge=edge: a[edge].astype(x.dtype), params)
        y: Any = _chosen_edge(kernels, nodes[source], choices.operations[edge], axis_name)
        scale = choices.scales[edge].astype(x.dtype)
        nodes[target] = nodes[target] + scale * y
        if all_scalars:
            # The soft sample sums to 1: all scalars that were not drawn together lose what the drawn one gains.
            nodes[target] = nodes[target] + (lax.stop_gradient(scale) - scale)
    return nodes[-1]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _chosen_edge(params, x, operation, axis_name):
    """Computes one operation of one edge.

    The derivative is by hand, because the automatic one would keep the arrays of all branches.
    """
    return lax.switch(operation, _branches(axis_name), params, x)


def _chosen_edge_forward(params, x, operation, axis_name):
    return _chosen_edge(params, x, operation, axis_name), (params, x, operation)


def _chosen_edge_backward(axis_name, residuals, gradient):
    params, x, operation = residuals

    def pull(branch, params, x, gradient):
        return jax.vjp(branch, params, x)[1](gradient)

    pulls = [functools.partial(pull, branch) for branch in _branches(axis_name)]
    return *lax.switch(operation, pulls, params, x, gradient), None


_chosen_edge.defvjp(_chosen_edge_forward, _chosen_edge_backward)


def _branches(axis_name):
    """Makes a function (one edge's parameters, x) -> output for each operation."""

    def conv_1x1(params, x):
        y = convolution.pointwise(jax.nn.relu(x), params["nor_conv_1x1"])
        return norm.batch_norm(y, axis_name)

    def conv_3x3(params, x):
        y: Any = convolution.dense_conv(jax.nn.relu(x), params["nor_conv_3x3"])
        return norm.batch_norm(y, axis_name)

    return [
        lambda _, x: jnp.zeros_like(x),
        lambda _, x: x,
        conv_1x1,
        conv_3x3,
        lambda _, x: pooling.avg_pool(x),
    ]
