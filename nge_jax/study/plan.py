"""The plan of a study: all that the configs and the data set decide. Nothing later reads a config."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from nge_jax.space.genotype import Genotype
from nge_jax.study.settings import Settings
from nge_jax.train.plan import Training

# Kinds of networks that a study trains, in the order of its table.
FOUND, RANDOM, PUBLISHED, PLAIN = "found", "random", "published", "plain"
PUBLISHED_CELL = "DARTS_V2"


class Search(NamedTuple):
    """A search of the study.

    Attributes:
      seed: the seed of the search.
      run: `workdir -> result`, searches or goes on.
    """

    seed: int
    run: Callable[..., Any]

    @property
    def folder(self) -> str:
        """The name of the search's folder in the study's workdir."""
        return f"search-{self.seed}"


class Study(NamedTuple):
    """The plan.

    Attributes:
      name: the config that searches, as the user named it.
      recipe_name: the config that trains the cells.
      settings: the settings of the study.
      searches: the searches, in their order.
      training: the plan of a training; the plan's cell and length are not read.
      refusal: why a new study with the limits of the recipe is refused; "" where it is not.
      of_length: `epochs -> the plan of a training`, whose arguments and settings are those of this length.
      epochs: the length of a training.
      dispatch: the most steps of a dispatch.
      values: the values of the configs, the settings and the images, by which a later start recognizes the study.
    """

    name: str
    recipe_name: str
    settings: Settings
    searches: tuple[Search, ...]
    training: Training
    refusal: str
    of_length: Callable[[int], Training]
    epochs: int
    dispatch: int
    values: Mapping[str, Any]


class Candidate(NamedTuple):
    """A network that the study trains.

    Attributes:
      kind: FOUND, RANDOM, PUBLISHED or PLAIN.
      name: "random:17", "DARTS_V2" and such.
      search: the seed of the search that found the cell, or beside whose cell it stands; None: it belongs to no search.
      genotype: the cell; None: the network has no cells.
      parameters, multiply_adds: the cost of the network.
    """

    kind: str
    name: str
    search: int | None
    genotype: Genotype | None
    parameters: int
    multiply_adds: int
