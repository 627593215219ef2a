"""Trees of arrays, one tree for each edge: stacked along a leading axis, or packed as the rows of one matrix."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree

Tree = Any  # a tree of arrays
Params = dict[str, Any]  # the weights of a supernet or of a part: a tree of float32 arrays


def take(stacked: Tree, index: jax.Array) -> Tree:
    """Takes the tree at `index` from n trees that are stacked as arrays [n, ...]."""
    return jax.tree.map(lambda a: lax.dynamic_index_in_dim(a, index, keepdims=False), stacked)


def put(stacked: Tree, value: Tree, index: jax.Array) -> Tree:
    """Returns `stacked` with the tree `value` at `index`, in the data types of `stacked`."""
    return jax.tree.map(
        lambda a, v: lax.dynamic_update_index_in_dim(a, v.astype(a.dtype), index, 0), stacked, value
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def in_order(a: jax.Array, order: tuple[int, ...]) -> jax.Array:
    """Takes the rows of a in another order, with a derivative by hand: the automatic one is a sum over rows."""
    return a[np.array(order)]


in_order.defvjp(
    lambda a, order: (in_order(a, order), None), lambda order, _, g: (g[np.argsort(order)],)
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PackedTrees:
    """Holds n trees of equal shapes as the rows of one matrix: a loop carries one array instead of dozens.

    Attributes:
        matrix: [n, size], each row the elements of a tree whose arrays have one data type.
        unpack: makes the tree from a row.
    """

    matrix: jax.Array
    unpack: Callable[[jax.Array], Tree] = dataclasses.field(metadata={"static": True})

    @classmethod
    def pack(cls, stacked: Tree) -> Self:
        """Packs trees that are stacked along the leading axis of the arrays of `stacked`."""
        _, unpack = ravel_pytree(jax.tree.map(lambda a: a[0], stacked))
        return cls(jax.vmap(_ravel)(stacked), unpack)

    @classmethod
    def empty(cls, count: int, tree: Tree) -> Self:
        """Makes room for `count` trees with the shapes and the data type of `tree`; the values are undefined."""
        row, unpack = ravel_pytree(jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), tree))
        return cls(lax.empty((count, *row.shape), row.dtype), unpack)

    def zeros(self) -> Self:
        """Makes as many trees, all of zeros."""
        return dataclasses.replace(self, matrix=jnp.zeros_like(self.matrix))

    def take(self, index: jax.Array) -> Tree:
        """Unpacks the tree at `index`."""
        return self.unpack(lax.dynamic_index_in_dim(self.matrix, index, keepdims=False))

    def put(self, index: jax.Array, tree: Tree) -> Self:
        """Returns these trees with `tree` at `index`."""
        matrix = lax.dynamic_update_index_in_dim(self.matrix, _ravel(tree), index, 0)
        return dataclasses.replace(self, matrix=matrix)

    def stacked(self) -> Tree:
        """Unpacks all trees, stacked along the leading axis of their arrays."""
        return jax.vmap(self.unpack)(self.matrix)


def _ravel(tree):
    return ravel_pytree(tree)[0]
