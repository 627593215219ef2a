"""A search by trials as the loop runs it (`runtime.loop.Task`), and its result.

An epoch of the loop is a unit: as many epochs of a cell's training as divide the length between any two rungs. When a
unit ends a job, the cell is rated, and the next job begins: another cell, or a kept training that goes on.
"""

import functools
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nge_jax.data import order as data_order
from nge_jax.data import source
from nge_jax.devices import distributed, finite, parallel
from nge_jax.devices.parallel import Batches
from nge_jax.networks.any_cell import EDGES, as_arrays
from nge_jax.networks.weights_of_any_cell import edge_counter
from nge_jax.runtime.loop import EpochEnd, Phase, Program, Span, Task, Work
from nge_jax.space import architecture, genotype
from nge_jax.space.spaces import DARTS
from nge_jax.train.evaluate import means, score_all
from nge_jax.train.step import TrainState
from nge_jax.trials import ledger as trial_ledger
from nge_jax.trials import record as trial_record
from nge_jax.trials import state as trial_state
from nge_jax.trials.equal_cells import canonical_form
from nge_jax.trials.ledger import Job, Ledger, current_job
from nge_jax.trials.plan import Trials
from nge_jax.trials.programs import Leg, Programs, make_programs
from nge_jax.trials.result import write_history
from nge_jax.trials.state import State

# How often a strategy may ask for a known cell before a random cell takes the place.
REPEATS = 100
NO_JOB = np.array([-1, 0, 0], np.int32)  # at the end


