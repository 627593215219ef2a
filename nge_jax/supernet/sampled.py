"""The supernet under one architecture: only the chosen operation of each kept edge is computed.

The result equals `Supernet.apply` under the one-hot probabilities of the architecture, which are zero on edges that are
not kept. The architecture is an argument, therefore one compiled program serves all architectures. A loop goes over
the kept edges, and `lax.switch` picks the operation of each edge. The derivative of the loop is by hand, as in
`schedules.looped`. The automatic derivative would keep the arrays of all branches for every edge.

An architecture may come with a scale for each operation (`Drawn`). Where a search draws operations, the scales carry
the gradient to the probabilities.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nge_jax.kernels import pooling
from nge_jax.space.architecture import ABSENT
from nge_jax.space.spaces import DARTS, DILATED, SEPARABLE, Space
from nge_jax.supernet import cell
from nge_jax.supernet.edge import SKIP, centered_depthwise, edges_from, reduced_shape
from nge_jax.supernet.layouts import Layout, channels_last
from nge_jax.supernet.norm import fold
from nge_jax.supernet.schedules import described
from nge_jax.supernet.trees import Params, put, take


class Drawn(NamedTuple):
    """Holds one operation for each edge, and the factor of its output.

    Attributes:
        operations: int32 [..., 14]; no edge is ABSENT.
        scales: float32 [..., 14].
    """

    operations: jax.Array
    scales: jax.Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6, 7))
def mix_chosen(
    params: Params,
    nodes: jax.Array,
    inputs: jax.Array | None,
    chosen: jax.Array | Drawn,
    sources: range,
    axis_name: str | None,
    layout: Layout = channels_last,
    space: Space = DARTS,
) -> jax.Array:
    """Adds the contributions of the kept edges from `sources` to every node.

    The arguments are those of `schedules.grouped.mix_together`, except for two. `chosen` holds the operations of one
    cell type, int32 [14], or is a `Drawn`. `layout` is the layout of nodes and inputs.
    """
    branches = _branches(inputs, axis_name, layout, space)
    operations, scales = _operations_and_scales(chosen)
    edges, count = _kept_edges(chosen, sources, space)

    def along_edge(n, nodes):
        source, target, number = _edge_ends(edges[n], sources, space)
        x = take(nodes if inputs is None else inputs, source)
        contribution = lax.switch(operations[number], branches, take(params, edges[n]), x)
        if scales is not None:
            contribution = contribution * scales[number].astype(contribution.dtype)
        return put(nodes, take(nodes, target) + contribution, target)

    return lax.fori_loop(0, count, along_edge, nodes)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Wanted:
    """Says which gradients are needed: a step that updates one group of parameters skips the gradient of the other."""

    params: bool
    scales: bool


def _forward(params, nodes, inputs, chosen, sources, axis_name, layout, space):
    perturbed = jax.tree.map(lambda leaf: leaf.perturbed, (params, chosen))
    wanted = _Wanted(
        params=any(jax.tree.leaves(perturbed[0])),
        scales=isinstance(chosen, Drawn) and perturbed[1].scales,
    )
    values = jax.tree.map(lambda leaf: leaf.value, (params, nodes, inputs, chosen))
    params, nodes, inputs, chosen = values
    nodes = mix_chosen(params, nodes, inputs, chosen, sources, axis_name, layout, space)
    return nodes, (params, nodes, inputs, chosen, wanted)


def _backward(sources, axis_name, layout, space, residuals, g_nodes):
    """Undoes the edges in the opposite order; each edge computes its operation again from the finished nodes."""
    params, nodes, inputs, chosen, wanted = residuals
    operations, scales = _operations_and_scales(chosen)
    edges, count = _kept_edges(chosen, sources, space)
    branches = _branches(inputs, axis_name, layout, space)
    pulls = [functools.partial(_pull, branch, wanted) for branch in branches]

    def along_edge(n, carry):
        g_params, g_nodes, g_inputs, g_scales = carry
        edge = edges[count - 1 - n]
        source, target, number = _edge_ends(edge, sources, space)
        x = take(nodes if inputs is None else inputs, source)
        g = take(g_nodes, target)
        scale = None if scales is None else scales[number]
        g_edge, g_x, g_scale = lax.switch(
            operations[number], pulls, take(params, edge), x, g, scale
        )
        if wanted.params:
            g_params = put(g_params, g_edge, edge)
        if wanted.scales:
            g_scales = g_scales.at[number].set(g_scale)
        if inputs is None:
            # The source is a node, therefore the edges into it see this gradient too.
            g_nodes = put(g_nodes, take(g_nodes, source) + g_x, source)
        else:
            g_inputs = put(g_inputs, take(g_inputs, source) + g_x, source)
        return g_params, g_nodes, g_inputs, g_scales

    g_params = jax.tree.map(jnp.zeros_like, params) if wanted.params else None
    g_inputs = None if inputs is None else jnp.zeros_like(inputs)
    g_scales = None if scales is None or not wanted.scales else jnp.zeros_like(scales)
    start = g_params, g_nodes, g_inputs, g_scales
    g_params, g_nodes, g_inputs, g_scales = lax.fori_loop(0, count, along_edge, start)
    # Operations are integers and have no gradient; scales have one.
    g_chosen = Drawn._make((None, g_scales)) if isinstance(chosen, Drawn) else None
    return g_params, g_nodes, g_inputs, g_chosen


def _pull(branch, wanted, edge_params, x, g, scale):
    """Returns the gradients of the edge's parameters, of x and of the scale; None where it is not wanted."""
    if wanted.params:
        y, undo = jax.vjp(branch, edge_params, x)
    else:
        y, undo = jax.vjp(functools.partial(branch, edge_params), x)
    g_scale = (g * y).sum(dtype=jnp.float32) if wanted.scales else None
    g = g if scale is None else g * scale.astype(g.dtype)
    return (*(undo(g) if wanted.params else (None, *undo(g))), g_scale)


