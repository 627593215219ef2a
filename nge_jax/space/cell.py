"""A cell of either space, as a search ends with one: a `Genotype`, or a `BenchCell` of NAS-Bench-201. No jax."""

import json
from typing import NamedTuple

import numpy as np

from nge_jax.errors import GenotypeError
from nge_jax.space import genotype, nas_bench_201
from nge_jax.space.formats import text as texts
from nge_jax.space.genotype import NUM_INPUTS, Genotype
from nge_jax.space.nas_bench_201 import BenchCell
from nge_jax.space.spaces import DARTS, NAS_BENCH_201, Space

Cell = Genotype | BenchCell


class KeptEdge(NamedTuple):
    """Holds an edge i -> k that a cell keeps, and its operation."""

    operation: str
    source: int
    target: int


def derive(probs: np.ndarray, space: Space) -> Cell:
    """Derives the cells that probabilities P [C, E, O] of a space favor; see `genotype.derive`.

    In NAS-Bench-201 every edge has its most probable operation, which may be `none`. Ties go to the lower index.

    Raises:
        ValueError: P has another shape, NaN or infinity.
    """
    if space == DARTS:
        return genotype.derive(probs)
    probs = np.asarray(probs, np.float64)
    if probs.shape != space.shape or not np.isfinite(probs).all():
        raise ValueError(
            f"probs: expected finite values of shape {space.shape}, found {probs.shape}"
        )
    return BenchCell(nas_bench_201.to_string(probs[0].argmax(-1)))


def is_uniform(probs: np.ndarray) -> bool:
    """Tells whether P [E, O] prefers no operation, up to rounding. A cell derived from such P is no choice."""
    return bool(np.abs(probs - 1 / probs.shape[-1]).max() < 1e-6)


def space_of(cell: Cell) -> Space:
    """Returns the space of a cell."""
    return DARTS if isinstance(cell, Genotype) else NAS_BENCH_201


def kept_edges(cell: Cell, cell_type: str) -> tuple[KeptEdge, ...]:
    """Lists a cell's edges by target, then by source. NAS-Bench-201 keeps all edges, also with the operation `none`."""
    if isinstance(cell, Genotype):
        pairs, _ = cell.cell(cell_type)
        return tuple(KeptEdge(o, i, NUM_INPUTS + j // 2) for j, (o, i) in enumerate(pairs))
    names = [NAS_BENCH_201.operations[o] for o in cell.operations]
    edges = zip(names, NAS_BENCH_201.edges, strict=True)
    return tuple(KeptEdge(name, *edge) for name, edge in edges)


def outputs(cell: Cell, cell_type: str) -> tuple[int, ...]:
    """Lists the nodes in a cell's output: the concatenated nodes, or the last node in NAS-Bench-201."""
    if isinstance(cell, Genotype):
        return cell.cell(cell_type)[1]
    return (NAS_BENCH_201.num_nodes - 1,)


def operation_counts(cell: Cell, cell_type: str) -> dict[str, int]:
    """Counts how often each of the space's operations stands in the cell."""
    names = [edge.operation for edge in kept_edges(cell, cell_type)]
    return {operation: names.count(operation) for operation in space_of(cell).operations}


def to_json(cell: Cell) -> str:
    """Writes a genotype as `genotype.to_json` does, a cell of NAS-Bench-201 as {"cell": "|...|"}."""
    if isinstance(cell, Genotype):
        return genotype.to_json(cell)
    return json.dumps(cell._asdict(), indent=2) + "\n"


def from_json(text: str) -> Cell:
    """Reads the JSON that `to_json` writes.

    Raises:
        GenotypeError: the text is no cell; the message names the field.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or set(fields) != {"cell"}:
        return genotype.from_json(text)
    return _bench_cell(str(fields["cell"]))


def from_text(text: str, name: str = "", is_python: bool = False) -> Cell:
    """Reads a cell of either space in any format of `space.formats`; the arguments are those of `genotype.from_text`.

    Raises:
        GenotypeError: the text is no cell; the message names the field or the format.
    """
    found = texts.read(text, name, is_python)
    return _bench_cell(found) if isinstance(found, str) else genotype.from_fields(found)


def load(name_or_path: str, folder: str = "") -> Cell:
    """Finds a cell as `genotype.load` does, or a cell of NAS-Bench-201.

    Args:
        name_or_path: a name, a file, a folder or a text, as in `genotype.load`.
        folder: where a relative path begins. The current folder is tried next.

    Raises:
        GenotypeError: there is no cell; the message names the file.
    """
    return genotype.load_as(from_text, name_or_path, folder)


def _bench_cell(text: str) -> BenchCell:
    try:
        nas_bench_201.parse(text)
    except ValueError as error:
        raise GenotypeError(f'genotype field "cell": {error}') from None
    return BenchCell(text)
