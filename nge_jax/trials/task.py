"""A search by trials as the loop runs it (`runtime.loop.Task`).

An epoch of the loop is a unit: as many epochs of a cell's training as divide the length between any two rungs. When a
unit ends a job, the cell is rated, and the next job begins: another cell, or a kept training that goes on.
"""

import functools
import math
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nge_jax.devices import distributed, parallel
from nge_jax.runtime.loop import EpochEnd, Phase, Program, Task
from nge_jax.space import architecture
from nge_jax.space.budget.relative import draw_within
from nge_jax.train.step import TrainState
from nge_jax.trials import ledger as trial_ledger
from nge_jax.trials import record as trial_record
from nge_jax.trials import state as trial_state
from nge_jax.trials.equal_cells import canonical_form
from nge_jax.trials.ledger import NO_JOB, Job, Ledger, current_job
from nge_jax.trials.plan import Trials
from nge_jax.trials.result import write_history
from nge_jax.trials.state import State
from nge_jax.trials.trainer import Trainer, rating_of

# How often a strategy may ask for a known cell before a random cell takes the place.
REPEATS = 100


class Director:
    """Takes the decisions between two jobs, on the host. All of them follow from the state and the plan.

    Args:
      plan: the plan.
      workdir: the folder of the kept trainings.
    """

    def __init__(self, plan: Trials, workdir: Path):
        self.plan, self._workdir = plan, workdir
        self.trainer = Trainer(plan)
        self._collector = trial_state.Collector(workdir)
        self._key = plan.keys().ask
        strategy = plan.strategy
        self._ask, self._tell = jax.jit(strategy.ask), jax.jit(strategy.tell)
        self._predict = None if strategy.predict is None else jax.jit(strategy.predict)
        self._began = time.monotonic()

    def first_state(self) -> State:
        """Makes the state before the first step: the strategy has asked for one cell."""
        searcher = self.plan.strategy.init(self._key)
        ledger = trial_ledger.new_ledger(self.plan.halving, self.plan.search.space)
        ledger, searcher = self._add_cell(ledger, searcher)
        return parallel.replicated(
            State(np.int32(0), self.trainer.first_training(ledger), searcher, ledger)
        )

    def compile(self, state: State) -> None:
        """Compiles what the strategy learns by."""
        ledger, searcher = jax.device_get((state.ledger, state.searcher))
        self._tell(searcher, ledger.cells[:1], np.zeros(1, np.float32))

    def clock(self, ledger: Ledger) -> Ledger:
        """Adds the time since the last call to the ledger's, where the time decides something."""
        now, began = time.monotonic(), self._began
        self._began = now
        if not self.plan.minutes:
            return ledger
        # All processes take the same decisions.
        return ledger._replace(seconds=ledger.seconds + distributed.of_first(now - began))

    def end_job(
        self, job: Job, ledger: Ledger, searcher: Any, trial: TrainState, accuracy: float
    ) -> tuple[Ledger, Any]:
        """Rates a job that has ended, keeps the training, and tells the strategy the first rating."""
        ledger = trial_ledger.rate(ledger, job, accuracy)
        if not job.seed and distributed.is_first():
            trial_state.keep(trial_state.place(self._workdir, job.trial, job.rung), trial)
        distributed.wait_for_all("the training is kept")
        if not job.seed and not job.rung:
            rewards = np.array([accuracy], np.float32)
            searcher = self._tell(searcher, ledger.cells[job.trial][None], rewards)
        return ledger, searcher

    def next_job(
        self, ledger: Ledger, searcher: Any, running: Collection[Job] = ()
    ) -> tuple[Job | None, Ledger, Any]:
        """Chooses the job that begins now, beside those that run; asks for a cell if one more may be trained.

        Returns:
          The job, or None if none can begin before another ends; the ledger; the strategy's state.
        """
        job = trial_ledger.next_job(ledger, self.plan.halving, running)
        if job is not None or ledger.is_full:
            return job, ledger, searcher
        if self._may_ask(ledger):
            ledger, searcher = self._add_cell(ledger, searcher)
        else:
            ledger = ledger._replace(is_full=np.int32(1))
        return trial_ledger.next_job(ledger, self.plan.halving, running), ledger, searcher

    def kept(self, job: Job, template: TrainState) -> TrainState:
        """Reads the training with which a job goes on."""
        path = trial_state.place(self._workdir, job.trial, job.rung - 1)
        return trial_state.kept(path, template)

    def collect(self, ledger: Ledger, step: int) -> None:
        """Removes kept trainings that no checkpoint leads to; `step` is the state's."""
        if distributed.is_first():
            self._collector.collect(trial_ledger.needed(ledger, self.plan.halving), step)

    def _may_ask(self, ledger: Ledger) -> bool:
        """Tells whether one more cell may be trained, and the rest then be done within the time."""
        count, halving = int(ledger.count), self.plan.halving
        if ledger.is_full or count == halving.cells:
            return False
        if not self.plan.minutes:
            return True
        # Every cell has been trained to the first rung, or is trained now.
        an_epoch = float(ledger.seconds) / (count * halving.rungs[0])
        left = halving.rungs[0] + halving.epochs_after_asking(count + 1)
        return ledger.seconds + left * an_epoch <= 60 * self.plan.minutes

    def _add_cell(self, ledger: Ledger, searcher: Any) -> tuple[Ledger, Any]:
        """Asks the strategy for a cell that has not been trained; a known cell's rating is told at once.

        A cell beyond the limits is not trained, and its rating is 0. Only reinforce asks for such cells.
        """
        cells = ledger.cells[: int(ledger.count)]
        to_genotype = functools.partial(architecture.to_genotype, space=self.plan.search.space)
        known = {canonical_form(to_genotype(cell)): n for n, cell in enumerate(cells)}
        repeats = 0
        while True:
            key = jax.random.fold_in(self._key, int(ledger.asked))
            ledger = ledger._replace(asked=np.int32(ledger.asked + 1))
            asked = self._ask(searcher, key) if repeats < REPEATS else self._random_cell(key)
            cell, repeats = np.asarray(asked[0]), repeats + 1
            if (budget := self.plan.search.budget) is not None and not budget.allows(cell):
                searcher = self._tell(searcher, asked, np.zeros(1, np.float32))
                continue
            trial = known.get(canonical_form(to_genotype(cell)))
            if trial is None:
                predicted = math.nan
                if self._predict is not None:
                    predicted = float(self._predict(searcher, cell))
                parameters = self.trainer.parameters(cell)
                return trial_ledger.add(ledger, cell, predicted, parameters), searcher
            if not np.isnan(ledger.ratings[trial, 0]):  # a worker may still train the cell
                searcher = self._tell(searcher, asked, ledger.ratings[trial, :1])

    def _random_cell(self, key: jax.Array) -> jax.Array:
        """Draws a cell [1, 2, 14] uniformly, within the limits."""
        space = self.plan.search.space

        def draw(key):
            return architecture.sample(key, architecture.uniform(space), space)

        return draw_within(draw, key, self.plan.search.arguments.costs, space)[None]


