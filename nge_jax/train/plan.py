"""The plan of a training: all that a config and a data set make of it, as plain values. No config goes further."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from nge_jax.data.source import Source
from nge_jax.networks.network import Network
from nge_jax.train.arguments import ProgramArguments
from nge_jax.train.step import Recipe


class Training(NamedTuple):
    """The plan of a training.

    Attributes:
      genotype: the cell, as the config names it.
      data_name: the data set, as the config names it.
      seed: of the initial weights and of the order of the images.
      source: the images.
      model: the network.
      recipe: how the network is trained.
      arguments: what the program is given beside the run's key.
      total_steps, batch_size: the length of the training, and images of a step.
      eval_batch_size: images that a device scores at once.
      skip_nonfinite: updates that are not finite and may be left out.
      init_from: the run whose network this training begins with; empty: none.
      settings: the recorded values of the config, nested.
    """

    genotype: str
    data_name: str
    seed: int
    source: Source
    model: Network
    recipe: Recipe
    arguments: ProgramArguments
    total_steps: int
    batch_size: int
    eval_batch_size: int
    skip_nonfinite: int
    init_from: str
    settings: Mapping[str, Any]
