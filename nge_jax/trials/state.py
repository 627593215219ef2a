"""The state of a search by trials, which a checkpoint holds, and the files of cells that may be trained on."""

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from nge_jax import files
from nge_jax.errors import InputError
from nge_jax.train.step import TrainState
from nge_jax.trials.ledger import Ledger
from nge_jax.workdir import artifacts


class State(NamedTuple):
    """The values that the loop carries.

    Attributes:
      step: updates so far, of all cells together.
      trial: the training of the cell that is trained now.
      searcher: the strategy's state.
      ledger: the cells and their ratings.
    """

    step: Any
    trial: TrainState
    searcher: Any
    ledger: Ledger


def place(workdir: Path, trial: int, rung: int) -> Path:
    """Returns the file of a cell's training at a rung."""
    return workdir / artifacts.TRIALS / f"{trial:05d}-{rung}.npz"


class Collector:
    """Removes kept trainings that no checkpoint leads to.

    A run that was killed goes on from its newest checkpoint, or from one before if that one is damaged. Therefore a
    training stays as long as a checkpoint is older than the moment from which the training was of no use.

    Args:
      workdir: the folder of the run.
    """

    def __init__(self, workdir: Path):
        self._folder, self._checkpoints = (
            workdir / artifacts.TRIALS,
            workdir / artifacts.CHECKPOINTS,
        )
        self._unused_since: dict[Path, int] = {}

    def collect(self, needed: Collection[tuple[int, int]], step: int) -> None:
        """Removes what is of no use.

        Args:
          needed: the trainings, as (trial, rung), that the state after `step` may still use.
          step: the number of updates so far.
        """
        names = {place(Path(), *training).name for training in needed}
        unused = [path for path in self._folder.glob("*.npz") if path.name not in names]
        self._unused_since = {path: self._unused_since.get(path, step) for path in unused}
        steps = [int(e.name) for e in self._checkpoints.glob("[0-9]*") if e.name.isdigit()]
        for path, since in self._unused_since.items():
            if steps and min(steps) >= since:
                path.unlink(missing_ok=True)


def keep(path: Path, state: TrainState) -> None:
    """Writes a training to be continued, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    content = io.BytesIO()
    np.savez(content, *map(np.asarray, jax.tree.leaves(state)))
    files.write_atomically(path, content.getvalue())


def kept(path: Path, template: TrainState) -> TrainState:
    """Reads the training that `keep` wrote.

    Args:
      path: the file.
      template: a training of the same network, or the shapes of its arrays.

    Raises:
      InputError: the file is missing, damaged, or holds the training of another network.
    """
    leaves, structure = jax.tree.flatten(template)
    names = [f"arr_{n}" for n in range(len(leaves))]
    try:
        arrays = files.read_arrays(path, names)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: expected a cell's training, found {files.reason(error)}"
        ) from None
    found = [arrays[name] for name in names]
    for array, leaf in zip(found, leaves, strict=True):
        if array.shape != leaf.shape or array.dtype != leaf.dtype:
            raise InputError(f"{path}: found {array.shape}, expected {leaf.shape}")
    return structure.unflatten(found)
