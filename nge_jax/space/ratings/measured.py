"""Cells that a user has trained: a CSV file of cells and accuracies, as an evaluator for the strategies.

    genotype,accuracy
    DARTS_V2,97.24
    runs/search_cifar/genotype.json,96.9
    "{""normal"": [[""skip_connect"", 0], ...",95.1

A cell is anything that `cell.load` reads: a published name, "random:SEED", a file in the CSV's folder, JSON, or a
printed Genotype(...). The notation of NAS-Bench-201 is read too. An accuracy is in percent, and a fraction is refused.
Other columns are ignored. A cell on several lines has the mean of its accuracies.
"""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nge_jax import files
from nge_jax.errors import InputError
from nge_jax.space import architecture
from nge_jax.space.cell import load as load_cell
from nge_jax.space.nas_bench_201 import BenchCell
from nge_jax.space.spaces import DARTS, Space

CELL, ACCURACY = "genotype", "accuracy"
KINDS = {
    False: "a genotype",
    True: "a cell of NAS-Bench-201",
}  # False: the cell is a genotype


class Measured(NamedTuple):
    """Holds distinct cells in the order of the file, and their accuracies.

    Attributes:
        architectures: int32 [N, C, E].
        accuracies: float32 [N], in percent.
    """

    architectures: np.ndarray
    accuracies: np.ndarray


def load(path: str | Path, space: Space = DARTS) -> Measured:
    """Reads a CSV file with the cells of a space.

    Raises:
        InputError: the file cannot be read, or a line has no cell or no accuracy; the message names the line.
    """
    path = Path(path).expanduser()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            columns = rows.fieldnames or ()
            for name in (CELL, ACCURACY):
                if name not in columns:
                    found = ", ".join(columns) or "none"
                    raise InputError(f"{path}: expected a column {name}, found {found}")
            given = [(rows.line_num, row[CELL] or "", row[ACCURACY] or "") for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a CSV file, found {files.reason(error)}") from None
    accuracies: dict[tuple[int, ...], list[float]] = {}
    for line, cell, accuracy in given:
        place = f"{path}, line {line}"
        accuracies.setdefault(_architecture(cell, space, path.parent, place), []).append(
            _accuracy(accuracy, place)
        )
    if not accuracies:
        raise InputError(f"{path}: expected a line for each cell, found none")
    return Measured(
        np.array(list(accuracies), np.int32).reshape(-1, *space.shape[:2]),
        np.array([np.mean(several) for several in accuracies.values()], np.float32),
    )


def _architecture(text: str, space: Space, folder: Path, place: str) -> tuple[int, ...]:
    """Reads a cell as the numbers of its architecture in one row."""
    try:
        cell = load_cell(text.strip(), str(folder))
        if isinstance(cell, BenchCell):
            operations = cell.operations
        else:
            operations = architecture.from_genotype(cell, DARTS if space.is_tabular else space)
    except ValueError as error:
        raise InputError(f"{place}: {error}") from None
    if (found := isinstance(cell, BenchCell)) != space.is_tabular:
        raise InputError(f"{place}: expected {KINDS[space.is_tabular]}, found {KINDS[found]}")
    return tuple(operations.ravel().tolist())


def _accuracy(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        raise InputError(f"{place}: expected an accuracy from 0 to 100 percent, found {text!r}")
    if 0 < value <= 1:
        raise InputError(
            f"{place}: expected an accuracy in percent, such as 97.24, found {text!r}, a fraction (write 0 for a cell "
            "of 1 percent or less)"
        )
    return value


def make_evaluator(table: Measured, absent: float = 0.0) -> Callable[[jax.Array], jax.Array]:
    """Makes a function from architectures [B, C, E] to rewards [B], the accuracies as fractions. It may be jitted.

    A cell that is not in the file has the reward `absent`.
    """
    known, rewards = jnp.asarray(table.architectures), jnp.asarray(table.accuracies / 100)

    def evaluate(architectures: jax.Array) -> jax.Array:
        same = (architectures[:, None] == known).all((2, 3))
        return jnp.where(same.any(1), rewards[same.argmax(1)], absent)

    return evaluate
