"""The plan of a segmentation's training: all that config and data set decide. Nothing later reads a config."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import optax

from nge_jax.data.source import Source
from nge_jax.networks.network import Network
from nge_jax.train.arguments import ProgramArguments, make_optimizer
from nge_jax.train.step import Parts


class Segmentation(NamedTuple):
    """The plan of a segmentation's training.

    Attributes:
      genotype: the cell, as the config names it.
      data_name: the data set.
      seed: decides the initial weights and the order of the images.
      source: the images.
      model: the network.
      arguments: the program's arguments beside the run's key.
      power: the exponent of the rate's decay, DeepLab's "poly" policy; a constant of the program, see `optim.Linear`.
      accumulate: the number of micro-batches of a step.
      total_steps, batch_size: the length of the training, and the images of a step.
      eval_batch_size: how many images a device scores at once.
      pictures: how many images of the test are shown.
      skip_nonfinite: how many updates may be left out because they are not finite.
      init_from: the run whose network becomes the backbone; empty: random weights.
      settings: the values of the config as the workdir records them, nested.
    """

    genotype: str
    data_name: str
    seed: int
    source: Source
    model: Network
    arguments: ProgramArguments
    power: float
    accumulate: int
    total_steps: int
    batch_size: int
    eval_batch_size: int
    pictures: int
    skip_nonfinite: int
    init_from: str
    settings: Mapping[str, Any]

    @property
    def parts(self) -> Parts:
        """The parts that the training's state has beside those of every training."""
        return Parts(self.arguments.averaging is not None)


def make_rate(segmentation: Segmentation, arguments: ProgramArguments) -> optax.Schedule:
    """Makes the learning rate's schedule from arguments on the host or in a program."""
    return functools.partial(arguments.rate, power=segmentation.power)


def make_weight_optimizer(
    segmentation: Segmentation, arguments: ProgramArguments
) -> optax.GradientTransformation:
    """Makes the optimizer of the network's weights, from arguments on the host or in a program."""
    return make_optimizer(arguments.weights, make_rate(segmentation, arguments))
