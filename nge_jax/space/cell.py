"""A cell of either space, as a search ends with one: a `Genotype`, or a `BenchCell` of NAS-Bench-201. No jax."""

import json

import numpy as np

from nge_jax.errors import GenotypeError
from nge_jax.space import genotype, nas_bench_201, spaces
from nge_jax.space.formats import text as texts
from nge_jax.space.genotype import Genotype
from nge_jax.space.nas_bench_201 import BenchCell
from nge_jax.space.spaces import Space

Cell = Genotype | BenchCell


def derive(probs: np.ndarray, space: Space) -> Cell:
    """Derives the cells that probabilities P [C, E, O] of a space favor; see the function of each kind of cell.

    Raises:
        ValueError: P has another shape, NaN or infinity.
    """
    if space.is_tabular:
        return nas_bench_201.derive(probs, space)
    return genotype.derive(probs, space)


def draw(space: Space, count: int) -> dict[str, Cell]:
    """Draws random cells of a space by the seeds 0, 1, ..., by their names."""
    drawn = nas_bench_201.draw if space.is_tabular else genotype.draw
    return {**drawn(count, space)}


def within(cell: Cell, space: Space) -> Cell | None:
    """Returns a cell as a cell of this space; None where it is none."""
    if isinstance(cell, BenchCell):
        return cell.within(space)
    if space.is_tabular:
        return None
    own = cell.space
    names = {edge.operation for kind in space.cell_types for edge in cell.kept_edges(kind)}
    fits = own.num_nodes == space.num_nodes and names <= {*space.operations}
    return cell if fits else None


def count_operations(cell: Cell, cell_type: str, space: Space) -> dict[str, int]:
    """Counts how often each operation of the space stands in a cell of one type."""
    return spaces.count_operations(cell.kept_edges(cell_type), space)


def is_uniform(probs: np.ndarray, space: Space, cell_type: int) -> bool:
    """Tells whether P [E, O] of a cell type prefers no operation, up to rounding. Such a cell is no choice."""
    allowed = np.array(space.mask[cell_type])
    return bool(np.abs(probs - allowed / allowed.sum(-1, keepdims=True)).max() < 1e-6)


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
