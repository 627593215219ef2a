"""Partially connected cells (PC-DARTS, Xu et al., ICLR 2020): the operations see one channel in K.

An edge i -> k reads x with C channels. It mixes the first C / K channels, and the other channels pass:

    edge(x) = beta_ik shuffle([sum_o p_iko o(x_first), x_rest]),      node_k = sum_i edge_ik(node_i)

On edges of stride 2 the rest passes through a 2x2 max pool of stride 2. The shuffle of K groups (ShuffleNet) makes the
next edge mix other channels. Because the shuffle is the same permutation for all edges,

    node_k = shuffle([sum_i sum_o beta_ik p_iko o(x_first), sum_i beta_ik x_rest])

and the two sums are computed apart. The first sum is an ordinary mixed cell with C / K channels and the probabilities
beta P. Both parts of a node are joined where an edge reads it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nge_jax.supernet.layouts import Layout, channels_last
from nge_jax.supernet.trees import put, take


class Nodes(NamedTuple):
    """Holds the nodes of a partially connected cell, before the shuffle.

    Attributes:
        mixed: [6, B, H, W, C / K] or [6, C / K, H, W, B]: the channels that operations have mixed, see `layouts`.
        passed: [6, B, H, W, C - C / K] or [6, C - C / K, H, W, B]: the channels that have passed.
    """

    mixed: Any
    passed: Any


class Factors(NamedTuple):
    """Holds the factors of both sums.

    Attributes:
        probs: [14, 7], beta P: the factors of the operations.
        betas: [14], the factors of the channels that pass.
    """

    probs: Any
    betas: Any


def shuffle(x: jax.Array, groups: int, layout: Layout = channels_last) -> jax.Array:
    """Takes the channels of x from each of the `groups` in turn: channel g C / groups + j becomes j groups + g."""
    axis = x.ndim + layout.CHANNEL_AXIS
    shape = *x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :]
    return x.reshape(shape).swapaxes(axis, axis + 1).reshape(x.shape)


def join(nodes: Nodes, layout: Layout = channels_last) -> jax.Array:
    """Concatenates and shuffles the channels of nodes: all C channels."""
    axis = nodes.mixed.ndim + layout.CHANNEL_AXIS
    mixed = nodes.mixed.shape[axis]
    whole = jnp.concatenate([nodes.mixed, nodes.passed], axis)
    return shuffle(whole, whole.shape[axis] // mixed, layout)


def divide(x: jax.Array, mixed: int, layout: Layout = channels_last) -> Nodes:
    """Undoes `join`: makes nodes with `mixed` mixed channels from x with C channels."""
    return Nodes(*split(shuffle(x, mixed, layout), mixed, layout))


def split(x: jax.Array, mixed: int, layout: Layout = channels_last) -> tuple[jax.Array, jax.Array]:
    """Splits the channels that an edge reads: the first `mixed` channels, which it mixes, and the rest."""
    first, rest = jnp.split(x, [mixed], x.ndim + layout.CHANNEL_AXIS)
    return first, rest


def read(x: Any, mixed: int, layout: Layout = channels_last) -> tuple[jax.Array, jax.Array]:
    """Reads a source as its edges do.

    Args:
        x: one node of `Nodes`, a source of stride 1; or an input [B, H, W, C], a source of stride 2.
        mixed: C / K.
        layout: the layout of x.

    Returns:
        The C / K channels to mix, at the size of the source, and the channels that pass, at the size of the target.
    """
    if isinstance(x, Nodes):
        return split(join(x, layout), mixed, layout)
    first, rest = split(x, mixed, layout)
    return first, max_pool_2x2(rest)


def max_pool_2x2(x: jax.Array) -> jax.Array:
    """Halves x [B, H, W, C] by the maximum of each 2x2 window; the last window of an odd size is cut."""
    batch, height, width, channels = x.shape
    pads = [(0, 0), (0, height % 2), (0, width % 2), (0, 0)]
    x = jnp.pad(x, pads, constant_values=-jnp.inf) if height % 2 or width % 2 else x
    height, width = x.shape[1:3]
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).max((2, 4))


def source(nodes: Any, inputs: jax.Array | None, number: Any) -> Any:
    """Takes the source of edges with this number: from `nodes` where the edges have stride 1, else from `inputs`."""
    return take(nodes if inputs is None else inputs, number)


def mixed_part(nodes: Any) -> jax.Array:
    """Takes the channels that operations have mixed: all channels in a whole cell."""
    return nodes.mixed if isinstance(nodes, Nodes) else nodes


def add_passed(nodes: Nodes, rest: Any, beta: jax.Array, target: Any) -> jax.Array:
    """Adds beta times the `rest`, which passes an edge, to the target, and returns the `passed` of all nodes."""
    return put(nodes.passed, take(nodes.passed, target) + beta.astype(rest.dtype) * rest, target)


def operation_probs(choice: Any) -> jax.Array:
    """Takes the factors of operations [14, 7] from `Factors`, or the probabilities of a whole cell as they are."""
    return choice.probs if isinstance(choice, Factors) else choice
