"""The numbers of a search that are arguments of its programs: a search with others runs the same programs.

What decides on shapes or on what is computed at all (channels, a batch's size, whether there is a warm-up) stays a
constant of the programs. So do, lest results change in their last bits, Adam's b1 and b2 and the decay of REINFORCE's
baseline (a program would subtract them from 1 in float32), and the entropy's weight of a strategy (which XLA draws into
products of constants).
"""

from typing import Any, NamedTuple

from nge_jax.optim import Cosine, SgdNumbers
from nge_jax.search.steps.relaxation import Line


class Numbers(NamedTuple):
    """Plain numbers on the host, float32 and int32 in a program; None for what a search does without.

    Attributes:
        rate: of the weights.
        weights: of their optimizer.
        embedding: learning_rate and weight_decay; of another strategy than the gradient, what it calls its own.
        warmup_steps: updates of either group before the embedding's first.
        temperatures: of `steps.relaxation.gumbel`.
        skip_rates: of `steps.relaxation.with_skip_dropout`.
        entropy_weights: of `steps.relaxation.with_entropy`.
        edge_model: the number of the search's own among several in one program; None: there is one.
    """

    rate: Cosine
    weights: SgdNumbers
    embedding: dict[str, Any]
    warmup_steps: Any
    temperatures: Line | None
    skip_rates: Line | None
    entropy_weights: Line | None
    edge_model: Any = None