class Trainer:
    """Takes the decisions between two units, on the host. All of them follow from the state and the plan.

    Args:
      plan: the plan.
      workdir: the folder of the kept trainings.
    """

    def __init__(self, plan: Trials, workdir: Path):
        self.plan, self._workdir = plan, workdir
        self._collector = trial_state.Collector(workdir)
        self.programs: Programs = make_programs(plan.rating.training)
        self._keys = plan.keys()
        strategy = plan.strategy
        self._ask, self._tell = jax.jit(strategy.ask), jax.jit(strategy.tell)
        self._predict = None if strategy.predict is None else jax.jit(strategy.predict)
        images = plan.search.images.data.train_images, plan.search.images.data.train_labels
        self._images = images if plan.search.images.stream else parallel.replicated(images)
        self._count_edges = edge_counter(plan.rating.training.model.plan)
        self._began = time.monotonic()

    def first_state(self) -> State:
        """Makes the state before the first step: the strategy has asked for one cell."""
        searcher = self.plan.strategy.init(self._keys.ask)
        ledger = trial_ledger.new_ledger(self.plan.halving)
        ledger, searcher = self._add_cell(ledger, searcher)
        return self._state(0, self._first_training(ledger), searcher, ledger)

    def compile(self, state: State, key: jax.Array) -> Sequence[Program]:
        """Compiles what trains and what rates a cell, before the clock of the first cell starts."""
        work, *_ = next(self.work(state, [(0, 1)]))
        # A program takes its state's memory, and running no step compiles it.
        copy = jax.tree.map(jnp.copy, state)
        jax.block_until_ready(self.programs.train(copy, work, key, 0, 0))
        ledger, trial, searcher = jax.device_get((state.ledger, state.trial, state.searcher))
        self._accuracy(trial, ledger)
        self._tell(searcher, ledger.cells[:1], np.zeros(1, np.float32))
        return [self.programs.train]

    def work(self, state: State, spans: Sequence[Span]) -> Iterator[Work]:
        """Returns the work of each dispatch of the state's unit; the state is not read later."""
        ledger = jax.device_get(state.ledger)
        leg, batches = parallel.replicated(self.leg(ledger)), self.batches(ledger)
        rows = self.plan.search.images.stream
        if rows:
            return (
                ((source.gathered(batches, first, last, rows), leg), 0, last - first)
                for first, last in spans
            )
        return (((batches, leg), first, last) for first, last in spans)

    def leg(self, ledger: Ledger) -> Leg:
        """Makes the program's argument that stands for the ledger's job."""
        job = current_job(ledger)
        cell = architecture.to_genotype(ledger.cells[job.trial])
        return Leg(as_arrays(cell), self.plan.rating.arguments[job.rung], np.int32(job.seed))

    def batches(self, ledger: Ledger) -> Batches:
        """Draws the images of the ledger's unit, as this process's part."""
        plan, halving, job = self.plan, self.plan.halving, current_job(ledger)
        first = job.begin(halving) + int(ledger.units) * halving.unit
        orders = [
            data_order.epoch_order(
                # All cells see the same images in the same order.
                plan.search.seed + job.seed,
                epoch,
                len(plan.half),
                plan.rating.steps_per_epoch,
                plan.rating.training.batch_size,
            )
            for epoch in range(first, first + halving.unit)
        ]
        order = parallel.by_device(plan.half[np.concatenate(orders)])
        images, labels = self._images
        return Batches(images, labels, order)

    def end_unit(self, state: State) -> tuple[State, dict[str, Any], list[str]]:
        """Rates the cell if its job has ended, and begins the next job.

        Returns:
          The state of the next unit, the row and notes.
        """
        state = jax.device_get(state)
        now = time.monotonic()
        seconds = np.zeros((), np.float32)
        if self.plan.minutes:  # all processes take the same decisions
            seconds = distributed.of_first(now - self._began)
        self._began = now
        ledger = state.ledger._replace(
            units=state.ledger.units + 1, seconds=state.ledger.seconds + seconds
        )
        job, halving = current_job(ledger), self.plan.halving
        accuracy, notes = self._accuracy(state.trial, ledger), []
        if finite.find_not_finite(state.trial.params) is not None:
            accuracy, notes = 0.0, [f"cell {job.trial} has diverged and is rated 0"]
        ended = int(ledger.units) == job.units(halving)
        if ended:
            ledger = trial_ledger.rate(ledger, job, accuracy)
        row = trial_record.make_row(ledger, job, halving, state.trial, accuracy)
        trial, searcher = state.trial, state.searcher
        if ended:
            trial, searcher, ledger = self._next(job, trial, searcher, ledger, accuracy)
        if distributed.is_first():
            self._collector.collect(trial_ledger.needed(ledger, halving), int(state.step))
        return self._state(state.step, trial, searcher, ledger), row, notes

    def _next(self, job, trial, searcher, ledger, accuracy):
        """Keeps the training, tells the strategy the first rating, and begins the next job."""
        if not job.seed and distributed.is_first():
            trial_state.keep(trial_state.place(self._workdir, job.trial, job.rung), trial)
        distributed.wait_for_all("the training is kept")
        if not job.seed and not job.rung:
            searcher = self._tell(
                searcher, ledger.cells[job.trial][None], np.array([accuracy], np.float32)
            )
        if self._may_ask(ledger):
            ledger, searcher = self._add_cell(ledger, searcher)
            following = Job(int(ledger.count) - 1, 0, 0)
        else:
            ledger = ledger._replace(is_full=np.int32(1))
            following = trial_ledger.next_job(ledger, self.plan.halving)
        if following is None:
            return trial, searcher, ledger._replace(job=NO_JOB, units=np.int32(0))
        ledger = ledger._replace(job=np.array(following, np.int32), units=np.int32(0))
        if following.begin(self.plan.halving):
            path = trial_state.place(self._workdir, following.trial, following.rung - 1)
            return trial_state.kept(path, trial), searcher, ledger
        return self._first_training(ledger), searcher, ledger

    def _first_training(self, ledger: Ledger) -> TrainState:
        """Makes the state before the first step of the ledger's job."""
        return self.programs.init(self._keys.init, self.leg(ledger))

    def _may_ask(self, ledger: Ledger) -> bool:
        """Tells whether one more cell may be trained, and the rest then be done within the time."""
        count, halving = int(ledger.count), self.plan.halving
        if ledger.is_full or count == halving.cells:
            return False
        if not self.plan.minutes:
            return True
        # Every cell has been trained to the first rung.
        an_epoch = float(ledger.seconds) / (count * halving.rungs[0])
        left = halving.rungs[0] + halving.epochs_after_asking(count + 1)
        return ledger.seconds + left * an_epoch <= 60 * self.plan.minutes

    def _add_cell(self, ledger: Ledger, searcher: Any) -> tuple[Ledger, Any]:
        """Asks the strategy for a cell that has not been trained; a known cell's rating is told at once."""
        cells = ledger.cells[: int(ledger.count)]
        known = {canonical_form(architecture.to_genotype(cell)): n for n, cell in enumerate(cells)}
        repeats = 0
        while True:
            key = jax.random.fold_in(self._keys.ask, int(ledger.asked))
            ledger = ledger._replace(asked=np.int32(ledger.asked + 1))
            if repeats < REPEATS:
                asked = self._ask(searcher, key)
            else:
                asked = architecture.sample(key, architecture.uniform(DARTS), DARTS)[None]
            cell = np.asarray(asked[0])
            trial = known.get(canonical_form(architecture.to_genotype(cell)))
            if trial is None:
                predicted = math.nan
                if self._predict is not None:
                    predicted = float(self._predict(searcher, cell))
                return trial_ledger.add(ledger, cell, predicted, self._parameters(cell)), searcher
            searcher = self._tell(searcher, asked, ledger.ratings[trial, :1])
            repeats += 1

    def _parameters(self, cell: np.ndarray) -> int:
        """Counts the parameters of the network of a cell [2, 14]."""
        arrays = as_arrays(architecture.to_genotype(cell))
        return self._count_edges(arrays) + self._other_parameters

    @functools.cached_property
    def _other_parameters(self) -> int:
        """Counts the parameters that the networks of all cells have in common."""
        leg = Leg(
            as_arrays(genotype.random_genotype(0)), self.plan.rating.arguments[0], np.int32(0)
        )
        shapes = jax.eval_shape(self.programs.init, self._keys.init, leg).params
        leaves = jax.tree_util.tree_leaves_with_path(shapes)
        return sum(
            leaf.size for path, leaf in leaves if f"'{EDGES}'" not in jax.tree_util.keystr(path)
        )

    def _accuracy(self, trial: TrainState, ledger: Ledger) -> float:
        """Computes the accuracy on the validation half."""
        training = self.plan.rating.training
        images = training.source.held_out(
            "validation", training.eval_batch_size * jax.device_count()
        )
        score = functools.partial(self.programs.score, parallel.replicated(self.leg(ledger)))
        replica = parallel.replicated(trial)
        scores = score_all(score, replica, images, training.source.examples["validation"])
        return means(scores).accuracy

    def _state(self, step: Any, trial: TrainState, searcher: Any, ledger: Ledger) -> State:
        return parallel.replicated(State(np.int32(step), trial, searcher, ledger))


