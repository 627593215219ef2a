"""The numbers of a training, or of a segmentation's, that are arguments of its program: one with others runs the same.

What decides on shapes or on what is computed at all (a batch's size, whether there is drop-path or a warm-up) stays a
constant of the program. So does what comes with the data and the network: a jitter's strengths, the classes' weights,
the dropout of a segmentation's head. And so do, lest results change in their last bits, label smoothing and the weight
of the auxiliary head's loss (which XLA draws into products of constants) and the power of a segmentation's rate, see
`Linear`.
"""

from typing import Any, NamedTuple

import optax

from nge_jax import optim
from nge_jax.optim import Cosine, Linear, SgdNumbers, WarmedUp, inverse


class DropPath(NamedTuple):
    """A drop-path rate that grows from 0 by the same amount in each step.

    Attributes:
        rate: that is reached after the last step.
        steps: of the training.
    """

    rate: Any
    steps: Any

    def at(self, step: Any) -> Any:
        """Computes the rate of a step, counted from 0."""
        # What XLA makes of `rate * step / steps` of constants; so both round alike.
        return self.rate * inverse(self.steps) * step


class Numbers(NamedTuple):
    """Plain numbers on the host, float32 and int32 in a program; None for what a training does without.

    Attributes:
        rate: of the weights.
        weights: of their optimizer.
        steps_per_epoch: the state's sums begin anew after so many steps.
        drop_path: of a classifier's cells.
    """

    rate: Cosine | Linear | WarmedUp
    weights: SgdNumbers
    steps_per_epoch: Any
    drop_path: DropPath | None = None


def make_optimizer(
    weights: SgdNumbers, rate: optax.ScalarOrSchedule
) -> optax.GradientTransformation:
    """Makes the optimizer of a network's weights; inside a program, where the numbers are its arguments."""
    return optim.sgd(rate, **weights._asdict())
