"""Ridge regression of rewards on one-hot edges: a plain predictor beside the edge models.

A cell is a vector with a 1 for each operation of each kept edge. The rewards' mean is taken off and comes back in the
prediction. The predictor knows no graph: an operation on an edge adds the same to every cell.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nge_jax.space import architecture
from nge_jax.space.spaces import Space

# The penalty in units of a cell: an operation that one cell has gets half of what the cell is better by.
PENALTY = 1.0


class Ridge(NamedTuple):
    """Holds a fitted regression.

    Attributes:
        mean: float32 scalar, the prediction for a cell of which nothing is known.
        weights: float32 [C * E * O], what each operation of each edge adds.
    """

    mean: jax.Array
    weights: jax.Array


def fit(architectures: jax.Array, rewards: jax.Array, known: jax.Array, space: Space) -> Ridge:
    """Fits the rewards [B] of the architectures [B, C, E] of which `known` [B] is True."""
    count = jnp.maximum(known.sum(), 1)
    mean = jnp.where(known, rewards, 0.0).sum() / count
    x_BxF = _features(architectures, space) * known[:, None]
    y = jnp.where(known, rewards - mean, 0.0)
    # The dual form: a matrix of the size of the memory, however many operations the space has.
    gram = x_BxF @ x_BxF.T + PENALTY * jnp.eye(len(y))
    return Ridge(mean, x_BxF.T @ jnp.linalg.solve(gram, y))


def predict(ridge: Ridge, architecture_CxE: jax.Array, space: Space) -> jax.Array:
    """Predicts the reward of an architecture [C, E]."""
    return ridge.mean + _features(architecture_CxE[None], space)[0] @ ridge.weights


def _features(architectures: jax.Array, space: Space) -> jax.Array:
    return architecture.one_hot(architectures, space).reshape(len(architectures), -1)
