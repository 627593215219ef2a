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

from nge_jax.space.genotype import EDGES, NUM_INPUTS, NUM_NODES, OPERATIONS
from nge_jax.supernet import partial
from nge_jax.supernet.edge import edges_from
from nge_jax.supernet.layouts import images_last
from nge_jax.supernet.partial import Factors, Nodes
from nge_jax.supernet.schedules import looped_edge
from nge_jax.supernet.schedules.looped_gradient import edge_gradient
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
    """Adds the contributions of the edges from `sources` to every node.

    The arguments are those of `grouped.mix_together`, with nodes and inputs [..., C, H, W, B], see `layouts`.
    """
    return _mix(params, nodes, inputs, probs, sources, axis_name)[0]


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


def _forward(params, nodes, inputs, probs, sources, axis_name):
    perturbed = jax.tree.map(lambda leaf: leaf.perturbed, (params, probs))
    wanted = _Wanted(*(any(jax.tree.leaves(tree)) for tree in perturbed))
    values = jax.tree.map(lambda leaf: leaf.value, (params, nodes, inputs, probs))
    params, nodes, inputs, probs = values
    nodes, statistics = _mix(params, nodes, inputs, probs, sources, axis_name)
    return nodes, _Residuals(params, nodes, inputs, probs, statistics, wanted)


@functools.partial(jax.jit, static_argnums=(4, 5))  # traces cells of one shape once
def _mix(params, nodes, inputs, probs, sources, axis_name):
    """Computes the nodes, and the statistics of the input of every 1x1 convolution."""
    stride = 1 if inputs is None else 2
    positions = _tabulate_positions(sources)
    operation_probs = partial.operation_probs(probs)

    def from_source(source, carry):
        x, rest = _read(carry[0], partial.source(carry[0], inputs, source))
        relu_x = jax.nn.relu(x)
        center = images_last.mean(relu_x, axis_name)
        features = looped_edge.shared_operations(x, stride, axis_name)

        def along_edge(target, edge_params, carry):
            nodes, saved = carry
            number, total = jnp.asarray(_NUMBERS)[source, target], partial.mixed_part(nodes)
            p = operation_probs[number]
            mixed, statistics = looped_edge.mixed_convolutions(
                edge_params, relu_x, center, p, stride, axis_name
            )
            mixed = mixed.astype(total.dtype) + take(total, target)
            for weight, feature in zip(looped_edge.shared_probs(p, stride), features, strict=True):
                mixed += weight.astype(total.dtype) * feature
            total = put(total, mixed, target)
            if isinstance(nodes, Nodes):
                # The factors of the operations contain beta already, the channels that pass need it here.
                passed = partial.add_passed(nodes, rest, probs.betas[number], target)
                nodes = Nodes(total, passed)
            else:
                nodes = total
            return nodes, saved.put(positions[source, target], statistics)

        return _loop_over_targets(source, along_edge, packed, positions, carry)

    packed = PackedTrees.pack(params)
    saved = _empty_statistics(packed, nodes, inputs, stride, axis_name)
    return lax.fori_loop(sources.start, sources.stop, from_source, (nodes, saved))


@functools.partial(jax.jit, static_argnums=(0, 1))  # traces cells of one shape once
def _backward(sources, axis_name, residuals, g_nodes):
    """Undoes the edges in the opposite order: `g_nodes[k]` is complete before an edge into node k is undone."""
    params, nodes, inputs, probs, _, wanted = residuals
    stride = 1 if inputs is None else 2
    positions = _tabulate_positions(sources)
    shared = looped_edge.shared_numbers(stride)
    packed = PackedTrees.pack(params)

    def from_source(number, carry):
        source = sources.stop - 1 - number
        g_params, g_nodes, g_inputs, g_probs = carry
        read = functools.partial(_read, nodes)
        (x, rest), read_pull = jax.vjp(read, partial.source(nodes, inputs, source))
        relu_x = jax.nn.relu(x)
        features, features_pull = jax.vjp(
            lambda x: looped_edge.shared_operations(x, stride, axis_name), x
        )
        along_edge = functools.partial(
            _undo_edge, residuals, positions, axis_name, g_nodes, (source, relu_x, features, rest)
        )
        carry = jnp.zeros_like(relu_x), g_params, g_probs
        carry = _loop_over_targets(source, along_edge, packed, positions, carry)
        g_relu_x, g_params, g_probs = carry
        leaving = jnp.asarray(_NUMBERS)[source]  # [6], -1 where there is no edge
        p = partial.operation_probs(probs)[leaving][:, shared]
        g_features = _shared_gradient(p, leaving, g_nodes, features)
        g_x = jnp.where(x > 0, g_relu_x, 0) + features_pull(g_features)[0]
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


