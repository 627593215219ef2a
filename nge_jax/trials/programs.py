"""The programs that train and score any cell of one network; the cell is an argument."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from nge_jax.devices import parallel
from nge_jax.devices.parallel import map_over_devices
from nge_jax.networks.any_cell import GenotypeArrays
from nge_jax.runtime.loop import Program
from nge_jax.train import evaluate as train_evaluate
from nge_jax.train import step as train_step
from nge_jax.train.arguments import ProgramArguments, make_optimizer
from nge_jax.train.plan import Training
from nge_jax.train.step import TrainState

LEAST_ROWS = 64  # in `padded`


class Leg(NamedTuple):
    """A part of a cell's training, as an argument of the program.

    Attributes:
        cell: the cell.
        arguments: the numbers of the training to which the part belongs.
        seed: int32, the number of the seed: it decides the first weights and the augmentation.
    """

    cell: GenotypeArrays
    arguments: ProgramArguments
    seed: Any


class Programs(NamedTuple):
    """The programs, of which each is compiled once for all cells.

    Attributes:
        init: `(key, leg) -> TrainState`, the state before the first step.
        train: `(state, (batches, leg), key, start, stop) -> state`, on all devices; the state is a TrainState. Batches
            of `padded` rows let trainings of different lengths of an epoch use the same program.
        score: `(leg, params, batch_stats, images, labels, mask) -> Scores`, see `evaluate.make_score`.
        answer: `(leg, params, batch_stats, images) -> classes`, int32; the first axis is this process's devices.
    """

    init: Callable[[jax.Array, Leg], TrainState]
    train: Program
    score: Callable
    answer: Callable


def padded(order: np.ndarray) -> np.ndarray:
    """Adds rows that no step uses to the rows [local devices, steps, B / devices] of an epoch's images.

    The number of rows is a shape of the program. A search and a study of its cell then share the compiled program.
    """
    rows = max(LEAST_ROWS, 2 ** (order.shape[1] - 1).bit_length())
    return np.pad(order, ((0, 0), (0, rows - order.shape[1]), (0, 0)))


def make_train(training: Training, network_of: Callable[[GenotypeArrays], Any]) -> Callable:
    """Makes `(state, (batches, leg), key, start, stop) -> state` on one device, see `Programs.train`.

    Args:
      training: the plan of the training.
      network_of: makes the network from the cell.
    """

    def train(state, batches_and_leg, key, start, stop):
        batches, leg = batches_and_leg
        optimizer = make_optimizer(leg.arguments.weights, leg.arguments.rate)
        network = network_of(leg.cell)
        step = train_step.make_train_step(network, optimizer, training.recipe, leg.arguments)
        phase = parallel.make_phase(step, training.source.batch_at)
        return phase(state, batches, jax.random.fold_in(key, leg.seed), start, stop)

    return train


def make_programs(
    training: Training, network_of: Callable[[GenotypeArrays], Any] | None = None
) -> Programs:
    """Makes the programs of a training's network and recipe; the training's cell is not read.

    Args:
      training: the plan of the training.
      network_of: makes the network from the cell; None: the training's network with this cell.
    """
    spec = training.source.spec
    make = network_of or (lambda cell: training.model.clone(genotype=cell))

    def init(key, leg):
        optimizer = make_optimizer(leg.arguments.weights, leg.arguments.rate)
        key = jax.random.fold_in(key, leg.seed)
        return train_step.new_state(make(leg.cell), optimizer, key, spec.shape, training.parts)

    def score(leg, *arguments):
        return train_evaluate.score_batch(make(leg.cell), spec.mean, spec.std, *arguments)

    def answer(leg, *arguments):
        return train_evaluate.answer_batch(make(leg.cell), spec.mean, spec.std, *arguments)

    return Programs(
        # The program draws a few small arrays. Unoptimized, it compiles in a third of the time.
        init=jax.jit(init, compiler_options={"xla_backend_optimization_level": 0}),
        train=parallel.on_all_devices(make_train(training, make), (training.source.axes, None)),
        score=map_over_devices(score, (None, None, None, 0, 0, 0)),
        answer=map_over_devices(answer, (None, None, None, 0), 0),
    )
