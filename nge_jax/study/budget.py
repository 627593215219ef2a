"""Trainings that fit into a given time: fewer random cells and training seeds first, then fewer epochs. No jax."""

import itertools
from typing import NamedTuple

LEAST_RANDOM, LEAST_SEEDS = 2, 2  # below these there is no deviation
MARGIN = 0.15  # cells of the same size differ in time, and the tests and the report take some
SEARCH_SHARE = 0.4  # the part of the time that searches get whose length may be chosen


class Fit(NamedTuple):
    """The trainings of a study.

    Attributes:
      random_cells: the random cells for each cell found.
      training_seeds: the trainings of each network.
      epochs: the epochs of each training.
    """

    random_cells: int
    training_seeds: int
    epochs: int


def fit(wanted: Fit, seconds: float, an_epoch: float, found: int, others: int) -> Fit:
    """Chooses the most trainings that fit into the time; the last resort is an epoch for each.

    Args:
      wanted: the trainings without a limit.
      seconds: the time that is left.
      an_epoch: the seconds of an epoch.
      found: the cells found.
      others: the networks beside the cells found and the random cells.
    """
    epochs = seconds / (an_epoch * (1 + MARGIN))

    def count(random: int, seeds: int) -> int:
        return count_trainings(found, random, others, seeds)

    least_random = min(LEAST_RANDOM, wanted.random_cells)
    least_seeds = min(LEAST_SEEDS, wanted.training_seeds)
    choices = itertools.product(
        range(least_random, wanted.random_cells + 1), range(least_seeds, wanted.training_seeds + 1)
    )
    fitting = [pair for pair in choices if count(*pair) * wanted.epochs <= epochs]
    if fitting:
        # As many trainings as possible, and rather more cells than more seeds.
        return Fit(*max(fitting, key=lambda pair: (count(*pair), pair)), wanted.epochs)
    shorter = int(epochs / count(least_random, least_seeds))
    return Fit(least_random, least_seeds, min(wanted.epochs, max(1, shorter)))


def describe(wanted: Fit, chosen: Fit) -> str:
    """Says in one line what was chosen."""
    if chosen == wanted:
        return "study.minutes: all trainings fit into the time"
    names = ("random cells for each cell found", "training seeds", "epochs")
    parts = (
        f"{now} of {before} {name}"
        for name, before, now in zip(names, wanted, chosen, strict=True)
        if now != before
    )
    return f"study.minutes: to fit into the time, {', '.join(parts)}"


def count_trainings(found: int, random: int, others: int, seeds: int) -> int:
    """Counts the trainings of a study: of the cells found, `random` cells for each, and other networks."""
    return seeds * (found * (1 + random) + others)
