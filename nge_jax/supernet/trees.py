"""The arrays of all edges as rows of one matrix, and rows taken from stacked trees."""

import dataclasses
from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree

from nge_jax.supernet import edge


def take(stacked: edge.Params, index: jax.Array) -> edge.Params:
    """A tree's arrays [n, ...] at `index`."""
    return jax.tree.map(lambda a: lax.dynamic_index_in_dim(a, index, keepdims=False), stacked)


def put(stacked: edge.Params, value: edge.Params, index: jax.Array) -> edge.Params:
    """The tree `stacked` with `value` at `index`."""
    return jax.tree.map(
        lambda a, v: lax.dynamic_update_index_in_dim(a, v.astype(a.dtype), index, 0), stacked, value
    )


Tree = Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rows:
    """`matrix` [n, size], each row a tree of arrays of one type; `unpack` makes the tree of a row."""

    matrix: jax.Array
    unpack: Callable[[jax.Array], Tree] = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(cls, stacked: Tree) -> Self:
        """The trees that `stacked` holds along the leading axis of its arrays."""
        _, unpack = ravel_pytree(jax.tree.map(lambda a: a[0], stacked))
        return cls(jax.vmap(_packed)(stacked), unpack)

    @classmethod
    def empty(cls, count: int, tree: Tree) -> Self:
        """Room for `count` trees of the shapes and the type of `tree`; what is there is undefined."""
        row, unpack = ravel_pytree(jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), tree))
        return cls(lax.empty((count, *row.shape), row.dtype), unpack)

    def zeros(self) -> Self:
        """As many trees of zeros."""
        return dataclasses.replace(self, matrix=jnp.zeros_like(self.matrix))

    def take(self, index: jax.Array) -> Tree:
        """The tree at `index`."""
        return self.unpack(lax.dynamic_index_in_dim(self.matrix, index, keepdims=False))

    def put(self, index: jax.Array, tree: Tree) -> Self:
        """With `tree` at `index`."""
        matrix = lax.dynamic_update_index_in_dim(self.matrix, _packed(tree), index, 0)
        return dataclasses.replace(self, matrix=matrix)

    def stacked(self) -> Tree:
        """All trees, along the leading axis of their arrays."""
        return jax.vmap(self.unpack)(self.matrix)


def _packed(tree):
    return ravel_pytree(tree)[0]
