"""NAS-Bench-201 (Dong and Yang, ICLR 2020) as a table: accuracies of all 15,625 cells of a small space.

The table is an .npz of three arrays. `arch` has the cells in the benchmark's notation
("|nor_conv_3x3~0|+|none~0|skip_connect~1|+..."), and `columns` has names. `values` [cell, column] has accuracies in
percent, NaN where one is absent.

A search may read SELECTION alone. A report reads VALIDATIONS and TESTS. Only `make_evaluator` imports jax, so that
tools read cells without it.
"""

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nge_jax import files
from nge_jax.errors import InputError
from nge_jax.space.spaces import NAS_BENCH_201, KeptEdge, Space, count_operations

if TYPE_CHECKING:
    import jax

SELECTION = "c10_val_12"  # CIFAR-10, validation after 12 epochs
# Test accuracy after 200 epochs, by the name of the data set.
TESTS = {
    "CIFAR-10": "c10_test_200",
    "CIFAR-100": "c100_test_200",
    "ImageNet16-120": "in16_test_200",
}
# Validation accuracy after 200 epochs, by the name of the data set. A table need not have these columns.
VALIDATIONS = {
    "CIFAR-10": "c10_val_200",
    "CIFAR-100": "c100_val_200",
    "ImageNet16-120": "in16_val_200",
}
NUM_OPERATIONS, NUM_EDGES = len(NAS_BENCH_201.operations), len(NAS_BENCH_201.edges)
NUM_CELLS = NUM_OPERATIONS**NUM_EDGES


class AccuracyTable(NamedTuple):
    """Holds accuracies in percent. A cell's row is the number that its operations write in base 5.

    Attributes:
        selection: float32 [15625], the accuracies that a search may read.
        tests: float32 [15625, 3], in the order of TESTS, for the report; NaN where one is absent.
        validations: float32 [15625, 3], in the order of VALIDATIONS, for the report; NaN where one is absent.
    """

    selection: np.ndarray
    tests: np.ndarray
    validations: np.ndarray


class BenchCell(NamedTuple):
    """Names a cell in the benchmark's notation.

    Attributes:
        cell: the notation.
        space: the space in which the cell was found: NAS_BENCH_201 or NO_NONE. JSON does not keep the space.
    """

    cell: str
    space: Space = NAS_BENCH_201

    def __repr__(self) -> str:
        return f"BenchCell(cell={self.cell!r})"

    @property
    def operations(self) -> np.ndarray:
        """Reads the numbers [6] of the operations; raises ValueError where the notation is another."""
        return parse(self.cell)

    def kept_edges(self, cell_type: str) -> tuple[KeptEdge, ...]:
        """Lists all edges by target, then by source, also those with the operation `none`."""
        del cell_type  # there is one
        names = [NAS_BENCH_201.operations[number] for number in self.operations]
        edges = zip(names, NAS_BENCH_201.edges, strict=True)
        return tuple(KeptEdge(name, *edge) for name, edge in edges)

    def outputs(self, cell_type: str) -> tuple[int, ...]:
        """Lists the node that is the cell's output, the last one."""
        del cell_type  # there is one
        return (NAS_BENCH_201.num_nodes - 1,)

    def operation_counts(self, cell_type: str) -> dict[str, int]:
        """Counts how often each of the space's operations stands in the cell."""
        return count_operations(self.kept_edges(cell_type), self.space)

    def to_json(self) -> str:
        """Writes {"cell": "|...|"} as JSON."""
        return json.dumps({"cell": self.cell}, indent=2) + "\n"

    def within(self, space: Space) -> "BenchCell | None":
        """Returns the cell as a cell of NAS_BENCH_201 or NO_NONE; None where the cell has another operation."""
        names = {edge.operation for edge in self.kept_edges("normal")}
        fits = names <= {*space.operations} <= {*NAS_BENCH_201.operations}
        return self._replace(space=space) if fits else None


def first_number(space: Space) -> int:
    """Returns the benchmark's number of the first operation of NAS_BENCH_201 or NO_NONE; the others follow."""
    return NUM_OPERATIONS - len(space.operations)


def derive(probs: np.ndarray, space: Space = NAS_BENCH_201) -> BenchCell:
    """Derives the cell that P [1, 6, O] favors: each edge has its most probable operation, which may be `none`.

    Ties go to the lower index.

    Raises:
        ValueError: P has another shape, NaN or infinity.
    """
    probs, shape = np.asarray(probs, np.float64), space.shape
    if probs.shape != shape or not np.isfinite(probs).all():
        raise ValueError(f"probs: expected finite values of shape {shape}, found {probs.shape}")
    return BenchCell(to_string(probs[0].argmax(-1) + first_number(space)), space)


def random_cell(seed: int, space: Space = NAS_BENCH_201) -> BenchCell:
    """Draws an operation for each edge, uniformly."""
    drawn = np.random.default_rng(seed).integers(len(space.operations), size=NUM_EDGES)
    return BenchCell(to_string(drawn + first_number(space)), space)


