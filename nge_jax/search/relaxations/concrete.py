"""SNAS's relaxation (Xie et al., ICLR 2019): an edge's weights are drawn from a concrete distribution.

With Gumbel noise G and a temperature t the weights are softmax((logits + G) / t), and all operations are computed. The
temperature falls along a line. SNAS trains weights and logits on the same batch, and this search does not.
"""

from collections.abc import Mapping
from typing import Any

import jax

from nge_jax.search.relaxations.rule import RelaxationRule
from nge_jax.space.spaces import Space


def concrete(space: Space, numbers: Mapping[str, Any]) -> RelaxationRule:
    """Makes the relaxation; numbers: `first_temperature` and `last_temperature`."""
    del space

    def temperature(progress):
        first, last = numbers["first_temperature"], numbers["last_temperature"]
        return first + (last - first) * progress

    def mix(scores, key, progress):
        noise = jax.random.gumbel(key, scores.logits.shape, scores.logits.dtype)
        return jax.nn.softmax((scores.logits + noise) / temperature(progress))

    return RelaxationRule(mix, record=lambda progress: {"temperature": temperature(progress)})
