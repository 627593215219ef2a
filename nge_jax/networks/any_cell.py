"""A derived cell whose operations and predecessors are arguments: one compiled program computes and trains any cell.

The result equals the result of `cell.FixedCell` with the same weights, up to rounding. A loop goes over the kept edges,
and `lax.switch` picks the operation of each edge, so that only the cell's operations are computed. The derivative of
the loop is by hand. The automatic derivative would keep the arrays of all branches for every edge. Here an edge
computes its operation again from the finished nodes.

`weights_of_any_cell` converts the weights to the derived network's and back.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nge_jax.errors import GenotypeError
from nge_jax.networks.cell import make_inputs
from nge_jax.networks.operation_rows import Operations, make_operations
from nge_jax.space import architecture
from nge_jax.space.genotype import Genotype
from nge_jax.space.spaces import DARTS, Space
from nge_jax.space.stack import CellSpec

EDGES = "edges"  # the rows of a cell's edges, in both collections


class GenotypeArrays(NamedTuple):
    """A genotype in numbers, which a program takes as an argument.

    Attributes:
        normal, reduce: int32 [8, 2], (number of the operation in the space, predecessor). Row j belongs to the inner
            node 2 + j // 2.
    """

    normal: Any
    reduce: Any

    def cell(self, cell_type: str) -> tuple[Any, tuple[int, ...]]:
        """Returns the pairs [8, 2] and the concatenated nodes of one cell type, as `Genotype.cell` does."""
        pairs = {"normal": self.normal, "reduction": self.reduce}[cell_type]
        first = DARTS.num_inputs
        return pairs, (*range(first, first + len(pairs) // 2),)


def as_arrays(genotype: Genotype, space: Space = DARTS) -> GenotypeArrays:
    """Makes the arrays of a genotype of a space, the paper's or another.

    Raises:
        GenotypeError: the genotype has other operations or nodes, or concatenates the nodes in another order.
    """
    architecture.from_genotype(genotype, space)  # refuses other spaces
    for field, concat in (("normal", genotype.normal_concat), ("reduce", genotype.reduce_concat)):
        if concat != (*space.inner_nodes,):
            raise GenotypeError(
                f'genotype field "{field}_concat": found {concat}, expected the inner nodes in ascending order'
            )
    numbers = (
        [[space.operations.index(name), source] for name, source in pairs]
        for pairs in (genotype.normal, genotype.reduce)
    )
    return GenotypeArrays(*(np.array(pairs, np.int32) for pairs in numbers))


class AnyCell(nn.Module):
    """Computes the cell of `space` that `genotype` says in numbers; the other arguments are those of `FixedCell`."""

    genotype: GenotypeArrays
    spec: CellSpec
    norm: Callable
    dtype: Any = None
    space: Space = DARTS

    @nn.compact
    def __call__(
        self, s0: jax.Array, s1: jax.Array, path_scales: jax.Array | None = None
    ) -> jax.Array:
        pairs, concat = self.genotype.cell("reduction" if self.spec.reduction else "normal")
        pairs = jnp.asarray(pairs)
        inputs = jnp.stack(make_inputs(self.spec, self.norm, self.dtype, s0, s1))
        operations = make_operations(self.spec, self.norm, self.dtype, self.space)
        rows = self.param(EDGES, lambda key: operations.init("params", key, pairs))
        first = jax.random.key(0)  # statistics begin alike for every key
        stats = self.variable(
            "batch_stats", EDGES, lambda: operations.init("batch_stats", first, pairs)
        )
        scales = None
        if path_scales is not None:
            spared = jnp.array([operation.is_identity for operation in operations.every])
            scales = jnp.where(spared[operations.numbers(pairs)][:, None], 1.0, path_scales)
        mixed: Any = mix_edges(operations, rows, stats.value, inputs, pairs, scales)
        nodes, new_stats = mixed
        if not self.is_initializing() and self.is_mutable_collection("batch_stats"):
            stats.value = new_stats
        return jnp.concatenate([nodes[node - DARTS.num_inputs] for node in concat], axis=-1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def mix_edges(
    operations: Operations,
    rows: jax.Array,
    stats: jax.Array,
    inputs: jax.Array,
    pairs: jax.Array,
    scales: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """Computes the inner nodes of a cell, and the statistics after this batch.

    Args:
        operations: the operations of the cell's edges.
        rows: the weights [8, size].
        stats: the statistics [8, size].
        inputs: the preprocessed inputs of the cell, [2, N, H, W, C].
        pairs: int32 [8, 2], see `GenotypeArrays`.
        scales: the factors of the edges' outputs for each sample, [8, N]; None: 1.

    Returns:
        The inner nodes [4, N, H', W', C], and the statistics [8, size].
    """
    nodes, moved = _all_nodes(operations, rows, stats, inputs, pairs, scales)
    return nodes[operations.space.num_inputs :], moved


def _all_nodes(operations, rows, stats, inputs, pairs, scales):
    """Computes [6, N, H', W', C]; in a reduction cell the first two nodes, which no edge reads there, are zeros."""
    branches = [
        functools.partial(_branch, operations, number) for number in range(len(operations.every))
    ]

    def along_edge(j, carry):
        nodes, moved = carry
        number, sources = _edge(operations, inputs, nodes, pairs[j])
        y, new = lax.switch(number, branches, rows[j], stats[j], *sources)
        y = y if scales is None else _scaled(y, scales[j])
        target = operations.space.num_inputs + j // 2
        return put(nodes, take(nodes, target) + y, target), put(moved, new, j)

    carry = _first_nodes(operations, inputs), jnp.zeros_like(stats)
    return lax.fori_loop(0, len(pairs), along_edge, carry)


def _forward(operations, rows, stats, inputs, pairs, scales):
    nodes, moved = _all_nodes(operations, rows, stats, inputs, pairs, scales)
    inner = nodes[operations.space.num_inputs :]
    return (inner, moved), (rows, stats, inputs, pairs, scales, nodes)


def _backward(operations, residuals, gradients):
    """Undoes the edges in the opposite order; each edge computes its operation again from the finished nodes."""
    rows, stats, inputs, pairs, scales, nodes = residuals
    num_inputs = operations.space.num_inputs
    pulls = [
        functools.partial(_pull, operations, number) for number in range(len(operations.every))
    ]

    def along_edge(n, carry):
        g_rows, g_nodes, g_inputs = carry
        j = len(pairs) - 1 - n
        number, sources = _edge(operations, inputs, nodes, pairs[j])
        g = take(g_nodes, num_inputs + j // 2)
        g = g if scales is None else _scaled(g, scales[j])
        g_row, *g_sources = lax.switch(number, pulls, rows[j], stats[j], *sources, g)
        source = pairs[j, 1]
        g_nodes = _add(g_nodes, g_sources[-1], source)
        if operations.reduction:
            g_inputs = _add(g_inputs, g_sources[0], _input(source))
        return put(g_rows, g_row, j), g_nodes, g_inputs

    g_nodes = jnp.zeros_like(nodes).at[num_inputs:].set(gradients[0])
    carry = jnp.zeros_like(rows), g_nodes, jnp.zeros_like(inputs) if operations.reduction else None
    g_rows, g_nodes, g_inputs = lax.fori_loop(0, len(pairs), along_edge, carry)
    if not operations.reduction:
        g_inputs = g_nodes[:num_inputs]
    # Statistics move by other means, pairs are integers, and drop-path's scales are drawn.
    return g_rows, None, g_inputs, None, None


mix_edges.defvjp(_forward, _backward)


def _edge(operations, inputs, nodes, pair):
    """Returns the number of an edge's operation, and the arrays that it may read: an input with stride 2, a node."""
    source = pair[1]
    node = take(nodes, source)
    sources = (take(inputs, _input(source)), node) if operations.reduction else (node,)
    return operations.numbers(pair), sources