def draw(count: int, space: Space = NAS_BENCH_201) -> dict[str, BenchCell]:
    """Draws the random cells of the seeds 0, 1, ..., by their notation."""
    cells = [random_cell(seed, space) for seed in range(count)]
    return {cell.cell: cell for cell in cells}


def load(path: str | Path) -> AccuracyTable:
    """Reads the table.

    Raises:
        InputError: the file is missing or wrong; the message names the file and the array, column or cell.
    """
    path = Path(path)
    cells, columns, values = _read_arrays(path)
    try:
        rows = cell_index(np.array([parse(str(cell)) for cell in cells]))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    if len(np.unique(rows)) < NUM_CELLS:
        raise InputError(f"{path}: expected each cell once, found some twice")

    def column(name: str) -> np.ndarray:
        ordered = np.full(NUM_CELLS, np.nan, np.float32)
        if name in columns:
            ordered[rows] = values[:, list(columns).index(name)]
        return ordered

    selection = column(SELECTION)
    if not np.isfinite(selection).all():
        raise InputError(f"{path}: column {SELECTION}: expected no NaN, a search needs every cell")
    tests, validations = (
        np.stack([column(name) for name in names.values()], axis=-1)
        for names in (TESTS, VALIDATIONS)
    )
    return AccuracyTable(selection, tests, validations)


def _read_arrays(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reads the arrays `arch`, `columns` and `values`, and checks their shapes and the needed columns."""
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file, expected the table of NAS-Bench-201 (.npz)")
    try:
        arrays = files.read_arrays(path, ("arch", "columns", "values"))
    except (OSError, ValueError) as error:
        expected = "expected an .npz of arch, columns and values without pickles"
        raise InputError(f"{path}: {expected}, found {files.reason(error)}") from None
    cells, columns, values = (arrays[name] for name in ("arch", "columns", "values"))
    if values.shape != (NUM_CELLS, len(columns)) or cells.shape != (NUM_CELLS,):
        expected = f"({NUM_CELLS},) and ({NUM_CELLS}, {len(columns)})"
        found = f"{cells.shape} and {values.shape}"
        raise InputError(f"{path}: expected arch and values of shape {expected}, found {found}")
    for name in (SELECTION, *TESTS.values()):
        if name not in columns:
            raise InputError(f"{path}: expected a column {name}, found {', '.join(columns)}")
    return cells, columns, values


def parse(cell: str) -> np.ndarray:
    """Reads the operations [6] of a cell in the benchmark's notation; raises ValueError where it is no cell."""
    pairs = [pair for node in cell.split("+") for pair in node.strip("|").split("|")]
    matches = [re.fullmatch(r"(\w+)~(\d)", pair) for pair in pairs]
    names = [match[1] if match else "" for match in matches]
    expected = [str(source) for source, _ in NAS_BENCH_201.edges]
    known = all(name in NAS_BENCH_201.operations for name in names)
    if not known or [match[2] for match in matches if match] != expected:
        form = to_string(np.zeros(NUM_EDGES, int))
        raise ValueError(f"expected a cell such as {form}, found {cell[:100]!r}")
    return np.array([NAS_BENCH_201.operations.index(name) for name in names])


def to_string(operations: np.ndarray) -> str:
    """Writes a cell's operations [6] in the benchmark's notation."""
    text = ""
    for (source, _), operation in zip(NAS_BENCH_201.edges, operations, strict=True):
        text += ("+|" if source == 0 and text else "" if text else "|") + (
            f"{NAS_BENCH_201.operations[operation]}~{source}|"
        )
    return text


def cell_index(operations: Any) -> Any:
    """Computes the row of a cell in an `AccuracyTable` from the operations [..., 6]; NumPy or JAX."""
    return operations @ (NUM_OPERATIONS ** np.arange(NUM_EDGES)[::-1])


def make_evaluator(table: AccuracyTable) -> Callable[["jax.Array"], "jax.Array"]:
    """Makes a function from architectures [B, 1, 6] to rewards [B], the SELECTION accuracies as fractions."""
    import jax.numpy as jnp

    rewards = jnp.asarray(table.selection / 100)
    return lambda architectures: rewards[cell_index(architectures[:, 0])]


def test_accuracies(table: AccuracyTable, architectures: np.ndarray) -> np.ndarray:
    """Looks up test accuracies [..., 3] in percent for architectures [..., 1, 6], NaN where absent; for reports."""
    return table.tests[cell_index(np.asarray(architectures)[..., 0, :])]


def accuracies(table: AccuracyTable, cell: BenchCell) -> dict[str, dict[str, float | None]]:
    """Looks up a cell's accuracies in percent after 200 epochs, for reports only.

    Returns:
        {"CIFAR-10": {"validation": 90.36, "test": 93.76}, ...}, None where one is absent.
    """
    row = cell_index(cell.operations)

    def known(value: float) -> float | None:
        return None if math.isnan(value) else round(float(value), 4)

    return {
        name: {"validation": known(validation), "test": known(test)}
        for name, validation, test in zip(
            TESTS, table.validations[row], table.tests[row], strict=True
        )
    }
