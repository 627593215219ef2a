"""The CPU's schedule of a mixed cell: one edge at a time, with the derivative of the whole loop by hand.

The sums are those of `reference.mix_as_written`. What the loop saves on XLA's CPU backend:

* compilation: a cell's 14 edges are one loop body forward and one backward instead of 14 unrolled copies;
* time: XLA fuses across a cell's edges and computes shared arrays once per consumer; a loop is a boundary
  that it respects, and one edge's arrays fit into the caches;
* memory: an edge leaves behind statistics and nothing else. Its convolutions are computed again from the
  finished nodes in the backward pass, which takes less time than writing them to memory and reading them.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nge_jax.kernels.depthwise import (
    depthwise_input_gradient_of_images_last,
    depthwise_kernel_gradient_of_images_last,
)
from nge_jax.space.genotype import EDGES, NUM_INPUTS, NUM_NODES, OPERATIONS
from nge_jax.space.spaces import DILATED, SEPARABLE
from nge_jax.supernet import edge as supernet_edge
from nge_jax.supernet import norm, partial
from nge_jax.supernet.layout import IMAGES_LAST
from nge_jax.supernet.norm import fold
from nge_jax.supernet.partial import Factors, Nodes
from nge_jax.supernet.trees import PackedTrees, Params, put, take


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def mix_one_by_one(
    params: Params,
    nodes: jax.Array | Nodes,
    inputs: jax.Array | None,
    probs: jax.Array | Factors,
    sources: range,
    axis_name: str | None,
) -> jax.Array | Nodes:
    """Adds to every node what its edges from `sources` bring; arguments as of `grouped.mix_together`.

    Nodes and inputs are [..., C, H, W, B], see `layout`.
    """
    return _mix(params, nodes, inputs, probs, sources, axis_name)[0]


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Wanted:
    """Says which gradients are asked for: a step that updates one group leaves the other's out."""

    params: bool
    probs: bool


def _forward(params, nodes, inputs, probs, sources, axis_name):
    perturbed = jax.tree.map(lambda leaf: leaf.perturbed, (params, probs))
    wanted = _Wanted(*(any(jax.tree.leaves(tree)) for tree in perturbed))
    values = jax.tree.map(lambda leaf: leaf.value, (params, nodes, inputs, probs))
    params, nodes, inputs, probs = values
    nodes, saved = _mix(params, nodes, inputs, probs, sources, axis_name)
    return nodes, (params, nodes, inputs, probs, saved, wanted)


@functools.partial(jax.jit, static_argnums=(4, 5))  # traces cells of one shape once
def _mix(params, nodes, inputs, probs, sources, axis_name):
    """Computes the nodes, and the statistics of what the edges' 1x1 convolutions read."""
    stride = 1 if inputs is None else 2
    position = _positions(sources)
    operation_probs = partial.probs_of(probs)

    def from_source(source, carry):
        x, rest = _read(carry[0], partial.source(carry[0], inputs, source))
        relu_x = jax.nn.relu(x)
        center = IMAGES_LAST.mean(relu_x, axis_name)
        features = supernet_edge.weightless_operations(x, stride, axis_name)

        def along_edge(target, edge_params, carry):
            nodes, saved = carry
            number, total = jnp.asarray(_EDGE)[source, target], partial.mixed_part(nodes)
            p = operation_probs[number]
            mixed, kept = supernet_edge.mixed_convolutions(
                edge_params, relu_x, center, p, stride, axis_name
            )
            mixed = mixed.astype(total.dtype) + take(total, target)
            for weight, feature in zip(supernet_edge.weightless(p, stride), features, strict=True):
                mixed += weight.astype(total.dtype) * feature
            total = put(total, mixed, target)
            if isinstance(nodes, Nodes):
                passed = partial.add_passed(nodes, rest, probs.betas[number], target)
                nodes = Nodes(total, passed)
            else:
                nodes = total
            return nodes, saved.put(position[source, target], kept)

        return _over_targets(source, along_edge, packed, position, carry)

    packed = PackedTrees.pack(params)
    saved = _room(packed, nodes, inputs, stride, axis_name)
    return lax.fori_loop(sources.start, sources.stop, from_source, (nodes, saved))


