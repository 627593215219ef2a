"""The plan of a segmentation's training: everything that a config and a data set make of it. No config goes further."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import optax

from nge_jax.data.source import Source
from nge_jax.networks.network import Network
from nge_jax.train.arguments import ProgramArguments, make_optimizer


class Segmentation(NamedTuple):
    """The plan of a segmentation's training.

    Attributes:
      genotype: the cell, as the config names it.
      data_name: the data set.
      seed: of the initial weights and of the order of the images.
      source: the images.
      model: the network.
      arguments: what the program is given beside the run's key.
      power: by which the rate falls, DeepLab's "poly" policy; a constant of the program, see `optim.Linear`.
      accumulate: micro-batches of a step.
      total_steps, batch_size: the length of the training, and images of a step.
      eval_batch_size: images that a device scores at once.
      pictures: images of the test that are shown.
      skip_nonfinite: updates that are not finite and may be left out.
      init_from: the run whose network becomes the backbone; empty: none.
      settings: the recorded values of the config, nested.
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


def make_rate(segmentation: Segmentation, arguments: ProgramArguments) -> optax.Schedule:
    """Makes the rate from arguments on the host or in a program."""
    return functools.partial(arguments.rate, power=segmentation.power)


def make_weight_optimizer(
    segmentation: Segmentation, arguments: ProgramArguments
) -> optax.GradientTransformation:
    """Makes the optimizer of the network's weights, from arguments on the host or in a program."""
    return make_optimizer(arguments.weights, make_rate(segmentation, arguments))