def _input(source):
    """Returns an input's number; for an inner node some input's, which its edge does not read."""
    return jnp.minimum(source, DARTS.num_inputs - 1)


def _branch(operations, number, row, stats, *sources):
    """Applies the operation of this number to the array that it reads."""
    strided = number < len(operations.every) - len(operations.space.operations)
    return operations.apply(number, row, stats, sources[0 if strided else -1])


def _pull(operations, number, row, stats, *sources_and_g):
    """Returns the gradients of an edge's weights and of the arrays that the edge may read."""
    *sources, g = sources_and_g

    def output(row, *sources):
        return _branch(operations, number, row, stats, *sources)[0]

    _, undo = jax.vjp(output, row, *sources)
    return undo(g)


def _first_nodes(operations, inputs):
    """Makes room for the nodes: behind the inputs, or as large as a reduction leaves them."""
    if operations.reduction:
        first = operations.every[0]
        shape = jax.eval_shape(first.apply, first.shapes, inputs[0])[0].shape
        return jnp.zeros((operations.space.num_nodes, *shape), inputs.dtype)
    room = jnp.zeros((len(operations.space.inner_nodes), *inputs.shape[1:]), inputs.dtype)
    return jnp.concatenate([inputs, room])


def _scaled(y, scales):
    return y * scales[:, None, None, None].astype(y.dtype)


def _add(arrays, more, index):
    return put(arrays, take(arrays, index) + more, index)


def take(arrays: jax.Array, index: jax.Array) -> jax.Array:
    """Takes row `index`."""
    return lax.dynamic_index_in_dim(arrays, index, keepdims=False)


def put(arrays: jax.Array, row: jax.Array, index: jax.Array) -> jax.Array:
    """Returns the arrays with another row `index`."""
    return lax.dynamic_update_index_in_dim(arrays, row.astype(arrays.dtype), index, 0)
