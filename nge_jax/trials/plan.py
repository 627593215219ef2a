"""The plan of a search by trials: all that the configs and the data set decide. Nothing later reads a config."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from nge_jax.optim import WEIGHTS
from nge_jax.search.plan import Search
from nge_jax.strategies.base import Strategy
from nge_jax.train.arguments import ProgramArguments
from nge_jax.train.plan import Training
from nge_jax.trials.ledger import Halving


class Keys(NamedTuple):
    """The keys of a search's random choices: the first weights, the strategy's draws, the augmentation."""

    init: jax.Array
    ask: jax.Array
    train: jax.Array


class Rating(NamedTuple):
    """The training that rates a cell.

    Attributes:
      training: the plan of the training. The plan's cell and length do not matter.
      arguments: the numbers of the training of each rung's length.
      recipe: the values of the training's config, nested; the length is the last rung's.
    """

    training: Training
    arguments: tuple[ProgramArguments, ...]
    recipe: Mapping[str, Any]

    @property
    def steps_per_epoch(self) -> int:
        """Counts the updates in an epoch of a cell's training."""
        return int(self.arguments[0].steps_per_epoch)


class Trials(NamedTuple):
    """The plan of a search whose cells are rated by trainings.

    Attributes:
      search: the plan of the search. The first of the halves trains the cells, and the other rates them.
      strategy: asks for cells.
      halving: the rules by which cells are rated.
      minutes: the time after which no cell is asked for; 0: no limit.
      rating: the training that rates a cell.
      ray: the address of the Ray cluster that trains the cells, or "auto"; empty: this process trains them.
    """

    search: Search
    strategy: Strategy
    halving: Halving
    minutes: float
    rating: Rating
    ray: str

    @property
    def half(self) -> np.ndarray:
        """The indices of the training images that train the cells."""
        return self.search.halves[WEIGHTS]

    def keys(self) -> Keys:
        """Makes the keys."""
        return Keys(*jax.random.split(jax.random.key(self.search.seed), len(Keys._fields)))