@functools.partial(jax.jit, static_argnums=(0, 1))  # likewise
def _backward(sources, axis_name, residuals, g_nodes):
    """Runs the edges in the opposite order; `g_nodes[k]` is complete before an edge into k is undone."""
    params, nodes, inputs, probs, saved, wanted = residuals
    stride = 1 if inputs is None else 2
    position = _positions(sources)
    free = supernet_edge.weightless_numbers(stride)
    operation_probs = partial.probs_of(probs)
    packed = PackedTrees.pack(params)

    def from_source(number, carry):
        source = sources.stop - 1 - number
        g_params, g_nodes, g_inputs, g_probs = carry
        (x, rest), read_pull = jax.vjp(
            functools.partial(_read, nodes), partial.source(nodes, inputs, source)
        )
        relu_x = jax.nn.relu(x)
        features, features_pull = jax.vjp(
            lambda x: supernet_edge.weightless_operations(x, stride, axis_name), x
        )

        def along_edge(target, edge_params, carry):
            g_relu_x, g_params, g_probs = carry
            edge, number = position[source, target], jnp.asarray(_EDGE)[source, target]
            g = take(partial.mixed_part(g_nodes), target)
            g_edge, g_p, g_x = _edge_gradient(
                edge_params,
                saved.take(edge),
                relu_x,
                operation_probs[number],
                g,
                stride,
                axis_name,
                with_params=wanted.params,
            )
            if wanted.params:
                g_params = g_params.put(edge, g_edge)
            if wanted.probs:
                for o, feature in zip(free, features, strict=True):
                    g_p = g_p.at[o].add((g * feature).sum(dtype=jnp.float32))
                g_probs = _add_gradient(g_probs, g_p, g_nodes, rest, number, target)
            return g_relu_x + g_x, g_params, g_probs

        carry = jnp.zeros_like(relu_x), g_params, g_probs
        carry = _over_targets(source, along_edge, packed, position, carry)
        g_relu_x, g_params, g_probs = carry

        # The operations without weights: node_k += sum_o p[k, o] features[o], for all k at once.
        leaving = jnp.asarray(_EDGE)[source]  # [6], -1 where there is no edge
        weights = operation_probs[leaving][:, free]
        weights = jnp.where(leaving[:, None] >= 0, weights, 0).astype(x.dtype)
        g_mixed = partial.mixed_part(g_nodes)
        g_features = weights.T @ g_mixed.reshape(len(g_mixed), -1)
        g_features = g_features.reshape(features.shape)
        g_x = jnp.where(x > 0, g_relu_x, 0) + features_pull(g_features)[0]
        g_rest = None
        if isinstance(g_nodes, Nodes):  # what passes: node_k += beta_k rest
            betas = jnp.where(leaving >= 0, probs.betas[leaving], 0).astype(x.dtype)
            g_rest = jnp.tensordot(betas, g_nodes.passed, 1)
        (g_source,) = read_pull((g_x, g_rest))
        if inputs is None:
            added = jax.tree.map(jnp.add, take(g_nodes, source), g_source)
            g_nodes = put(g_nodes, added, source)
        else:
            g_inputs = put(g_inputs, g_source, source)
        return g_params, g_nodes, g_inputs, g_probs

    start = (
        packed.zeros() if wanted.params else None,
        g_nodes,
        None if inputs is None else jnp.zeros_like(inputs),
        jax.tree.map(jnp.zeros_like, probs) if wanted.probs else None,
    )
    g_params, *others = lax.fori_loop(0, len(sources), from_source, start)
    return g_params.stacked() if wanted.params else None, *others


mix_one_by_one.defvjp(_forward, _backward, symbolic_zeros=True)


