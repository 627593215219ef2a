"""FairDARTS's relaxation (Chu et al., ECCV 2020): operations do not compete, as each has a sigmoid by itself.

P is sigmoid(logits). The zero-one loss -mean((P - 0.5)^2) pushes P to 0 or 1. FairDARTS keeps each operation above a
threshold. Here the cell is derived as with the paper's relaxation: each node keeps the strongest edges.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from nge_jax.search.relaxations.rule import RelaxationRule
from nge_jax.space.spaces import Space


def sigmoid(space: Space, numbers: Mapping[str, Any]) -> RelaxationRule:
    """Makes the relaxation; numbers: `zero_one_weight`, the weight of the zero-one loss."""
    del space

    def penalty(scores, progress):
        del progress
        return -numbers["zero_one_weight"] * jnp.square(scores.probs - 0.5).mean()

    return RelaxationRule(
        mix=lambda scores, key, progress: scores.probs,
        probs=jax.nn.sigmoid,
        penalty=penalty,
        is_distribution=False,
    )