mix_chosen.defvjp(_forward, _backward, symbolic_zeros=True)


def _operations_and_scales(chosen):
    """Takes the operations and the scales of one cell type; the scales are None for an architecture."""
    return chosen if isinstance(chosen, Drawn) else (chosen, None)


def _branches(inputs, axis_name, layout, space) -> list[Callable]:
    """Makes a function (one edge's parameters, source) -> contribution for each operation."""
    stride = 1 if inputs is None else 2
    return [
        functools.partial(_operation, name, stride=stride, axis_name=axis_name, layout=layout)
        for name in space.operations
    ]


def _operation(name, params, x, *, stride, axis_name, layout):
    convolve = functools.partial(_convolve, axis_name=axis_name, layout=layout)
    if name in SEPARABLE:
        first, second = params[name]["first"], params[name]["second"]
        z = convolve(first, x, stride, 1)
        return convolve(second, z, 1, 1)
    if name in DILATED:
        return convolve(params[name], x, stride, 2)
    if name == SKIP:
        return x if stride == 1 else cell.preprocess(params[name], x, axis_name, layout=layout)
    pools = {"max_pool_3x3": pooling.max_pool, "avg_pool_3x3": pooling.avg_pool}
    if name in pools:
        return layout.batch_norm(pools[name](x, stride), axis_name)
    y = described.operation(name, params.get(name, {}), layout.to_nhwc(x), stride, axis_name)
    return layout.to_layout(y)


def _convolve(weights, x, stride, dilation, *, axis_name, layout):
    """Applies ReLU, depthwise convolution, 1x1 convolution and BN, the last two folded into one product."""
    x = jax.nn.relu(x)
    center = layout.mean(x, axis_name)
    h = centered_depthwise(x, center, weights["depthwise"], stride, dilation, layout)
    z = layout.affine(h, *fold(weights["pointwise"], 1.0, *layout.moments(h, axis_name)))
    return z.reshape(reduced_shape(x, stride))


def _kept_edges(chosen, sources, space):
    """Lists the edges as positions in the stacked parameters, the kept ones first, and counts the kept ones."""
    if isinstance(chosen, Drawn):
        # All edges are kept, and the compiler knows how many.
        count = len(_edge_numbers(sources, space))
        return jnp.arange(count), count
    kept = chosen[_edge_numbers(sources, space)] != ABSENT
    return jnp.argsort(~kept, stable=True), kept.sum()


def _edge_ends(position, sources, space):
    """Looks up the source, the target and the space's number of the edge at a position in the stacked parameters."""
    numbers = jnp.asarray(_edge_numbers(sources, space))
    source, target = jnp.asarray(space.edges)[numbers].T
    return source[position], target[position], numbers[position]


def _edge_numbers(sources, space):
    """Lists the numbers of the edges from `sources` in the space, in the order of their stacked parameters."""
    return np.array([space.edges.index(edge) for edge in edges_from(sources, space)])
