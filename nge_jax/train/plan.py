"""The plan of a training: all that config and data set decide, as plain values. Nothing later reads a config."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from nge_jax.data.source import Source
from nge_jax.networks.network import Network
from nge_jax.space.genotype import Genotype
from nge_jax.train.arguments import ProgramArguments
from nge_jax.train.step import Parts, Recipe


class Inputs(NamedTuple):
    """The images and the cells that a training or a segmentation begins with."""

    source: Source
    cells: Genotype

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines for the user about the images."""
        return self.source.notes


class Training(NamedTuple):
    """The plan of a training.

    Attributes:
      genotype: the cell, as the config names it.
      data_name: the data set, as the config names it.
      seed: decides the initial weights and the order of the images.
      source: the images.
      model: the network.
      recipe: how the network is trained.
      arguments: the program's arguments beside the run's key.
      total_steps, batch_size: the length of the training, and the images of a step.
      eval_batch_size: how many images a device scores at once.
      skip_nonfinite: how many updates may be left out because they are not finite.
      patience: how many epochs without a better score on held-out images end the training; 0: none do.
      init_from: the run whose network this training begins with; empty: random weights.
      settings: the values of the config as the workdir records them, nested.
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
    patience: int
    init_from: str
    settings: Mapping[str, Any]

    @property
    def parts(self) -> Parts:
        """The parts that the training's state has beside those of every training."""
        return Parts(self.arguments.averaging is not None, self.patience > 0)
