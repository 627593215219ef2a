"""The operations of a cell of `any_cell`: their variables are rows, which are equally long for all operations.

A row is as long as the largest operation needs. An operation reads the beginning of its edge's row, and the rest stays
zero. A loop over edges thus carries one array, and an edge has no weights of operations that it lacks.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nge_jax.networks import layers
from nge_jax.space.spaces import DARTS, Space
from nge_jax.space.stack import CellSpec

Tree = Any
# The variables by collection, as `Network.init` returns them.
Variables = dict[str, Any]
COLLECTIONS = ("params", "batch_stats")


class Operation(NamedTuple):
    """An operation of an edge as pure functions.

    Attributes:
        shapes: the shapes of its variables, {collection: tree}.
        init: `key -> variables`.
        apply: `(variables, x) -> (y, batch_stats)`.
        is_identity: whether drop-path spares the operation.
    """

    shapes: Variables
    init: Callable[[jax.Array], Any]
    apply: Callable[[Variables, jax.Array], tuple[jax.Array, Tree]]
    is_identity: bool


class Operations(NamedTuple):
    """The operations of a cell's edges, in the order of the space; in a reduction cell first those with stride 2.

    Attributes:
        every: the operations.
        reduction: whether edges from the cell's inputs have stride 2.
        space: the space of the cell.
    """

    every: tuple[Operation, ...]
    reduction: bool
    space: Space

    def numbers(self, pairs: jax.Array) -> jax.Array:
        """Looks up the places in `every` of the operations of pairs [..., 2]."""
        operation, source = pairs[..., 0], pairs[..., 1]
        if not self.reduction:
            return operation
        return operation + len(self.space.operations) * (source >= self.space.num_inputs)

    def size(self, collection: str) -> int:
        """Counts the elements of a row, which the largest operation needs."""
        return max(count(operation.shapes[collection]) for operation in self.every)

    def init(self, collection: str, key: jax.Array, pairs: jax.Array) -> jax.Array:
        """Draws the rows [8, size] of the operations that `pairs` [8, 2] name."""
        size = self.size(collection)
        draws = [
            lambda key, o=operation: pack(o.init(key)[collection], o.shapes[collection], size)
            for operation in self.every
        ]
        keys = jax.random.split(key, len(pairs))
        return lax.map(
            lambda each: lax.switch(each[0], draws, each[1]), (self.numbers(pairs), keys)
        )

    def apply(
        self, number: int, row: jax.Array, stats: jax.Array, x: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Computes an operation from an edge's rows: (y, new row of statistics)."""
        operation = self.every[number]
        rows = zip(COLLECTIONS, (row, stats), strict=True)
        variables = {name: unpack(values, operation.shapes[name]) for name, values in rows}
        y, moved = operation.apply(variables, x)
        return y, pack(moved, operation.shapes["batch_stats"], stats.shape[-1])


def make_operations(
    spec: CellSpec, norm: Callable, dtype: Any = None, space: Space = DARTS
) -> Operations:
    """Makes the operations of a cell's place in the network; `norm` and `dtype` are those of `FixedCell`."""
    _, before, after = spec.spacing
    kinds = ((2, (before, after)),) * spec.reduction + ((1, (after, after)),)
    every = tuple(
        _make_operation(
            layers.builder(name)(spec.channels, stride, norm, dtype, None, spacing),
            spec.channels,
            is_identity=layers.is_identity(name, stride),
        )
        for stride, spacing in kinds
        for name in space.operations
    )
    return Operations(every, spec.reduction, space)


def _make_operation(built: Any, channels: int, *, is_identity: bool) -> Operation:
    """Makes an operation of what a builder in `layers.OPS` returns: a module, or a function without variables."""
    none = {name: {} for name in COLLECTIONS}
    if not isinstance(built, nn.Module):
        return Operation(none, lambda key: none, lambda _, x: (built(x), {}), is_identity)
    # A module without a parent keeps its variables to itself.
    module = built.clone(parent=None, name=None)
    example = jnp.zeros((1, 4, 4, channels))

    def apply(variables, x):
        y, moved = module.apply(variables, x, mutable=["batch_stats"])
        return y, moved.get("batch_stats", {})

    def init(key):
        return {**none, **module.init(key, example)}

    return Operation(jax.eval_shape(init, jax.random.key(0)), init, apply, is_identity)


def count(shapes: Tree) -> int:
    """Counts the elements of a tree of arrays or shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def pack(tree: Tree, shapes: Tree, size: int) -> jax.Array:
    """Joins a tree's arrays into rows [..., size]; all arrays may have more leading axes than in `shapes`."""
    leaves = jax.tree.leaves(tree)
    if not leaves:
        return jnp.zeros(size)
    more = leaves[0].ndim - jax.tree.leaves(shapes)[0].ndim
    row = jnp.concatenate([leaf.reshape(*leaf.shape[:more], -1) for leaf in leaves], axis=-1)
    return jnp.pad(row, [(0, 0)] * more + [(0, size - row.shape[-1])])


def unpack(row: jax.Array, shapes: Tree) -> Tree:
    """Makes the tree of arrays from rows [..., size]."""
    leaves, structure = jax.tree.flatten(shapes)
    ends = np.cumsum([0, *(leaf.size for leaf in leaves)])
    return structure.unflatten(
        row[..., begin:end].reshape(*row.shape[:-1], *leaf.shape)
        for leaf, begin, end in zip(leaves, ends[:-1], ends[1:], strict=True)
    )
