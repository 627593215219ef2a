"""Trains cells on the devices of this process, and rates them. It takes no decision."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nge_jax.data import order as data_order
from nge_jax.data import source
from nge_jax.devices import finite, parallel
from nge_jax.devices.parallel import Batches
from nge_jax.networks.any_cell import EDGES, GenotypeArrays, as_arrays
from nge_jax.networks.network import Network
from nge_jax.networks.weights_of_any_cell import edge_counter
from nge_jax.runtime.loop import Span, Work
from nge_jax.space import architecture, genotype
from nge_jax.train.evaluate import means, score_all
from nge_jax.train.step import TrainState, averaged
from nge_jax.trials.ledger import Ledger, current_job
from nge_jax.trials.plan import Trials
from nge_jax.trials.programs import Leg, Programs, make_programs, padded
from nge_jax.trials.state import State


class Trainer:
    """Trains the cell of the ledger's job.

    Args:
      plan: the plan.
    """

    def __init__(self, plan: Trials):
        self._plan = plan
        self._space = plan.search.space
        self.programs: Programs = make_programs(plan.rating.training, self._network)
        self._keys = plan.keys()
        self._count_edges = edge_counter(plan.rating.training.model.plan, self._space)

    def _network(self, cell: GenotypeArrays) -> Network:
        return self._plan.rating.training.model.clone(genotype=cell, space=self._space)

    def compile(self, state: State) -> None:
        """Compiles what trains and what rates a cell."""
        work, *_ = next(self.work(state, [(0, 1)]))
        # A program takes its state's memory, and running no step compiles it.
        copy = jax.tree.map(jnp.copy, state)
        jax.block_until_ready(self.train(copy, work, self.key, 0, 0))
        ledger, trial = jax.device_get((state.ledger, state.trial))
        self.accuracy(trial, ledger)

    def train(self, state: State, work: Any, key: jax.Array, start: int, stop: int) -> State:
        """Runs the steps start..stop-1 of the state's unit."""
        trial = self.programs.train(state.trial, work, key, start, stop)
        return state._replace(step=state.step + np.int32(stop - start), trial=trial)

    @functools.cached_property
    def key(self) -> jax.Array:
        """The key of the trainings' random choices, on every device."""
        return parallel.replicated(self._keys.train)

    @functools.cached_property
    def _images(self) -> tuple[Any, Any]:
        images = self._plan.search.images
        arrays = images.data.train_images, images.data.train_labels
        return arrays if images.stream else parallel.replicated(arrays)

    def first_training(self, ledger: Ledger) -> TrainState:
        """Makes the state before the first step of the ledger's job."""
        return self.programs.init(self._keys.init, self._leg(ledger))

    def work(self, state: State, spans: Sequence[Span]) -> Iterator[Work]:
        """Returns the work of each dispatch of the state's unit; the state is not read later."""
        ledger = jax.device_get(state.ledger)
        leg, batches = parallel.replicated(self._leg(ledger)), self._batches(ledger)
        rows = self._plan.search.images.stream
        if rows:
            return (
                ((source.gathered(batches, first, last, rows), leg), 0, last - first)
                for first, last in spans
            )
        return (((batches, leg), first, last) for first, last in spans)

    def _leg(self, ledger: Ledger) -> Leg:
        """Makes the program's argument that stands for the ledger's job."""
        job = current_job(ledger)
        arrays, number = self._arrays(ledger.cells[job.trial]), np.int32(job.seed)
        return Leg(arrays, self._plan.rating.arguments[job.rung], number)

    def _arrays(self, cell: np.ndarray) -> GenotypeArrays:
        return as_arrays(architecture.to_genotype(cell, self._space), self._space)

    def _batches(self, ledger: Ledger) -> Batches:
        """Draws the images of the ledger's unit, as this process's part."""
        plan, halving, job = self._plan, self._plan.halving, current_job(ledger)
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
        order = order if plan.search.images.stream else padded(order)
        images, labels = self._images
        return Batches(images, labels, order)

    def accuracy(self, trial: TrainState, ledger: Ledger) -> float:
        """Computes the accuracy on the validation half of a training of the ledger's job."""
        training = self._plan.rating.training
        images = training.source.held_out(
            "validation", training.eval_batch_size * jax.device_count()
        )
        score = functools.partial(self.programs.score, parallel.replicated(self._leg(ledger)))
        replica = parallel.replicated(averaged(trial))
        scores = score_all(score, replica, images, training.source.examples["validation"])
        return means(scores).accuracy

    def parameters(self, cell: np.ndarray) -> int:
        """Counts the parameters of the network of a cell [2, 14]."""
        return self._count_edges(self._arrays(cell)) + self._other_parameters

    @functools.cached_property
    def _other_parameters(self) -> int:
        """Counts the parameters that the networks of all cells have in common."""
        first = as_arrays(genotype.random_genotype(0, self._space), self._space)
        leg = Leg(first, self._plan.rating.arguments[0], np.int32(0))
        shapes = jax.eval_shape(self.programs.init, self._keys.init, leg).params
        leaves = jax.tree_util.tree_leaves_with_path(shapes)
        return sum(
            leaf.size for path, leaf in leaves if f"'{EDGES}'" not in jax.tree_util.keystr(path)
        )


def rating_of(trial: TrainState, accuracy: float) -> tuple[float, bool]:
    """Returns the rating of a training, and whether the training has diverged; its rating is 0 then."""
    diverged = finite.find_not_finite(trial.params) is not None
    return (0.0 if diverged else accuracy), diverged
