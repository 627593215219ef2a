"""The numbers that the program of a training or a segmentation takes as arguments. Other numbers run the same program.

Values that decide shapes, or whether something is computed, stay constants: the batch size, whether there is drop-path
or a warm-up. The data and the network also have constants: a jitter's strengths, the classes' weights, the dropout of
a segmentation's head. Three more numbers stay constants, because results would change in the last bits. They are label
smoothing, the weight of the auxiliary loss and the power of a segmentation's rate (see `Linear`). XLA folds the first
two into products of constants.
"""

from typing import Any, NamedTuple

import optax

from nge_jax.optim import AdamwNumbers, Cosine, Linear, SgdNumbers, WarmedUp, inverse


class DropPath(NamedTuple):
    """A drop-path rate that grows from 0 by the same amount in each step.

    Attributes:
        rate: the rate after the last step.
        steps: the steps of the training.
    """

    rate: Any
    steps: Any

    def at(self, step: Any) -> Any:
        """Computes the rate of a step, counted from 0."""
        # XLA turns `rate * step / steps` into this product when the numbers are constants. Arguments round alike.
        return self.rate * inverse(self.steps) * step


class ProgramArguments(NamedTuple):
    """Plain numbers on the host, float32 and int32 in a program; None for features that the training does not use.

    Attributes:
        rate: the learning rate of the weights.
        weights: the other numbers of the weights' optimizer, whose type says which optimizer it is.
        steps_per_epoch: the number of steps after which the state's sums begin anew.
        drop_path: the rate of drop-path in a classifier's cells.
        averaging: the largest decay of the weights' averages, see `networks.averages`.
    """

    rate: Cosine | Linear | WarmedUp
    weights: SgdNumbers | AdamwNumbers
    steps_per_epoch: Any
    drop_path: DropPath | None = None
    averaging: Any | None = None


def make_optimizer(
    weights: SgdNumbers | AdamwNumbers, rate: optax.ScalarOrSchedule
) -> optax.GradientTransformation:
    """Makes the optimizer of a network's weights; a program calls it with traced numbers."""
    return weights.make(rate)