@functools.partial(jax.jit, static_argnames=("stride", "axis_name", "with_params"))
def _edge_gradient(params, statistics, relu_x, p, g, stride, axis_name, *, with_params):
    """Differentiates `edge.mixed_convolutions`: gradients of params, p and relu_x, from `g` [C, H, W, B].

    Each of its terms is a chain x -> h = depthwise(x) -> p_o BN(h W), twice in a row if separable. The forward
    pass left the statistics of every h and nothing else, so each h is computed again from x. Then the chain is
    undone from its end: `undo` leads from the gradient of p_o BN(h W) to those of h, W and p_o, and `depthwise`
    from that of h to those of x and the kernel. All chains begin at relu_x, where their gradients add up.

    Without `with_params` the gradients of the depthwise kernels, the costly ones, are left out.
    """
    g_params, g_p, g_relu_x = {}, jnp.zeros_like(p), 0.0
    shape, channels = g.shape, IMAGES_LAST.channels(g)
    g = IMAGES_LAST.pixels(g)  # as the 1x1 convolutions see them
    g_sum = IMAGES_LAST.sum(g)  # the gradient of every chain's constant b: summed once for all
    undo = functools.partial(_folded_gradient, axis_name=axis_name)
    centered = functools.partial(supernet_edge.centered_depthwise, layout=IMAGES_LAST)

    def depthwise(x, kernel, g_h, stride, dilation):
        g_h = g_h.reshape(shape)
        g_x = depthwise_input_gradient_of_images_last(kernel, g_h, x.shape[1:3], stride, dilation)
        if not with_params:
            return g_x, None
        return g_x, depthwise_kernel_gradient_of_images_last(x, g_h, len(kernel), stride, dilation)

    for name in SEPARABLE:
        # Forward: relu_x -> h -> z = ReLU(BN(h W_1)) -> h_z -> p_o BN(h_z W_2).
        first, second = params[name]["first"], params[name]["second"]
        number = OPERATIONS.index(name)
        center, *h_moments = statistics[f"{name}/first"]
        h = centered(relu_x, center, first["depthwise"], stride, 1)
        z = jax.nn.relu(IMAGES_LAST.affine(h, *fold(first["pointwise"], 1.0, *h_moments)))
        z_center, *z_moments = statistics[name]
        h_z = centered(z.reshape(shape), z_center, second["depthwise"], 1, 1)

        # Backward through the second half, from g to the gradient of z ...
        g_h, g_pointwise, g_o = undo(h_z, z_moments, second["pointwise"], p[number], g, g_sum)
        g_p = g_p.at[number].add(g_o)
        g_z, g_depthwise = depthwise(z.reshape(shape), second["depthwise"], g_h, 1, 1)
        g_second = {"depthwise": g_depthwise, "pointwise": g_pointwise}
        g_z = IMAGES_LAST.pixels_where(z > 0, g_z)  # through its ReLU
        # ... and through the first half, which has the weight 1 and so no p to differentiate.
        g_z_sum = IMAGES_LAST.sum(g_z)
        g_h, g_pointwise, _ = undo(h, h_moments, first["pointwise"], 1.0, g_z, g_z_sum)
        g_x, g_depthwise = depthwise(relu_x, first["depthwise"], g_h, stride, 1)
        g_relu_x += g_x
        g_first = {"depthwise": g_depthwise, "pointwise": g_pointwise}
        g_params[name] = {"first": g_first, "second": g_second}
    for name in DILATED:
        # relu_x -> h -> p_o BN(h W).
        number, weights = OPERATIONS.index(name), params[name]
        center, *h_moments = statistics[name]
        h = centered(relu_x, center, weights["depthwise"], stride, 2)
        g_h, g_pointwise, g_o = undo(h, h_moments, weights["pointwise"], p[number], g, g_sum)
        g_p = g_p.at[number].add(g_o)
        g_x, g_depthwise = depthwise(relu_x, weights["depthwise"], g_h, stride, 2)
        g_relu_x += g_x
        g_params[name] = {"depthwise": g_depthwise, "pointwise": g_pointwise}
    if stride == 2:
        # FactorizedReduce: its halves fill one half of the output's channels each, from every other pixel.
        number = OPERATIONS.index(supernet_edge.SKIP)
        center = statistics[f"{supernet_edge.SKIP}/0"][0]
        g_halves, g_weights = [], []
        for half, h in enumerate(supernet_edge.centered_halves(relu_x, center)):
            out = slice(half * channels // 2, (half + 1) * channels // 2)
            _, *h_moments = statistics[f"{supernet_edge.SKIP}/{half}"]
            weights = params[supernet_edge.SKIP][half]
            g_h, g_w, g_o = undo(h, h_moments, weights, p[number], g[out], g_sum[out])
            g_p = g_p.at[number].add(g_o)
            g_halves.append(g_h.reshape(shape))
            g_weights.append(g_w)
        # Back to the pixels that each half has read; those in between get nothing.
        g_relu_x += jax.vjp(supernet_edge.reduced_positions, relu_x)[1](tuple(g_halves))[0]
        g_params[supernet_edge.SKIP] = jnp.stack(g_weights)
    return g_params, g_p, g_relu_x


def _folded_gradient(h, h_moments, weights, p, g, g_sum, axis_name):
    """Differentiates `affine(h, *fold(weights, p, *moments(h)))`: gradients of pixels h, weights and p.

    Only two products over pixels come from `g` [N, C']; the way through the statistics is one more, with
    a [C, C] matrix, and everything else happens on matrices of that size.
    """
    (a, _), fold_pull = jax.vjp(fold, weights, p, *h_moments)
    # y = h A + b: dA = h^T g, db = sum of g over pixels; `fold` leads on to W, p and the moments of h.
    g_a = IMAGES_LAST.products(h, g)
    g_weights, g_p, g_mean, g_second = fold_pull((g_a, g_sum))
    g_mean, g_second = norm.pmean((g_mean, g_second), axis_name)
    # h counts three times: in y, in E[h] = sum h / N, and in E[h h^T] = sum h h^T / N, whose gradient is symmetric.
    through_second = 2 * g_second / IMAGES_LAST.count(h)
    g_h = IMAGES_LAST.times(g, a.T) + IMAGES_LAST.times(h, through_second)
    return IMAGES_LAST.plus(g_h, g_mean / IMAGES_LAST.count(h)), g_weights, g_p


def _layout(nodes):
    """Returns how a cell's arrays lie: of a partially connected one too few channels are mixed to be last."""
    return IMAGES_LAST


# Number of edge (i, k) in EDGES; -1: no such edge.
_EDGE = np.full((NUM_NODES, NUM_NODES), -1)
for _number, _edge in enumerate(EDGES):
    _EDGE[_edge] = _number


def _positions(sources):
    """Tabulates the position of edge (i, k) in the stacked parameters of the edges leaving `sources`: [6, 6]."""
    table = np.full((NUM_NODES, NUM_NODES), -1)
    for position, edge in enumerate(supernet_edge.edges_from(sources)):
        table[edge] = position
    return jnp.asarray(table)


def _over_targets(source, along_edge, packed, position, carry):
    """Runs `along_edge(target, edge_params, carry)` for all edges that leave `source`.

    An edge's parameters, a row of the packed ones, are carried from the iteration before. That makes them an
    array of their own: XLA would fuse their dynamic slice into every convolution, where it keeps LLVM from
    vectorizing the taps.
    """

    def body(target, carry):
        row, carry = carry
        carry = along_edge(target, packed.unpack(row), carry)
        return take(packed.matrix, position[source, jnp.minimum(target + 1, NUM_NODES - 1)]), carry

    first = jnp.maximum(source + 1, NUM_INPUTS)
    start = take(packed.matrix, position[source, first]), carry
    return lax.fori_loop(first, NUM_NODES, body, start)[1]


def _read(nodes, x):
    """Returns what the edges that leave a source x mix of it, and what passes them: None in a whole cell."""
    if isinstance(nodes, Nodes):
        return partial.read(x, nodes.mixed.shape[1], IMAGES_LAST)
    return x, None


def _add_gradient(g_probs, g_p, g_nodes, rest, number, target):
    """Adds an edge's gradient to those of all probabilities, or of the factors of a partially connected cell."""
    if not isinstance(g_probs, Factors):
        return g_probs.at[number].add(g_p)
    g_beta = (take(g_nodes.passed, target) * rest).sum(dtype=jnp.float32)
    return Factors(g_probs.probs.at[number].add(g_p), g_probs.betas.at[number].add(g_beta))


def _room(packed, nodes, inputs, stride, axis_name):
    """Makes room for the statistics that `edge.mixed_convolutions` gives for each edge."""

    def kept(params, x, center, p):
        return supernet_edge.mixed_convolutions(params, x, center, p, stride, axis_name)[1]

    x, _ = jax.eval_shape(lambda: _read(nodes, partial.source(nodes, inputs, 0)))
    one = jax.eval_shape(
        kept, packed.take(0), x, jnp.zeros(IMAGES_LAST.channels(x)), jnp.zeros(len(OPERATIONS))
    )
    return PackedTrees.empty(len(packed.matrix), one)
