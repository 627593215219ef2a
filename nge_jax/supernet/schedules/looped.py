"""The CPU's schedule of a mixed cell: one edge at a time, with the derivative of the whole loop by hand.

The loop computes the sums of `reference.mix_as_written`. On XLA's CPU backend it saves

* compilation: the 14 edges of a cell are one loop body forward and one backward, in place of 14 unrolled copies.
* time: XLA fuses across the edges of a cell and computes shared arrays once per consumer. A loop prevents that, and
  the arrays of one edge fit into the caches.
* memory: an edge leaves statistics behind and nothing else. The backward pass computes the convolutions again from
  the finished nodes, which is faster than writing them to memory and reading them.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nge_jax.space.spaces import DARTS, Space
from nge_jax.supernet import partial
from nge_jax.supernet.edge import edges_from, other_operations
from nge_jax.supernet.layouts import images_last
from nge_jax.supernet.partial import Factors, Nodes
from nge_jax.supernet.schedules import described, looped_edge
from nge_jax.supernet.schedules.looped_gradient import edge_gradient
from nge_jax.supernet.trees import PackedTrees, Params, put, take


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def mix_one_by_one(
    params: Params,
    nodes: jax.Array | Nodes,
    inputs: jax.Array | None,
    probs: jax.Array | Factors,
    sources: range,
    axis_name: str | None,
    space: Space = DARTS,
) -> jax.Array | Nodes:
    """Adds the contributions of the edges from `sources` to every node.

    The arguments are those of `grouped.mix_together`, with nodes and inputs [..., C, H, W, B], see `layouts`.
    """
    return _mix(params, nodes, inputs, probs, sources, axis_name, space)[0]


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _Wanted:
    """Says which gradients are needed: a step that updates one group of parameters skips the gradient of the other."""

    params: bool
    probs: bool


class _Residuals(NamedTuple):
    """Holds what the backward pass reads: the arguments, the finished nodes and the statistics of each edge."""

    params: Any
    nodes: Any
    inputs: Any
    probs: Any
    statistics: PackedTrees
    wanted: _Wanted


def _forward(params, nodes, inputs, probs, sources, axis_name, space):
    perturbed = jax.tree.map(lambda leaf: leaf.perturbed, (params, probs))
    wanted = _Wanted(*(any(jax.tree.leaves(tree)) for tree in perturbed))
    values = jax.tree.map(lambda leaf: leaf.value, (params, nodes, inputs, probs))
    params, nodes, inputs, probs = values
    nodes, statistics = _mix(params, nodes, inputs, probs, sources, axis_name, space)
    return nodes, _Residuals(params, nodes, inputs, probs, statistics, wanted)


@functools.partial(jax.jit, static_argnums=(4, 5, 6))  # traces cells of one shape once
def _mix(params, nodes, inputs, probs, sources, axis_name, space):
    """Computes the nodes, and the statistics of the input of every 1x1 convolution."""
    stride = 1 if inputs is None else 2
    positions = _tabulate_positions(sources, space)
    operation_probs = partial.operation_probs(probs)

    def from_source(source, carry):
        x, rest = _read(carry[0], partial.source(carry[0], inputs, source))
        relu_x = jax.nn.relu(x)
        center = images_last.mean(relu_x, axis_name)
        features = looped_edge.shared_operations(x, stride, axis_name, space)

        def along_edge(target, edge_params, carry):
            nodes, saved = carry
            number, total = _numbers(space)[source, target], partial.mixed_part(nodes)
            p = operation_probs[number]
            mixed, statistics = looped_edge.mixed_convolutions(
                edge_params, relu_x, center, p, stride, axis_name, space
            )
            mixed = mixed.astype(total.dtype) + take(total, target)
            weights = looped_edge.shared_probs(p, stride, space)
            for weight, feature in zip(weights, features, strict=True):
                mixed += weight.astype(total.dtype) * feature
            if other_operations(space):
                own = described.weights_of(edge_params, space)
                mixed += described.mixed(own, x, p, stride, axis_name, space, images_last)
            total = put(total, mixed, target)
            if isinstance(nodes, Nodes):
                # The factors of the operations contain beta already, the channels that pass need it here.
                passed = partial.add_passed(nodes, rest, probs.betas[number], target)
                nodes = Nodes(total, passed)
            else:
                nodes = total
            return nodes, saved.put(positions[source, target], statistics)

        return _loop_over_targets(source, along_edge, packed, positions, carry, space)

    packed = PackedTrees.pack(params)
    saved = _empty_statistics(packed, nodes, inputs, stride, axis_name, space)
    return lax.fori_loop(sources.start, sources.stop, from_source, (nodes, saved))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))  # traces cells of one shape once
def _backward(sources, axis_name, space, residuals, g_nodes):
    """Undoes the edges in the opposite order: `g_nodes[k]` is complete before an edge into node k is undone."""
    params, nodes, inputs, probs, _, wanted = residuals
    stride = 1 if inputs is None else 2
    positions = _tabulate_positions(sources, space)
    shared = looped_edge.shared_numbers(stride, space)
    packed = PackedTrees.pack(params)

    def from_source(number, carry):
        source = sources.stop - 1 - number
        g_params, g_nodes, g_inputs, g_probs = carry
        read_source = functools.partial(_read, nodes)
        (x, rest), read_pull = jax.vjp(read_source, partial.source(nodes, inputs, source))
        relu_x = jax.nn.relu(x)
        features, features_pull = jax.vjp(
            lambda x: looped_edge.shared_operations(x, stride, axis_name, space), x
        )
        read = x, relu_x, features, rest
        along_edge = functools.partial(
            _undo_edge, residuals, positions, axis_name, space, g_nodes, (source, *read)
        )
        more = (jnp.zeros_like(x),) * bool(other_operations(space))  # described operations read x
        carry = (jnp.zeros_like(relu_x), *more), g_params, g_probs
        carry = _loop_over_targets(source, along_edge, packed, positions, carry, space)
        (g_relu_x, *more), g_params, g_probs = carry
        leaving = _numbers(space)[source]  # [6], -1 where there is no edge
        p = partial.operation_probs(probs)[leaving][:, shared]
        g_features = _shared_gradient(p, leaving, g_nodes, features)
        g_x = sum(more, jnp.where(x > 0, g_relu_x, 0) + features_pull(g_features)[0])
        (g_source,) = read_pull((g_x, _passed_gradient(probs, leaving, g_nodes, x.dtype)))
        if inputs is None:
            # The source is a node, therefore the edges into it see this gradient too.
            added = jax.tree.map(jnp.add, take(g_nodes, source), g_source)
            g_nodes = put(g_nodes, added, source)
        else:
            g_inputs = put(g_inputs, g_source, source)
        return g_params, g_nodes, g_inputs, g_probs

    g_params = packed.zeros() if wanted.params else None
    g_inputs = None if inputs is None else jnp.zeros_like(inputs)
    g_probs = jax.tree.map(jnp.zeros_like, probs) if wanted.probs else None
    start = g_params, g_nodes, g_inputs, g_probs
    g_params, *others = lax.fori_loop(0, len(sources), from_source, start)
    return g_params.stacked() if wanted.params else None, *others


mix_one_by_one.defvjp(_forward, _backward, symbolic_zeros=True)


def _undo_edge(residuals, positions, axis_name, space, g_nodes, read, target, edge_params, carry):
    """Adds the gradients of one edge to `carry`: the gradients of the source, parameters and probabilities.

    The first are the gradient of ReLU(source) and, with described operations, one more of the source itself. `read`
    holds the source's number, the source, its ReLU, its shared operations and the channels that pass.
    """
    source, x, relu_x, features, rest = read
    wanted, stride = residuals.wanted, 1 if residuals.inputs is None else 2
    (g_relu_x, *more), g_params, g_probs = carry
    edge, number = positions[source, target], _numbers(space)[source, target]
    g, place = take(partial.mixed_part(g_nodes), target), (stride, axis_name, space)
    kept = residuals.statistics.take(edge)
    p = partial.operation_probs(residuals.probs)[number]
    g_edge, g_p, g_x = edge_gradient(
        edge_params, kept, relu_x, p, g, *place, with_params=wanted.params
    )
    if more:
        g_own, g_source, g_own_p = described.vjp(edge_params, x, p, g, *place, images_last)
        g_edge, g_p, more = g_edge | g_own, g_p + g_own_p, [more[0] + g_source]
    if wanted.params:
        g_params = g_params.put(edge, g_edge)
    if wanted.probs:
        for o, feature in zip(looped_edge.shared_numbers(stride, space), features, strict=True):
            g_p = g_p.at[o].add((g * feature).sum(dtype=jnp.float32))
        g_probs = _add_gradient(g_probs, g_p, g_nodes, rest, number, target)
    return (g_relu_x + g_x, *more), g_params, g_probs


def _shared_gradient(probs, leaving, g_nodes, features):
    """Differentiates node_k += sum over o of p[k, o] features[o], for all targets k at once.

    `probs` [6, F] are the probabilities of the shared operations on the edge to each target. `leaving` [6] is the
    number of that edge, -1 where there is none.
    """
    weights = jnp.where(leaving[:, None] >= 0, probs, 0).astype(features.dtype)
    g_mixed = partial.mixed_part(g_nodes)
    return (weights.T @ g_mixed.reshape(len(g_mixed), -1)).reshape(features.shape)


def _passed_gradient(factors, leaving, g_nodes, dtype):
    """Differentiates node_k += beta_k rest, for all targets k at once; None in a whole cell."""
    if not isinstance(g_nodes, Nodes):
        return None
    betas = jnp.where(leaving >= 0, factors.betas[leaving], 0).astype(dtype)
    return jnp.tensordot(betas, g_nodes.passed, 1)


def _numbers(space):
    """Tabulates the number of edge (i, k) in the space: [6, 6], -1 where there is no edge."""
    return jnp.asarray(_table_of_numbers(space))


@functools.cache  # one array is one constant of the program
def _table_of_numbers(space):
    return _tabulate(space.edges, space)


def _tabulate_positions(sources, space):
    """Tabulates the position of edge (i, k) in the stacked parameters of the edges from `sources`: [6, 6]."""
    return jnp.asarray(_tabulate(edges_from(sources, space), space))


def _tabulate(edges, space):
    table = np.full((space.num_nodes, space.num_nodes), -1)
    for number, edge in enumerate(edges):
        table[edge] = number
    return table


def _loop_over_targets(source, along_edge, packed, positions, carry, space):
    """Runs `along_edge(target, edge_params, carry)` for all edges that leave `source`.

    Each iteration slices the parameters of the next edge, a row of `packed`, and the loop carries them. This makes them
    an array in memory. Otherwise XLA would fuse their dynamic slice into every convolution, and LLVM would not
    vectorize the taps.
    """

    def body(target, carry):
        row, carry = carry
        carry = along_edge(target, packed.unpack(row), carry)
        return take(
            packed.matrix, positions[source, jnp.minimum(target + 1, space.num_nodes - 1)]
        ), carry

    first = jnp.maximum(source + 1, space.num_inputs)
    start = take(packed.matrix, positions[source, first]), carry
    return lax.fori_loop(first, space.num_nodes, body, start)[1]


def _read(nodes, x):
    """Returns the channels of a source x that its edges mix, and the channels that pass: None in a whole cell."""
    if isinstance(nodes, Nodes):
        return partial.read(x, nodes.mixed.shape[1], images_last)
    return x, None


def _add_gradient(g_probs, g_p, g_nodes, rest, number, target):
    """Adds an edge's gradient to the gradients of all probabilities, or of the factors in a partial cell."""
    if not isinstance(g_probs, Factors):
        return g_probs.at[number].add(g_p)
    g_beta = (take(g_nodes.passed, target) * rest).sum(dtype=jnp.float32)
    return Factors(g_probs.probs.at[number].add(g_p), g_probs.betas.at[number].add(g_beta))


def _empty_statistics(packed, nodes, inputs, stride, axis_name, space):
    """Makes room for the statistics that `looped_edge.mixed_convolutions` returns for each edge."""

    def statistics(params, x, center, p):
        return looped_edge.mixed_convolutions(params, x, center, p, stride, axis_name, space)[1]

    x, _ = jax.eval_shape(lambda: _read(nodes, partial.source(nodes, inputs, 0)))
    one = jax.eval_shape(
        statistics,
        packed.take(0),
        x,
        jnp.zeros(images_last.count_channels(x)),
        jnp.zeros(len(space.operations)),
    )
    return PackedTrees.empty(len(packed.matrix), one)
