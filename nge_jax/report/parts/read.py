"""The records of runs that stand beside each other, read from their workdirs."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nge_jax.errors import InputError
from nge_jax.settings.configs import flatten
from nge_jax.space.cell import Cell
from nge_jax.workdir import artifacts, recorded
from nge_jax.workdir.artifacts import EpochRows, Size
from nge_jax.workdir.names import printable


class Run(NamedTuple):
    """Holds the record that a workdir has of a run.

    Attributes:
      name: tells the run from the others.
      settings: of its config, by keys joined by dots.
      epochs: rows of metrics.
      cell: found or trained; None where there is none yet.
      sizes: parameters and multiply-adds of the network trained, or that a search's command trains; None: unknown.
      beside: a search's accuracies in the supernet's weights: of the cell found, and the mean of random cells; None:
        not evaluated.
    """

    name: str
    settings: dict[str, Any]
    epochs: EpochRows
    cell: Cell | None
    sizes: tuple[int, int] | None = None
    beside: tuple[float, float] | None = None


def read_runs(
    paths: Sequence[Path], count: Callable[[Path], list[Size] | None] | None = None
) -> list[Run]:
    """Reads runs by their workdirs; `count`: counts the sizes of a run whose report has not.

    Raises:
      InputError: one is no run, or has finished no epoch.
    """
    for path in paths:
        if not os.path.isdir(path):  # false for a name too long for a path, where pathlib raises
            raise InputError(f"{path}: no such folder, expected the workdir of a run")
        artifacts.check_for_this_program(path)
    names = [printable(path.resolve().name) for path in paths]
    if len(set(names)) < len(names):
        names = [printable(str(path)) for path in paths]
    return [_read(name, path, count) for name, path in zip(names, paths, strict=True)]


def _read(name, path, count):
    values = artifacts.read_json(path / artifacts.CONFIG, ("task",))
    recorded.check_single(path, values)
    epochs = artifacts.read_metrics(path / artifacts.METRICS, ())
    file = path / artifacts.GENOTYPE
    cell = artifacts.read_cell(file) if file.exists() else None
    sizes = artifacts.read_sizes(path)
    if sizes is None and count is not None:
        sizes = count(path)
    return Run(
        name, flatten(values), epochs, cell, sizes[0][1:] if sizes else None, _read_beside(path)
    )


def _read_beside(path: Path) -> tuple[float, float] | None:
    compared = artifacts.read_random_cells(path)
    if compared is None:
        return None
    accuracy, others = compared
    return accuracy, sum(others.values()) / len(others)


def first_known(row: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """Returns the value of the first of these keys that a row has; None if the row has none."""
    return next((row[key] for key in keys if row.get(key) is not None), None)
