"""The cells of a search by trials with their ratings, and the decision on the next training. No jax.

Cells are rated by successive halving (Jamieson and Talwalkar, AISTATS 2016):

    every cell is trained to the first rung's epochs
    the best third is trained on to the next rung's epochs, the best third of these further, and so on
    where several workers train, a free worker does not wait until all cells of a rung are rated
    the best cells of the last rung are trained again, from scratch, with other seeds

The ledger is a tree of arrays and a part of the run's state. The next job follows from it alone, so that a resumed run
takes the same decisions.
"""

import itertools
import math
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np

from nge_jax.space.spaces import DARTS, Space

DIVISOR = 3  # one cell in so many goes on to the next rung
NO_JOB = np.array([-1, 0, 0], np.int32)  # stands for the job of a search that has ended


class Halving(NamedTuple):
    """The rules by which cells are rated.

    Attributes:
        cells: how many cells are trained.
        rungs: the epochs of a cell's training at which it is rated, ascending.
        finalists: how many cells of the last rung are trained again.
        seeds: how many more seeds the finalists are trained with.
    """

    cells: int
    rungs: tuple[int, ...]
    finalists: int
    seeds: int

    @property
    def unit(self) -> int:
        """The number of epochs that divides every leg: the loop's epoch."""
        legs = [end - begin for begin, end in itertools.pairwise((0, *self.rungs))]
        return math.gcd(*legs)

    def count_on(self, cells: int, rung: int) -> int:
        """Counts the cells that reach a rung if `cells` are trained; the rung after the last is for the finalists."""
        for _ in range(min(rung, len(self.rungs) - 1)):
            cells = max(1, cells // DIVISOR)
        return min(cells, self.finalists) if rung == len(self.rungs) else cells

    def epochs_after_asking(self, cells: int) -> int:
        """Counts the epochs that are left when `cells` have reached the first rung."""
        later = enumerate(itertools.pairwise(self.rungs), 1)
        on = sum(self.count_on(cells, rung) * (end - begin) for rung, (begin, end) in later)
        again = self.count_on(cells, len(self.rungs)) * self.seeds
        return on + again * self.rungs[-1]

    def epochs(self, cells: int) -> int:
        """Counts the epochs of a search that trains `cells`."""
        return cells * self.rungs[0] + self.epochs_after_asking(cells)


class Ledger(NamedTuple):
    """The cells and their ratings; NaN where a cell has none.

    Attributes:
        cells: int32 [cells, 2, 14], architectures in the order in which they were asked for.
        ratings: float32 [cells, rungs], accuracies on the validation half.
        predicted: float32 [cells], a prediction of the first rating; NaN where nothing predicted.
        parameters: int32 [cells], the parameters of each cell's network.
        again: float32 [cells, seeds], the accuracies with other seeds.
        count: how many cells there are.
        asked: how often a cell was asked for; cells that are equal to an earlier one count too.
        is_full: 1 when no more cells are asked for.
        job: int32 [3], the trial, the rung and the seed of the job that runs.
        units: how many units of the job are done.
        seconds: the time of the run.
    """

    cells: np.ndarray
    ratings: np.ndarray
    predicted: np.ndarray
    parameters: np.ndarray
    again: np.ndarray
    count: Any
    asked: Any
    is_full: Any
    job: np.ndarray
    units: Any
    seconds: Any


class Job(NamedTuple):
    """A leg of a cell's training.

    Attributes:
        trial: the cell's number in the ledger.
        rung: the rung that the leg leads to.
        seed: 0, or the number of the seed with which a finalist is trained again from scratch.
    """

    trial: int
    rung: int
    seed: int

    def begin(self, halving: Halving) -> int:
        """Counts the epochs before the leg."""
        return 0 if self.seed or not self.rung else halving.rungs[self.rung - 1]

    def units(self, halving: Halving) -> int:
        """Counts the leg's units."""
        return (halving.rungs[self.rung] - self.begin(halving)) // halving.unit


def new_ledger(halving: Halving, space: Space = DARTS) -> Ledger:
    """Makes a ledger without cells."""
    cells, zero = halving.cells, np.zeros((), np.int32)

    def unknown(*shape):
        return np.full(shape, np.nan, np.float32)

    return Ledger(
        cells=np.zeros((cells, *space.shape[:2]), np.int32),
        ratings=unknown(cells, len(halving.rungs)),
        predicted=unknown(cells),
        parameters=np.zeros(cells, np.int32),
        # An array without elements cannot be saved.
        again=unknown(cells, max(1, halving.seeds)),
        count=zero,
        asked=zero,
        is_full=zero,
        job=np.zeros(3, np.int32),
        units=zero,
        seconds=np.zeros((), np.float32),
    )


def current_job(ledger: Ledger) -> Job:
    """Returns the job that runs."""
    return Job(*map(int, ledger.job))


def has_ended(ledger: Ledger) -> bool:
    """Tells whether no job is left."""
    return int(ledger.job[0]) == NO_JOB[0]


def next_job(ledger: Ledger, halving: Halving, running: Collection[Job] = ()) -> Job | None:
    """Returns the next job of the cells that the ledger has, beside those that run now.

    None is returned if all are done, if a cell is to be asked for, or if others have to end first.
    """
    return next((job for job in _open_jobs(ledger, halving, running) if job not in running), None)


def _open_jobs(ledger: Ledger, halving: Halving, running: Collection[Job]) -> Iterator[Job]:
    count, last = int(ledger.count), len(halving.rungs) - 1
    for trial in np.flatnonzero(np.isnan(ledger.ratings[:count, 0])):
        yield Job(int(trial), 0, 0)
    if not ledger.is_full:
        return
    for rung in range(1, last + 1):
        ratings = ledger.ratings[:, rung - 1]
        on = halving.count_on(count, rung)
        if any(job.rung < rung for job in running):
            # Asynchronous successive halving (Li et al., MLSys 2020): the best third of those that are rated goes on.
            on = min(on, int((~np.isnan(ratings)).sum()) // DIVISOR)
        for trial in best(ratings, on):
            if np.isnan(ledger.ratings[trial, rung]):
                yield Job(trial, rung, 0)
    if any(not job.seed for job in running):
        return
    for seed, trial in itertools.product(range(1, halving.seeds + 1), finalists(ledger, halving)):
        if np.isnan(ledger.again[trial, seed - 1]):
            yield Job(trial, last, seed)


def needed(ledger: Ledger, halving: Halving) -> set[tuple[int, int]]:
    """Returns the trainings, as (trial, rung), with which the rest of the search may go on, or may end.

    A cell's place among the cells of a rung only gets worse as more of them are rated. Therefore a training is of no
    use once the place does not reach the next rung. It is of no use either once the cell is rated there.
    """
    count = int(ledger.count) if ledger.is_full else halving.cells
    left = {(trial, len(halving.rungs) - 1) for trial in _best_of_all(ledger, halving, count)}
    for rung in range(len(halving.rungs) - 1):
        for trial in best(ledger.ratings[:, rung], halving.count_on(count, rung + 1)):
            if np.isnan(ledger.ratings[trial, rung + 1]):
                left.add((trial, rung))
    return left


def count_needed(halving: Halving) -> int:
    """Counts the most trainings that are needed at once."""
    return max(halving.count_on(halving.cells, rung + 1) for rung in range(len(halving.rungs)))


def finalists(ledger: Ledger, halving: Halving) -> list[int]:
    """Lists the trials that are trained again, the best first."""
    return _best_of_all(ledger, halving, int(ledger.count))


def _best_of_all(ledger: Ledger, halving: Halving, count: int) -> list[int]:
    """Lists the best trials of the last rung, as many as are trained again if there are `count` cells."""
    return best(ledger.ratings[:, -1], halving.count_on(count, len(halving.rungs)))


def best(ratings: np.ndarray, number: int) -> list[int]:
    """Lists the `number` trials with the largest ratings, the best first; trials without a rating do not count."""
    order = np.argsort(-np.nan_to_num(ratings, nan=-1.0), kind="stable")
    return [int(trial) for trial in order[:number] if not np.isnan(ratings[trial])]


def final_accuracies(ledger: Ledger, halving: Halving) -> tuple[list[int], np.ndarray]:
    """Returns the finalists, and their accuracies [finalists, 1 + seeds] with all seeds."""
    trials = finalists(ledger, halving)
    again = ledger.again[trials, : halving.seeds]
    return trials, np.concatenate([ledger.ratings[trials, -1:], again], axis=1)


def rate(ledger: Ledger, job: Job, accuracy: float) -> Ledger:
    """Returns the ledger with a job's accuracy."""
    ratings, again = ledger.ratings.copy(), ledger.again.copy()
    if job.seed:
        again[job.trial, job.seed - 1] = accuracy
    else:
        ratings[job.trial, job.rung] = accuracy
    return ledger._replace(ratings=ratings, again=again)


def add(ledger: Ledger, cell: np.ndarray, predicted: float, parameters: int) -> Ledger:
    """Returns the ledger with one more cell [2, 14]."""
    count = int(ledger.count)
    cells, predictions = ledger.cells.copy(), ledger.predicted.copy()
    counts = ledger.parameters.copy()
    cells[count], predictions[count], counts[count] = cell, predicted, parameters
    return ledger._replace(
        cells=cells, predicted=predictions, parameters=counts, count=np.int32(count + 1)
    )
