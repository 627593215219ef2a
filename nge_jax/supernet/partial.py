"""Partially connected cells (PC-DARTS, Xu et al., ICLR 2020): a K-th of the channels goes through the mixed operations.

Of what an edge i -> k reads, x with C channels, the first C / K are mixed and the others pass,

    edge(x) = beta_ik shuffle([sum_o p_iko o(x_first), x_rest]),      node_k = sum_i edge_ik(node_i)

on edges of stride 2 through a 2x2 max pool of stride 2. The shuffle of K groups (ShuffleNet) makes the next edge mix
other channels. It is a permutation, the same for all edges, so that

    node_k = shuffle([sum_i sum_o beta_ik p_iko o(x_first), sum_i beta_ik x_rest])

and the sums are kept apart: the first is that of an ordinary mixed cell with C / K channels and the probabilities
beta P, and a node is put together where an edge reads it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from nge_jax.supernet.layouts import Layout, channels_last
from nge_jax.supernet.trees import put, take


class Nodes(NamedTuple):
    """Holds the nodes of a partially connected cell, before the shuffle.

    Attributes:
        mixed: [6, B, H, W, C / K], what came through operations; or [6, C / K, H, W, B], see `layout`.
        passed: [6, B, H, W, C - C / K], what came by; or [6, C - C / K, H, W, B].
    """

    mixed: Any
    passed: Any


class Factors(NamedTuple):
    """Holds what the sums above multiply with.

    Attributes:
        probs: beta P [14, 7].
        betas: [14].
    """

    probs: Any
    betas: Any


def shuffle(x: jax.Array, groups: int, layout: Layout = channels_last) -> jax.Array:
    """Takes the channels of x [..., C] from each of the `groups` in turn: channel g C / groups + j to j groups + g."""
    axis = x.ndim + layout.CHANNEL_AXIS
    shape = *x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :]
    return x.reshape(shape).swapaxes(axis, axis + 1).reshape(x.shape)


def joined(nodes: Nodes, layout: Layout = channels_last) -> jax.Array:
    """Puts nodes together [..., C], shuffled."""
    axis = nodes.mixed.ndim + layout.CHANNEL_AXIS
    mixed = nodes.mixed.shape[axis]
    whole = jnp.concatenate([nodes.mixed, nodes.passed], axis)
    return shuffle(whole, whole.shape[axis] // mixed, layout)


def divided(x: jax.Array, mixed: int, layout: Layout = channels_last) -> Nodes:
    """Makes the nodes, `mixed` channels of them mixed, that `joined` puts together to x [..., C]."""
    return Nodes(*split(shuffle(x, mixed, layout), mixed, layout))


def split(x: jax.Array, mixed: int, layout: Layout = channels_last) -> tuple[jax.Array, jax.Array]:
    """Splits what an edge reads, x [..., C], into what is mixed [..., C / K] and what passes."""
    first, rest = jnp.split(x, [mixed], x.ndim + layout.CHANNEL_AXIS)
    return first, rest


def read(x: Any, mixed: int, layout: Layout = channels_last) -> tuple[jax.Array, jax.Array]:
    """Reads a source as its edges do: x [B, H, W, C / K] to mix, and what passes, of the target's size.

    Args:
        x: one node of `Nodes`, a source of stride 1; or an input [B, H, W, C], a source of stride 2.
        mixed: C / K.
        layout: of x.
    """
    if isinstance(x, Nodes):
        return split(joined(x, layout), mixed, layout)
    first, rest = split(x, mixed, layout)
    return first, max_pool_2x2(rest)


def max_pool_2x2(x: jax.Array) -> jax.Array:
    """Halves x [B, H, W, C] by the maximum of each 2x2 window; of an odd size the last window is cut."""
    batch, height, width, channels = x.shape
    pads = [(0, 0), (0, height % 2), (0, width % 2), (0, 0)]
    x = jnp.pad(x, pads, constant_values=-jnp.inf) if height % 2 or width % 2 else x
    height, width = x.shape[1:3]
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).max((2, 4))


def source(nodes: Any, inputs: jax.Array | None, number: Any) -> Any:
    """Takes a source of edges: of `nodes` where they have stride 1, else of `inputs`."""
    return take(nodes if inputs is None else inputs, number)


def mixed_part(nodes: Any) -> jax.Array:
    """Takes what operations have brought: of a whole cell's nodes everything."""
    return nodes.mixed if isinstance(nodes, Nodes) else nodes


def add_passed(nodes: Nodes, rest: Any, beta: jax.Array, target: Any) -> jax.Array:
    """Adds beta times what passes an edge to its target, in the `passed` of all nodes."""
    return put(nodes.passed, take(nodes.passed, target) + beta.astype(rest.dtype) * rest, target)


def probs_of(choice: Any) -> jax.Array:
    """Takes the factors of operations [14, 7]: of a whole cell all there are."""
    return choice.probs if isinstance(choice, Factors) else choice
