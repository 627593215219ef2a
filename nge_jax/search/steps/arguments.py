"""The numbers that a search's programs take as arguments. A search with other numbers runs the same programs.

Values that decide shapes, or whether something is computed, stay constants: channels, the batch size, whether there is
a warm-up. Some more numbers stay constants because results would change in the last bits. With Adam's b1 and b2 and the
decay of REINFORCE's baseline as arguments, a program would subtract them from 1 in float32. XLA folds a strategy's
constant entropy weight into products of constants, which it could not do with an argument.
"""

from typing import Any, NamedTuple

from nge_jax.optim import Cosine, SgdNumbers
from nge_jax.search.steps.relaxation import Line
from nge_jax.space.budget.relative import RelativeCosts


class ProgramArguments(NamedTuple):
    """Plain numbers on the host, float32 and int32 in a program; None for features that the search does not use.

    Attributes:
        rate: the learning rate of the weights.
        weights: the other numbers of the weights' optimizer.
        embedding: learning_rate and weight_decay; a strategy other than the gradient has its own names.
        warmup_steps: steps of both groups before the embedding's first update.
        temperatures: for `relaxation.gumbel`.
        skip_rates: for `relaxation.with_skip_dropout`.
        entropy_weights: for `relaxation.with_entropy`.
        costs: the networks' costs as parts of their limits, and the weight of the excess.
        relaxation: the numbers of a relaxation that sees logits, by the keys' last names.
        progress: a line from 0 to 1, for such a relaxation.
        price: the expected parameters as a part of their mean, and the weight that the search pays for them.
        edge_model: the number of the search's edge model among several in one program; None if there is one.
        mutation_rates: for `relaxation.with_mutation`.
        correlation: for `relaxation.with_correlation`.
    """

    rate: Cosine
    weights: SgdNumbers
    embedding: dict[str, Any]
    warmup_steps: Any
    temperatures: Line | None
    skip_rates: Line | None
    entropy_weights: Line | None
    costs: RelativeCosts | None = None
    relaxation: dict[str, Any] | None = None
    progress: Line | None = None
    price: RelativeCosts | None = None
    edge_model: Any = None
    mutation_rates: Line | None = None
    correlation: Line | None = None
