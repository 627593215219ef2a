"""A cell of either space, as a search ends with one: a `Genotype`, or a `BenchCell` of NAS-Bench-201. No jax."""

import functools
import json
from collections.abc import Callable, Mapping

import numpy as np

from nge_jax.errors import GenotypeError
from nge_jax.space import genotype, nas_bench_201
from nge_jax.space.formats import text as texts
from nge_jax.space.genotype import Genotype
from nge_jax.space.nas_bench_201 import BenchCell
from nge_jax.space.spaces import DARTS, NAS_BENCH_201, NO_NONE, Space

Cell = Genotype | BenchCell

# How the cells of a space are derived from P, and drawn at random.
DERIVE = {
    DARTS: genotype.derive,
    NAS_BENCH_201: nas_bench_201.derive,
    NO_NONE: functools.partial(nas_bench_201.derive, space=NO_NONE),
}
DRAW: dict[Space, Callable[[int], Mapping[str, Cell]]] = {
    DARTS: genotype.draw,
    NAS_BENCH_201: nas_bench_201.draw,
    NO_NONE: functools.partial(nas_bench_201.draw, space=NO_NONE),
}


def derive(probs: np.ndarray, space: Space) -> Cell:
    """Derives the cells that probabilities P [C, E, O] of a space favor; see the function of each space.

    Raises:
        ValueError: P has another shape, NaN or infinity.
    """
    return DERIVE[space](probs)


def draw(space: Space, count: int) -> dict[str, Cell]:
    """Draws random cells of a space by the seeds 0, 1, ...; the keys are names that `load` takes."""
    return dict(DRAW[space](count))


def within(cell: Cell, space: Space) -> Cell | None:
    """Returns a cell as a cell of this space; None where it is none."""
    if isinstance(cell, BenchCell):
        return cell.within(space)
    return cell if space == DARTS else None


def is_uniform(probs: np.ndarray) -> bool:
    """Tells whether P [E, O] prefers no operation, up to rounding. A cell derived from such P is no choice."""
    return bool(np.abs(probs - 1 / probs.shape[-1]).max() < 1e-6)


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