def _undo_edge(residuals, positions, axis_name, g_nodes, read, target, edge_params, carry):
    """Adds the gradients of one edge to `carry`: the gradients of ReLU(source), parameters and probabilities.

    `read` holds the source's number, its ReLU, the shared operations of it and the channels that pass.
    """
    source, relu_x, features, rest = read
    wanted, stride = residuals.wanted, 1 if residuals.inputs is None else 2
    g_relu_x, g_params, g_probs = carry
    edge, number = positions[source, target], jnp.asarray(_NUMBERS)[source, target]
    g = take(partial.mixed_part(g_nodes), target)
    g_edge, g_p, g_x = edge_gradient(
        edge_params,
        residuals.statistics.take(edge),
        relu_x,
        partial.operation_probs(residuals.probs)[number],
        g,
        stride,
        axis_name,
        with_params=wanted.params,
    )
    if wanted.params:
        g_params = g_params.put(edge, g_edge)
    if wanted.probs:
        for o, feature in zip(looped_edge.shared_numbers(stride), features, strict=True):
            g_p = g_p.at[o].add((g * feature).sum(dtype=jnp.float32))
        g_probs = _add_gradient(g_probs, g_p, g_nodes, rest, number, target)
    return g_relu_x + g_x, g_params, g_probs


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


# The number of edge (i, k) in EDGES, -1 where there is no edge.
_NUMBERS = np.full((NUM_NODES, NUM_NODES), -1)
for _number, _edge in enumerate(EDGES):
    _NUMBERS[_edge] = _number


def _tabulate_positions(sources):
    """Tabulates the position of edge (i, k) in the stacked parameters of the edges from `sources`: [6, 6]."""
    table = np.full((NUM_NODES, NUM_NODES), -1)
    for position, edge in enumerate(edges_from(sources)):
        table[edge] = position
    return jnp.asarray(table)


def _loop_over_targets(source, along_edge, packed, positions, carry):
    """Runs `along_edge(target, edge_params, carry)` for all edges that leave `source`.

    Each iteration slices the parameters of the next edge, a row of `packed`, and the loop carries them. This makes them
    an array in memory. Otherwise XLA would fuse their dynamic slice into every convolution, and LLVM would not
    vectorize the taps.
    """

    def body(target, carry):
        row, carry = carry
        carry = along_edge(target, packed.unpack(row), carry)
        return take(packed.matrix, positions[source, jnp.minimum(target + 1, NUM_NODES - 1)]), carry

    first = jnp.maximum(source + 1, NUM_INPUTS)
    start = take(packed.matrix, positions[source, first]), carry
    return lax.fori_loop(first, NUM_NODES, body, start)[1]


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


def _empty_statistics(packed, nodes, inputs, stride, axis_name):
    """Makes room for the statistics that `looped_edge.mixed_convolutions` returns for each edge."""

    def statistics(params, x, center, p):
        return looped_edge.mixed_convolutions(params, x, center, p, stride, axis_name)[1]

    x, _ = jax.eval_shape(lambda: _read(nodes, partial.source(nodes, inputs, 0)))
    one = jax.eval_shape(
        statistics,
        packed.take(0),
        x,
        jnp.zeros(images_last.count_channels(x)),
        jnp.zeros(len(OPERATIONS)),
    )
    return PackedTrees.empty(len(packed.matrix), one)