def make_task(plan: Trials, path: Path, start: None) -> Task:
    """Makes the task that the loop runs, in the workdir `path`."""
    del start  # a search begins with random weights
    trainer = Trainer(plan, path)
    key = parallel.replicated(plan.keys().train)
    unit_steps = plan.halving.unit * plan.rating.steps_per_epoch

    def end_epoch(epoch, step, state):
        del epoch, step
        state, row, notes = trainer.end_unit(state)
        if distributed.is_first():
            write_history(plan, jax.device_get(state.ledger), path)
        return EpochEnd(state, row, notes=notes)

    return Task(
        state=trainer.first_state(),
        key=key,
        phases=(Phase("", trainer.programs.train, unit_steps),),
        total_steps=plan.halving.epochs(plan.halving.cells) * plan.rating.steps_per_epoch,
        batch_size=plan.rating.training.batch_size,
        batches=lambda epoch, name, spans, state: trainer.work(state, spans),
        end_epoch=end_epoch,
        columns=trial_record.COLUMNS,
        save_epochs=True,
        compile=lambda state: trainer.compile(state, key),
        # A cell whose training diverges is rated 0, and the search goes on.
        must_be_finite=lambda state: (),
        ended=lambda state: int(state.ledger.job[0]) == NO_JOB[0],
        settings={**plan.search.settings, "recipe": plan.rating.recipe},
        visible=lambda state: state.trial,
    )