def end_unit(director: Director, state: State) -> tuple[State, dict[str, Any], list[str]]:
    """Rates the cell if its job has ended, and begins the next job.

    Returns:
      The state of the next unit, the row and notes.
    """
    state = jax.device_get(state)
    ledger = director.clock(state.ledger)
    ledger = ledger._replace(units=ledger.units + 1)
    job, halving = current_job(ledger), director.plan.halving
    accuracy, diverged = rating_of(state.trial, director.trainer.accuracy(state.trial, ledger))
    row = trial_record.make_row(ledger, job, halving, state.trial, accuracy)
    notes = [trial_record.diverged_line(job)] * diverged
    state = state._replace(ledger=ledger)
    if int(ledger.units) == job.units(halving):
        state = _begin_next(director, state, job, accuracy)
    director.collect(state.ledger, int(state.step))
    return parallel.replicated(state), row, notes


def _begin_next(director: Director, state: State, job: Job, accuracy: float) -> State:
    """Ends a job and begins the next one."""
    ended = director.end_job(job, state.ledger, state.searcher, state.trial, accuracy)
    following, ledger, searcher = director.next_job(*ended)
    begun = NO_JOB if following is None else np.array(following, np.int32)
    ledger, trial = ledger._replace(job=begun, units=np.int32(0)), state.trial
    if following is not None:
        goes_on = following.begin(director.plan.halving)
        trial = (
            director.kept(following, trial) if goes_on else director.trainer.first_training(ledger)
        )
    return State(np.int32(state.step), trial, searcher, ledger)


def make_task(plan: Trials, path: Path) -> Task:
    """Makes the task that the loop runs, in the workdir `path`."""
    director = Director(plan, path)
    trainer = director.trainer
    unit_steps = plan.halving.unit * plan.rating.steps_per_epoch

    def end_epoch(epoch, step, state):
        del epoch, step
        state, row, notes = end_unit(director, state)
        if distributed.is_first():
            write_history(plan, jax.device_get(state.ledger), path)
        return EpochEnd(state, row, notes=notes)

    def compile_all(state: State) -> Sequence[Program]:
        trainer.compile(state)
        director.compile(state)
        return [trainer.train]

    return as_task(
        director,
        phases=(Phase("", trainer.train, unit_steps),),
        total_steps=plan.halving.epochs(plan.halving.cells) * plan.rating.steps_per_epoch,
        batch_size=plan.rating.training.batch_size,
        batches=lambda epoch, name, spans, state: trainer.work(state, spans),
        end_epoch=end_epoch,
        compile=compile_all,
    )


def as_task(director: Director, **fields: Any) -> Task:
    """Makes the task of a search; `fields`: what one process and workers do otherwise, `compile` among it.

    All is compiled before the clock of the first cell starts.
    """
    plan = director.plan
    return Task(
        state=director.first_state(),
        key=director.trainer.key,
        columns=trial_record.COLUMNS,
        save_epochs=True,
        # A cell whose training diverges is rated 0, and the search goes on.
        must_be_finite=lambda state: (),
        ended=lambda state: trial_ledger.has_ended(state.ledger),
        settings={**plan.search.settings, "recipe": plan.rating.recipe},
        visible=lambda state: state.trial,
        **fields,
    )
