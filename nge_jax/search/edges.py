"""The metrics that say, after each epoch, whether the edges of a cell decide by themselves."""

import functools
from typing import Any

import jax
import numpy as np

from nge_jax.embedding.model import EdgeModel
from nge_jax.embedding.movement import movement_at
from nge_jax.optim import EMBEDDING
from nge_jax.search.steps.gradient import SearchState
from nge_jax.search.steps.strategy import Searcher
from nge_jax.space.mixture import operation_probs
from nge_jax.space.spaces import Space


def metrics(
    learner: EdgeModel | None, state: SearchState, two_epochs: Any, space: Space
) -> dict[str, float]:
    """Returns the epoch's metrics of each cell type.

    `common_share` and `edge_rank` are by random gradients, at the parameters of the moment (see `Movement`).
    `edge_cosine` is by the epoch's gradients: the mean cosine between two edges' movements of log P.

    Args:
        learner: the edge model that learns; None: there is none, and the metrics are left out.
        state: the state at the end of the epoch.
        two_epochs: P before and after the epoch [2, C, E, O], or a `Mixture`; None where P has no probabilities, and
            `edge_cosine` is left out.
        space: the space that is searched.
    """
    if learner is None:
        return {}
    params = state.params[EMBEDDING]
    if isinstance(params, Searcher):
        params = params.state.params
    shares, ranks = jax.device_get(_shares_and_ranks(learner, params))
    row = {}
    if two_epochs is not None:
        cosines = mean_cosines(*np.asarray(operation_probs(two_epochs)))
        row = {f"edge_cosine_{k}": float(c) for k, c in zip(space.cell_types, cosines, strict=True)}
    for number, kind in enumerate(space.cell_types):
        row[f"common_share_{kind}"] = float(shares[number])
        row[f"edge_rank_{kind}"] = float(ranks[number])
    return row


@functools.partial(jax.jit, static_argnums=0)
def _shares_and_ranks(learner: EdgeModel, params: Any) -> tuple[jax.Array, jax.Array]:
    """Computes two fields of a `Movement`; the compiler leaves out the third, which takes most of the time."""
    moved = movement_at(learner, params)
    return moved.common_share, moved.rank


def mean_cosines(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Computes the mean cosine between the movements of log P on two edges, [C], from P [C, E, O].

    A movement that all operations of an edge have in common is taken off, as it changes no probability. Edges that do
    not move count as 0.
    """
    moved = np.log(np.maximum(after, 1e-30)) - np.log(np.maximum(before, 1e-30))
    moved -= moved.mean(-1, keepdims=True)
    norms = np.linalg.norm(moved, axis=-1, keepdims=True)
    directions = moved / np.where(norms > 0, norms, 1)
    edges = before.shape[1]
    pairs = np.square(directions.sum(1)).sum(-1) - np.square(directions).sum((1, 2))
    return pairs / (edges * (edges - 1))
