"""Trains cells in a process that Ray has started."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from nge_jax.data.small import ArrayDataset
from nge_jax.devices import parallel
from nge_jax.devices.compilation_cache import use_compilation_cache
from nge_jax.devices.parallel import in_32_bits
from nge_jax.space import architecture, genotype
from nge_jax.train.step import TrainState
from nge_jax.trials import ledger as trial_ledger
from nge_jax.trials.build import rebuild
from nge_jax.trials.ledger import Job, Ledger
from nge_jax.trials.state import State
from nge_jax.trials.trainer import Trainer


class Worker:
    """Trains a leg of a cell's training at a time, by the programs of a search without Ray.

    Args:
      settings: the values of the search's config, as the plan records them.
    """

    def __init__(self, settings: Mapping[str, Any]):
        # The search's process may hold most of a GPU's memory.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        use_compilation_cache()
        self._settings = settings
        self._made: Trainer | None = None

    def _make(self, data: ArrayDataset) -> None:
        """Makes what trains, at the first call in this process."""
        if self._made is None:
            self._plan = rebuild(self._settings, data)
            self._made = Trainer(self._plan)

    @property
    def _trainer(self) -> Trainer:
        assert self._made is not None, "every call has made it"
        return self._made

    @in_32_bits
    def compile(self, data: ArrayDataset) -> None:
        """Compiles the programs, before the first cell; `data`: the images of the search."""
        self._make(data)
        space = self._plan.search.space
        cell = architecture.from_genotype(genotype.random_genotype(0, space), space)
        ledger = self._ledger(Job(0, 0, 0), cell)
        self._trainer.compile(self._state(ledger, self._trainer.first_training(ledger)))

    @in_32_bits
    def train(
        self, data: ArrayDataset, job: Job, cell: np.ndarray, start: TrainState | None
    ) -> tuple[TrainState, float]:
        """Trains a job's leg.

        Args:
          data: the images of the search.
          job: the job.
          cell: the cell, int32 [2, 14].
          start: the training that goes on; None for a training from scratch.

        Returns:
          The training at the end of the leg, and the accuracy on the validation half.
        """
        self._make(data)
        ledger = self._ledger(job, cell)
        trial = self._trainer.first_training(ledger) if start is None else start
        for unit in range(job.units(self._plan.halving)):
            trial = self._train_unit(ledger._replace(units=np.int32(unit)), trial)
        trial = jax.device_get(trial)
        return trial, self._trainer.accuracy(trial, ledger)

    def _ledger(self, job: Job, cell: np.ndarray) -> Ledger:
        """Makes a ledger that has one cell, with the shapes of the search's."""
        ledger = trial_ledger.new_ledger(self._plan.halving, self._plan.search.space)
        ledger.cells[job.trial] = cell
        return ledger._replace(job=np.array(job, np.int32))

    def _state(self, ledger: Ledger, trial: TrainState) -> State:
        searcher = self._plan.strategy.init(self._plan.keys().ask)  # no program reads it
        return parallel.replicated(State(np.int32(0), trial, searcher, ledger))

    def _train_unit(self, ledger: Ledger, trial: TrainState) -> TrainState:
        state = self._state(ledger, trial)
        steps = self._plan.halving.unit * self._plan.rating.steps_per_epoch
        for work, first, last in self._trainer.work(state, [(0, steps)]):
            state = self._trainer.train(state, work, self._trainer.key, first, last)
        return state.trial
