"""The supernet under one architecture: of every kept edge the chosen operation is computed, and no other.

The result is that of `Supernet.apply` under the architecture's one-hot probabilities (zero on an edge that is
not kept). The architecture is an argument: one compiled program serves all of them. A loop goes over the
edges that are kept, and `lax.switch` picks the operation of each. The derivative of the loop is by hand, as in
`looped` and for its reasons: the automatic one would keep the arrays of all branches for every edge.

An architecture may come with a scale for each operation (`Drawn`): where a search draws operations, their gradient
reaches what it draws from through the scales.
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
from nge_jax.space.genotype import EDGES, OPERATIONS
from nge_jax.space.spaces import DILATED, SEPARABLE
from nge_jax.supernet import cell
from nge_jax.supernet.edge import SKIP, centered_depthwise, edges_from, reduced_shape
from nge_jax.supernet.layouts import Layout, channels_last
from nge_jax.supernet.model import SCHEDULES, Supernet
from nge_jax.supernet.norm import fold
from nge_jax.supernet.trees import Params, put, take


class Drawn(NamedTuple):
    """Holds one operation an edge and the factor of its output.

    Attributes:
        operations: int32 [..., 14]; every edge has one, none is ABSENT.
        scales: float32 [..., 14].
    """

    operations: jax.Array
    scales: jax.Array


class SampledSupernet(NamedTuple):
    """Applies `net`, with the same weights, under an architecture in the place of probabilities."""

    net: Supernet

    def apply(
        self, weights: Params, images: jax.Array, architecture: jax.Array | Drawn
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Computes logits [B, num_classes] and endpoints, as of `Supernet.apply`.

        Args:
            weights: as from `Supernet.init`; an operation that is not chosen has a gradient of zero.
            images: [B, H, W, image_channels]; of any size.
            architecture: int32 [2, 14], the operation of each edge of the (normal, reduction) cell, ABSENT
                where the edge is not kept; or a `Drawn` of such arrays.
        """
        mix_edges = functools.partial(mix_chosen, layout=SCHEDULES[self.net.schedule].layout)
        return self.net.mixed_by(mix_edges, weights, images, architecture)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def mix_chosen(
    params: Params,
    nodes: jax.Array,
    inputs: jax.Array | None,
    chosen: jax.Array | Drawn,
    sources: range,
    axis_name: str | None,
    layout: Layout = channels_last,
) -> jax.Array:
    """Adds to every node what its kept edges from `sources` bring.

    `chosen`: int32 [14], one cell type's operations, or a `Drawn` of it; `layout`: of nodes and inputs; the other
    arguments as of `grouped.mix_together`.
    """
    branches = _branches(inputs, axis_name, layout)
    operations, scales = _parts(chosen)
    edges, count = _kept(chosen, sources)

    def along_edge(n, nodes):
        source, target, number = _ends(edges[n], sources)
        x = take(nodes if inputs is None else inputs, source)
        brought = lax.switch(operations[number], branches, take(params, edges[n]), x)
        if scales is not None:
            brought = brought * scales[number].astype(brought.dtype)
        return put(nodes, take(nodes, target) + brought, target)

    return lax.fori_loop(0, count, along_edge, nodes)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Wanted:
    """Says which gradients are asked for: a step that updates one group leaves the other's out."""

    params: bool
    scales: bool


def _forward(params, nodes, inputs, chosen, sources, axis_name, layout):
    perturbed = jax.tree.map(lambda leaf: leaf.perturbed, (params, chosen))
    wanted = _Wanted(
        params=any(jax.tree.leaves(perturbed[0])),
        scales=isinstance(chosen, Drawn) and perturbed[1].scales,
    )
    values = jax.tree.map(lambda leaf: leaf.value, (params, nodes, inputs, chosen))
    params, nodes, inputs, chosen = values
    nodes = mix_chosen(params, nodes, inputs, chosen, sources, axis_name, layout)
    return nodes, (params, nodes, inputs, chosen, wanted)


