"""The arguments of a training's program, or of a segmentation's, beside the key. Other values run the same program.

Everything that decides on shapes or on what is computed at all stays a constant of the program: a batch's size, whether
there is drop-path or a warm-up. The data and the network bring constants too: a jitter's strengths, the classes'
weights, the dropout of a segmentation's head. Three more numbers stay constants, so that results keep their last bits:
label smoothing, the weight of the auxiliary head's loss and the power of a segmentation's rate (see `Linear`). XLA
draws the first two into products of constants.
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


class ProgramArguments(NamedTuple):
    """Plain numbers on the host, float32 and int32 in a program; None for what a training does without.

    Attributes:
        rate: the learning rate of the weights.
        weights: the other numbers of the weights' optimizer.
        steps_per_epoch: the state's sums begin anew after so many steps.
        drop_path: the rate of drop-path in a classifier's cells.
    """

    rate: Cosine | Linear | WarmedUp
    weights: SgdNumbers
    steps_per_epoch: Any
    drop_path: DropPath | None = None


def make_optimizer(
    weights: SgdNumbers, rate: optax.ScalarOrSchedule
) -> optax.GradientTransformation:
    """Makes the optimizer of a network's weights; a program calls it with traced numbers."""
    return optim.sgd(rate, **weights._asdict())
