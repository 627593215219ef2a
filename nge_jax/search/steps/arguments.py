"""The arguments of a search's programs beside the key. A search with other values runs the same programs.

Everything that decides on shapes or on what is computed at all stays a constant of the programs: channels, a batch's
size, whether there is a warm-up. Three more numbers stay constants, so that results keep their last bits. A program
would subtract Adam's b1 and b2 and the decay of REINFORCE's baseline from 1 in float32, and XLA would draw the entropy
weight of a strategy into products of constants.
"""

from typing import Any, NamedTuple

from nge_jax.optim import Cosine, SgdNumbers
from nge_jax.search.steps.relaxation import Line


class ProgramArguments(NamedTuple):
    """Plain numbers on the host, float32 and int32 in a program; None for what a search does without.

    Attributes:
        rate: the learning rate of the weights.
        weights: the other numbers of the weights' optimizer.
        embedding: learning_rate and weight_decay; for another strategy than the gradient, numbers by its own names.
        warmup_steps: updates of either group before the embedding's first.
        temperatures: for `relaxation.gumbel`.
        skip_rates: for `relaxation.with_skip_dropout`.
        entropy_weights: for `relaxation.with_entropy`.
        edge_model: the number of the search's edge model among several in one program; None: there is one.
    """

    rate: Cosine
    weights: SgdNumbers
    embedding: dict[str, Any]
    warmup_steps: Any
    temperatures: Line | None
    skip_rates: Line | None
    entropy_weights: Line | None
    edge_model: Any = None