def _backward(sources, axis_name, layout, residuals, g_nodes):
    """Undoes the edges in the opposite order; each computes its operation again from the finished nodes."""
    params, nodes, inputs, chosen, wanted = residuals
    operations, scales = _parts(chosen)
    edges, count = _kept(chosen, sources)

    def pull(branch, edge_params, x, g, scale):
        """Returns the gradients of the edge's parameters, of x and of the scale; None where it is not wanted."""
        if wanted.params:
            brought, undo = jax.vjp(branch, edge_params, x)
        else:
            brought, undo = jax.vjp(functools.partial(branch, edge_params), x)
        g_scale = (g * brought).sum(dtype=jnp.float32) if wanted.scales else None
        g = g if scale is None else g * scale.astype(g.dtype)
        return (*(undo(g) if wanted.params else (None, *undo(g))), g_scale)

    pulls = [functools.partial(pull, branch) for branch in _branches(inputs, axis_name, layout)]

    def along_edge(n, carry):
        g_params, g_nodes, g_inputs, g_scales = carry
        edge = edges[count - 1 - n]
        source, target, number = _ends(edge, sources)
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
            g_nodes = put(g_nodes, take(g_nodes, source) + g_x, source)
        else:
            g_inputs = put(g_inputs, take(g_inputs, source) + g_x, source)
        return g_params, g_nodes, g_inputs, g_scales

    start = (
        jax.tree.map(jnp.zeros_like, params) if wanted.params else None,
        g_nodes,
        None if inputs is None else jnp.zeros_like(inputs),
        None if scales is None or not wanted.scales else jnp.zeros_like(scales),
    )
    g_params, g_nodes, g_inputs, g_scales = lax.fori_loop(0, count, along_edge, start)
    # An architecture has no derivative, its scales have one.
    g_chosen = Drawn._make((None, g_scales)) if isinstance(chosen, Drawn) else None
    return g_params, g_nodes, g_inputs, g_chosen


mix_chosen.defvjp(_forward, _backward, symbolic_zeros=True)


def _parts(chosen):
    """Takes operations and scales of one cell type, None where an architecture has none."""
    return chosen if isinstance(chosen, Drawn) else (chosen, None)


def _branches(inputs, axis_name, layout) -> list[Callable]:
    """Makes for each operation a function (one edge's parameters, source) -> what the edge brings."""
    stride = 1 if inputs is None else 2
    return [
        functools.partial(_operation, name, stride=stride, axis_name=axis_name, layout=layout)
        for name in OPERATIONS
    ]


def _operation(name, params, x, *, stride, axis_name, layout):
    convolution = functools.partial(_convolution, axis_name=axis_name, layout=layout)
    if name in SEPARABLE:
        first, second = params[name]["first"], params[name]["second"]
        z = convolution(first, x, stride, 1)
        return convolution(second, z, 1, 1)
    if name in DILATED:
        return convolution(params[name], x, stride, 2)
    if name == SKIP:
        return x if stride == 1 else cell.preprocess(params[name], x, axis_name, layout=layout)
    pool = {"max_pool_3x3": pooling.max_pool, "avg_pool_3x3": pooling.avg_pool}[name]
    return layout.batch_norm(pool(x, stride), axis_name)


def _convolution(weights, x, stride, dilation, *, axis_name, layout):
    """Applies ReLU, depthwise convolution, 1x1 convolution and BN, the last two folded into one product."""
    x = jax.nn.relu(x)
    center = layout.mean(x, axis_name)
    h = centered_depthwise(x, center, weights["depthwise"], stride, dilation, layout)
    z = layout.affine(h, *fold(weights["pointwise"], 1.0, *layout.moments(h, axis_name)))
    return z.reshape(reduced_shape(x, stride))


def _kept(chosen, sources):
    """Lists the kept edges as positions in the stacked parameters, in order, padded at the end; and their number."""
    if isinstance(chosen, Drawn):  # all: a number that the compiler knows
        count = len(_numbers(sources))
        return jnp.arange(count), count
    kept = chosen[_numbers(sources)] != ABSENT
    (positions,) = jnp.nonzero(kept, size=len(kept), fill_value=0)
    return positions, kept.sum()


def _ends(position, sources):
    """Looks up an edge's source, target and number in EDGES; a source is a node's number, as among the inputs."""
    numbers = jnp.asarray(_numbers(sources))
    source, target = jnp.asarray(EDGES)[numbers].T
    return source[position], target[position], numbers[position]


def _numbers(sources):
    """Lists the numbers in EDGES of the edges from `sources`, in the order of their stacked parameters."""
    return np.array([EDGES.index(edge) for edge in edges_from(sources)])
