"""DrNAS's relaxation (Chen et al., ICLR 2021): an edge's weights are drawn from a Dirichlet distribution.

The concentrations are elu(logits) + 1, and P is the mean of the distribution. The distance to Dirichlet(1, ..., 1),
which DrNAS keeps small, is the Kullback-Leibler divergence here, in nats and as the mean over edges.
"""

from collections.abc import Mapping
from typing import Any

import jax
from jax.scipy.special import digamma, gammaln

from nge_jax.search.relaxations.rule import RelaxationRule
from nge_jax.space.spaces import Space


def dirichlet(space: Space, numbers: Mapping[str, Any]) -> RelaxationRule:
    """Makes the relaxation; numbers: `anchor_weight`, the weight of the divergence."""
    del space

    def concentrations(logits):
        return jax.nn.elu(logits) + 1 + 1e-6  # a float32 may round the sum to 0

    def probs(logits):
        b = concentrations(logits)
        return b / b.sum(-1, keepdims=True)

    def penalty(scores, progress):
        del progress
        b = concentrations(scores.logits)
        total = b.sum(-1, keepdims=True)
        normalizers = gammaln(total)[..., 0] - gammaln(b).sum(-1) - gammaln(b.shape[-1])
        divergence = normalizers + ((b - 1) * (digamma(b) - digamma(total))).sum(-1)
        return numbers["anchor_weight"] * divergence.mean()

    def mix(scores, key, progress):
        del progress
        return jax.random.dirichlet(key, concentrations(scores.logits))

    return RelaxationRule(mix, probs, penalty)
