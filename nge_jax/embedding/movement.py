"""How an edge model moves its logits: all edges together or each by itself, and how far in a step of Adam.

A step moves logits through parameters. Let J be the derivative of a cell's logits by the parameters, at the parameters
of the moment. A gradient g of the loss by the logits then moves the logits

    by gradient descent, along    J J^T g
    by Adam's first step, by      rate * J sign(J^T g)

A free logit moves by its gradient alone: J J^T is the identity. In the other models the edges share parameters, and a
step for one edge moves the others. How much they do is measured with random gradients, another for each edge.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from nge_jax.embedding.model import EdgeModel, Params

DRAWS = 64  # random gradients of a measure
SEEDS = 4  # random parameters from which a matched rate follows


class Movement(NamedTuple):
    """Says how the logits of each cell type [C] move by random gradients, which are independent between edges.

    Attributes:
        common_share: the part of the logits' squared movement by gradient descent that all edges of a cell have in
            common, a mean over gradients. Free logits: 1 / E.
        rank: the effective rank of the edges' kernel [E, E], which is J J^T with a trace over operations: the square of
            its eigenvalues' sum by the sum of their squares. Free logits: E. Edges that always move alike: 1.
        step: how far Adam's first step moves a logit at the rate 1, as a root mean square. Free logits: 1.
    """

    common_share: jax.Array
    rank: jax.Array
    step: jax.Array


def movement(edge_model: EdgeModel, key: jax.Array) -> Movement:
    """Measures the movement at random initial parameters, from one Jacobian."""
    return movement_at(edge_model, edge_model.init(key))


@functools.partial(jax.jit, static_argnums=0)
def movement_at(edge_model: EdgeModel, params: Params) -> Movement:
    """Measures the movement at parameters of `edge_model`, which has logits."""
    assert edge_model.logits is not None, f"{edge_model} has no logits"
    with jax.default_matmul_precision("float32"):
        logits, pull = jax.vjp(edge_model.logits, params)
        cells, edges, operations = logits.shape
        unit_gradients = jnp.eye(logits.size).reshape(-1, *logits.shape)
        rows = jax.tree.leaves(jax.vmap(pull)(unit_gradients))
        jacobian = jnp.concatenate([leaf.reshape(logits.size, -1) for leaf in rows], axis=1)
        gradients = jax.random.normal(jax.random.key(0), (DRAWS, edges, operations))
        # The gradient by the logits of a softmax sums to zero.
        gradients -= gradients.mean(-1, keepdims=True)
        of_cell = functools.partial(_cell_movement, gradients)
        return Movement(*jax.vmap(of_cell)(jacobian.reshape(cells, edges, operations, -1)))


def _cell_movement(gradients, jacobian_ExOxP):
    """Measures one cell type; gradients [draws, E, O]."""
    kernel = jnp.einsum("eop,fqp->eofq", jacobian_ExOxP, jacobian_ExOxP)
    moved = jnp.einsum("eofq,dfq->deo", kernel, gradients)
    common = jnp.square(moved.mean(1)).sum(-1)
    share = _ratio(len(jacobian_ExOxP) * common, jnp.square(moved).sum((1, 2))).mean()
    of_edges = jnp.einsum("eofo->ef", kernel)
    rank = _ratio(jnp.square(jnp.trace(of_edges)), jnp.square(of_edges).sum())
    signs = jnp.sign(jnp.einsum("eop,deo->dp", jacobian_ExOxP, gradients))
    steps = jnp.einsum("eop,dp->deo", jacobian_ExOxP, signs)
    return share, rank, jnp.sqrt(jnp.square(steps).mean((1, 2))).mean()


def _ratio(part, whole):
    """Divides; 0 where logits do not move at all, because the parameters have decayed to nothing."""
    return jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1), 0)


def matched_part(edge_model: EdgeModel) -> float:
    """Computes the part of free logits' rate at which a step of Adam moves logits as far as it moves free logits.

    The part is 1 for free logits. It is rounded to three digits, so that all devices search at the same rate.
    """
    steps = [movement(edge_model, jax.random.key(seed)).step.mean() for seed in range(SEEDS)]
    return float(f"{1 / float(jnp.stack(steps).mean()):.3g}")
