"""Trains a cell from scratch by the program that trains any cell, and asks its network about the test images."""

import itertools
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from nge_jax.devices import finite, parallel
from nge_jax.networks.any_cell import GenotypeArrays
from nge_jax.train.arguments import ProgramArguments
from nge_jax.train.plan import Training
from nge_jax.train.step import TrainState, averaged
from nge_jax.trials.programs import Leg, Programs, padded


class Answers(NamedTuple):
    """The answers of a trained network.

    Attributes:
      right: whether each test image is classified right, bool [images].
      diverged: whether the weights have NaN or infinity.
    """

    right: np.ndarray
    diverged: bool


class Trainer(NamedTuple):
    """Trains networks that differ by the cell and the seed alone.

    Attributes:
      training: the plan of a training; the plan's cell is not read.
      programs: the compiled programs of the plan.
      arguments: the numbers of the training, which have the length, too.
      epochs: the length.
      dispatch: the most steps of a dispatch.
    """

    training: Training
    programs: Programs
    arguments: ProgramArguments
    epochs: int
    dispatch: int

    def leg(self, cell: GenotypeArrays, seed: int) -> Leg:
        """Makes the program's argument that stands for a training."""
        return Leg(cell, self.arguments, np.int32(seed))

    def train(self, cell: GenotypeArrays, seed: int) -> TrainState:
        """Trains a cell from scratch; returns the state after the last step.

        Args:
          cell: the cell.
          seed: decides the first weights, the order of the images and the augmentation.
        """
        # The source has an order for each number of an epoch. No two seeds share a number.
        epochs = range(seed * self.epochs, (seed + 1) * self.epochs)
        leg = self.leg(cell, seed)
        return train_epochs(self.training, self.programs, leg, epochs, self.dispatch)

    def answers(self, cell: GenotypeArrays, seed: int, state: TrainState) -> Answers:
        """Reads the test images once, with the network that `train` has trained."""
        right = right_answers(self.training, self.programs, self.leg(cell, seed), state)
        return Answers(right, finite.find_not_finite(state.params) is not None)

    def compile(self, cell: GenotypeArrays) -> None:
        """Compiles the programs for a cell and any other, by running them on no step and on images of zeros."""
        training, leg = self.training, self.leg(cell, 0)
        state, key, leg = _begin(self.programs, leg)
        batches, *_ = next(_batches(training, 0, self.dispatch))
        state = self.programs.train(state, (batches, leg), key, 0, 0)
        shape = jax.local_device_count(), training.eval_batch_size, *training.source.spec.shape
        images = parallel.divided(np.zeros(shape, np.uint8))
        jax.block_until_ready(self.programs.answer(leg, state.params, state.batch_stats, images))

    def time_an_epoch(self, cell: GenotypeArrays) -> float:
        """Measures the seconds of an epoch of a cell's training, after the programs are compiled."""
        self.compile(cell)
        began, leg = time.monotonic(), self.leg(cell, 0)
        jax.block_until_ready(
            train_epochs(self.training, self.programs, leg, range(1), self.dispatch)
        )
        return time.monotonic() - began


def train_epochs(
    training: Training, programs: Programs, leg: Leg, epochs: range, dispatch: int
) -> TrainState:
    """Trains a cell from scratch.

    Args:
      training: the plan of the training.
      programs: the compiled programs of the plan, or of a plan that differs by its seed alone.
      leg: the cell, the numbers of the training and its seed.
      epochs: the numbers of the epochs, from which the source draws the order of the images.
      dispatch: the most steps of a dispatch.
    """
    state, key, leg = _begin(programs, leg)
    for epoch in epochs:
        for batches, first, last in _batches(training, epoch, dispatch):
            state = programs.train(state, (batches, leg), key, first, last)
    return state


def right_answers(
    training: Training, programs: Programs, leg: Leg, state: TrainState
) -> np.ndarray:
    """Tells for each test image whether its most probable class is right, bool [images]."""
    devices = jax.local_device_count()
    leg, state = parallel.replicated(leg), averaged(state)
    right = []
    size = training.eval_batch_size * devices
    for images, labels, mask in training.source.held_out("test", size):
        parts = parallel.divided(images.reshape(devices, -1, *images.shape[1:]))
        classes = programs.answer(leg, state.params, state.batch_stats, parts)
        right.append((np.asarray(classes).ravel() == labels)[mask])
    return np.concatenate(right)


def _begin(programs: Programs, leg: Leg) -> tuple[TrainState, jax.Array, Leg]:
    """Makes the state before the first step, the run's key and the argument, on all devices."""
    init_key, key = jax.random.split(jax.random.key(0))
    return parallel.replicated((programs.init(init_key, leg), key, leg))


def _batches(training: Training, epoch: int, dispatch: int) -> Iterator[tuple[Any, int, int]]:
    """Yields the batches of an epoch's dispatches, each with its first row and the row after its last."""
    steps, source = int(training.arguments.steps_per_epoch), training.source
    spans = itertools.pairwise([*range(0, steps, dispatch), steps])
    for batches, first, last in source.epoch(epoch, list(spans)):
        if source.axes == parallel.BATCHES_AXES:
            batches = batches._replace(indices=padded(batches.indices))
        yield batches, first, last
