"""Genotypes: derived and published cells, their JSON, and their derivation from probabilities.

A cell is a DAG. Nodes 0 and 1 are the outputs of the two cells before it, and the inner nodes begin with 2. An edge
i -> k carries one operation. A genotype keeps two edges into each inner node, in DARTS's vocabulary.

`KNOWN` holds the published cells by name. This module imports no jax, so that tools read genotypes without it.
"""

import json
import re
from collections.abc import Callable, Sequence
from reprlib import repr as brief
from typing import Any, NamedTuple, TypeVar

import numpy as np

from nge_jax.errors import GenotypeError
from nge_jax.space import published
from nge_jax.space.drawing import drawer
from nge_jax.space.formats import source
from nge_jax.space.formats import text as texts
from nge_jax.space.formats.records import CONVERT
from nge_jax.space.parts.loading import is_operation
from nge_jax.space.parts.package import OPERATIONS as KNOWN_OPERATIONS
from nge_jax.space.spaces import DARTS, KeptEdge, Space, count_operations

OPERATIONS, CELL_TYPES = DARTS.operations, DARTS.cell_types
NONE = published.NONE
NUM_INPUTS, NUM_NODES = DARTS.num_inputs, DARTS.num_nodes  # in a searched cell; ENASNet has 7 nodes
EDGES = DARTS.edges

SEED_DIGITS = 18  # the most digits in random:SEED
MAX_INNER_NODES = 32  # the most in a cell that is read; the largest published cell has 5

Pair = tuple[str, int]
T = TypeVar("T")


class Genotype(NamedTuple):
    """Names the kept edges of a normal and a reduction cell, as DARTS writes them.

    Attributes:
        normal, reduce: (operation, predecessor) pairs, two for each inner node. Pair j belongs to node 2 + j // 2.
        normal_concat, reduce_concat: the nodes whose concatenation is the cell's output.
    """

    normal: tuple[Pair, ...]
    normal_concat: tuple[int, ...]
    reduce: tuple[Pair, ...]
    reduce_concat: tuple[int, ...]

    def cell(self, cell_type: str) -> tuple[tuple[Pair, ...], tuple[int, ...]]:
        """Returns the pairs and the concatenated nodes of one cell type in CELL_TYPES."""
        return {"normal": self[:2], "reduction": self[2:]}[cell_type]

    @property
    def space(self) -> Space:
        """The paper's space, or the same cells with as many nodes and more operations as this genotype has."""
        return space_of(self)

    def kept_edges(self, cell_type: str) -> tuple[KeptEdge, ...]:
        """Lists a cell's edges by target, then as the genotype has them."""
        pairs, _ = self.cell(cell_type)
        return tuple(KeptEdge(o, i, NUM_INPUTS + j // 2) for j, (o, i) in enumerate(pairs))

    def outputs(self, cell_type: str) -> tuple[int, ...]:
        """Lists the nodes whose concatenation is a cell's output."""
        return self.cell(cell_type)[1]

    def operation_counts(self, cell_type: str) -> dict[str, int]:
        """Counts how often each of the space's operations stands in a cell."""
        return count_operations(self.kept_edges(cell_type), self.space)

    def to_json(self) -> str:
        """Writes an indented JSON object with one line for each pair."""
        return to_json(self)

    def plot(self) -> Any:
        """Draws both cells as a matplotlib figure. A notebook draws a genotype by itself where it ends a code cell."""
        return drawer().genotype_figure(self)

    def _repr_svg_(self) -> str:
        return drawer().genotype_svg(self)


def space_of(genotype: Genotype) -> Space:
    """Returns the paper's space, or the same cells with as many nodes and more operations as the genotype has."""
    names = sorted({operation for operation, _ in genotype.normal + genotype.reduce})
    more = tuple(name for name in names if name not in OPERATIONS)
    num_nodes = NUM_INPUTS + max(len(genotype.normal), len(genotype.reduce)) // 2
    return DARTS._replace(operations=OPERATIONS + more, num_nodes=num_nodes)


def validate(genotype: Genotype) -> Genotype:
    """Returns the genotype, with tuples throughout.

    A node's two predecessors differ, except in ENASNet, which was published with equal ones.

    Raises:
        GenotypeError: the genotype is wrong; the message names the field.
    """
    read = Genotype(
        *_read_cell("normal", genotype.normal, genotype.normal_concat),
        *_read_cell("reduce", genotype.reduce, genotype.reduce_concat),
    )
    for field, pairs in (("normal", read.normal), ("reduce", read.reduce)):
        for j in range(1, len(pairs), 2):
            if pairs[j][1] == pairs[j - 1][1] and read not in KNOWN.values():
                node, problem = NUM_INPUTS + j // 2, f"predecessor {pairs[j][1]} is repeated"
                raise _error(f"{field}[{j}]", f"{problem}, node {node} needs two distinct ones")
    return read


def to_json(genotype: Genotype) -> str:
    """Writes an indented JSON object with one line for each pair."""
    text = json.dumps(validate(genotype)._asdict(), indent=2)
    return re.sub(r"\[[^][]+\]", lambda inner: json.dumps(json.loads(inner[0])), text) + "\n"


def from_json(text: str) -> Genotype:
    """Reads the JSON that `to_json` writes.

    Raises:
        GenotypeError: the text is no genotype; the message names the field.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GenotypeError(f"genotype: not JSON, {error}") from None
    return from_fields(fields)


def from_fields(fields: Any) -> Genotype:
    """Makes a genotype from a dict of the four fields.

    Raises:
        GenotypeError: the fields are no genotype; the message names the field.
    """
    expected = ", ".join(Genotype._fields)
    if not isinstance(fields, dict):
        raise GenotypeError(f"genotype: expected an object with {expected}, found {brief(fields)}")
    for field in sorted({*Genotype._fields} ^ {*fields}):
        problem = "unknown" if field in fields else "missing"
        raise _error(field, f"{problem}, expected {expected}")
    return validate(Genotype(**fields))


def from_text(text: str, name: str = "", is_python: bool = False) -> Genotype:
    """Reads a genotype in any format of `space.formats`.

    Args:
        text: the text of a file, a log, or the genotype alone.
        name: the variable in a Python file, or the entry in a JSON object; "" for the only cell.
        is_python: whether the text has to be read as a Python file.

    Raises:
        GenotypeError: the text is no genotype; the message names the field or the format.
    """
    found = texts.read(text, name, is_python)
    if isinstance(found, dict):
        return from_fields(found)
    if "~" in found:
        raise GenotypeError(
            f"genotype: found a cell of NAS-Bench-201, {found[:40]}..., whose space has other operations; {CONVERT}"
        )
    raise GenotypeError(f"genotype: found {brief(found)}, {CONVERT}")


def load(name_or_path: str) -> Genotype:
    """Finds a genotype: a published cell by name, "random:SEED", a file, a run's folder, or a text given itself.

    A file may have any format of `space.formats`. FILE:NAME is one of several cells in a file.

    Raises:
        GenotypeError: there is no genotype; the message names the file.
    """
    return load_as(from_text, name_or_path)


def load_as(
    read: Callable[[str, str, bool], T], name_or_path: str, folder: str = ""
) -> Genotype | T:
    """Finds a cell as `load` does, with another reader of texts.

    Args:
        read: reads a text; its arguments are those of `from_text`.
        name_or_path: a name, a file, a folder or a text, as in `load`.
        folder: where a relative path begins. The current folder is tried next.

    Raises:
        GenotypeError: there is no cell; the message names the file.
    """
    if name_or_path in KNOWN:
        return KNOWN[name_or_path]
    if seed := re.fullmatch("random:([0-9]+)", name_or_path):
        if len(seed[1]) > SEED_DIGITS:
            expected = f"a number of at most {SEED_DIGITS} digits"
            raise GenotypeError(
                f"genotype random:SEED: found {len(seed[1])} digits, expected {expected}"
            )
        return random_genotype(int(seed[1]))
    path, text, name = source.find(name_or_path, folder, KNOWN)
    try:
        return read(text, name, path.endswith(".py"))
    except GenotypeError as error:
        raise GenotypeError(f"{path}: {error}" if path else str(error)) from None


def derive(probs: np.ndarray, space: Space = DARTS) -> Genotype:
    """Derives the cells that probabilities P [2, E, O], [cell type, edge, operation], favor.

    Each inner node keeps the two incoming edges whose best operation is the most probable, with this operation. Ties
    go to the lower index, both among edges and among operations. A node's pairs stand in ascending order of
    predecessor, so that equal cells compare equal; DARTS puts the stronger first.

    Raises:
        ValueError: P has another shape, NaN or infinity.
    """
    probs = np.asarray(probs, np.float64)
    if probs.shape != space.shape:
        raise ValueError(f"probs: expected shape {space.shape}, found {probs.shape}")
    if not np.isfinite(probs).all():
        raise ValueError("probs: expected finite values, found NaN or infinity")
    if space.allowed:
        probs = np.where(space.mask, probs, -1)  # below all strengths

    def pairs(probs_ExO: np.ndarray) -> tuple[Pair, ...]:
        best, strength = probs_ExO.argmax(-1), probs_ExO.max(-1)
        kept = []
        for node in space.inner_nodes:
            incoming = space.incoming(node)
            strongest = sorted(incoming, key=lambda e: -strength[e])[:2]  # stable: ties keep order
            kept += [(space.operations[best[e]], space.edges[e][0]) for e in sorted(strongest)]
        return tuple(kept)

    return _genotype(*map(pairs, probs))


def list_genotypes() -> tuple[str, ...]:
    """Lists the names of the published cells."""
    return tuple(KNOWN)


def random_genotype(seed: int, space: Space = DARTS) -> Genotype:
    """Draws two distinct predecessors and their operations for each inner node, uniformly."""
    rng = np.random.default_rng(seed)

    def pairs(cell_type: int) -> tuple[Pair, ...]:
        return tuple(
            (_draw_operation(rng, space, cell_type, (int(i), node)), int(i))
            for node in space.inner_nodes
            for i in sorted(rng.choice(node, 2, replace=False))
        )

    return _genotype(pairs(0), pairs(1))


def _draw_operation(
    rng: np.random.Generator, space: Space, cell_type: int, edge: tuple[int, int]
) -> str:
    return str(rng.choice(space.choices(cell_type, space.edges.index(edge))))


def draw(count: int, space: Space = DARTS) -> dict[str, Genotype]:
    """Draws the random genotypes of the seeds 0, 1, .... `load` takes the names of those of the paper's space."""
    kind = "random" if space == DARTS else "random cell"
    return {f"{kind}:{seed}": random_genotype(seed, space) for seed in range(count)}


def _inner_nodes(pairs: Sequence[Pair]) -> tuple[int, ...]:
    return tuple(range(NUM_INPUTS, NUM_INPUTS + len(pairs) // 2))


def _genotype(normal: tuple[Pair, ...], reduce: tuple[Pair, ...]) -> Genotype:
    """Makes a genotype with all inner nodes in the cells' outputs."""
    return Genotype(normal, _inner_nodes(normal), reduce, _inner_nodes(reduce))


def _error(field: str, problem: str) -> GenotypeError:
    return GenotypeError(f"genotype field {json.dumps(field)}: {problem}")


def _read_cell(field: str, pairs: Any, concat: Any) -> tuple[tuple[Pair, ...], tuple[int, ...]]:
    if not isinstance(pairs, list | tuple) or not pairs or len(pairs) % 2:
        found = f"{len(pairs)} items" if isinstance(pairs, list | tuple) else brief(pairs)
        raise _error(field, f"expected pairs, two for each inner node, found {found}")
    if len(pairs) > 2 * MAX_INNER_NODES:
        found = f"{len(pairs) // 2} inner nodes, expected at most {MAX_INNER_NODES}"
        raise _error(field, f"found {found}")
    for j, pair in enumerate(pairs):
        node = NUM_INPUTS + j // 2
        match pair:
            case [str(operation), _] if not is_operation(operation):
                known = f"{', '.join(KNOWN_OPERATIONS)} or module:attribute"
                problem = f"unknown operation {brief(operation)}, expected {known}"
            case [str(), int(i)] if type(i) is int and 0 <= i < node:
                continue
            case [str(), int(i)] if type(i) is int:
                problem = f"predecessor {i} is out of range, node {node} accepts 0..{node - 1}"
            case _:
                problem = f'expected ["operation", predecessor], found {brief(pair)}'
        raise _error(f"{field}[{j}]", problem)
    inner = _inner_nodes(pairs)
    expected = f"expected inner nodes, of {inner[0]}..{inner[-1]}"
    if not isinstance(concat, list | tuple) or not concat:
        raise _error(f"{field}_concat", f"{expected}, found {brief(concat)}")
    for j, node in enumerate(concat):
        if type(node) is not int or node not in inner:
            raise _error(f"{field}_concat[{j}]", f"{expected}, found {brief(node)}")
        if node in concat[:j]:
            raise _error(f"{field}_concat[{j}]", f"node {node} is repeated")
    return tuple(map(tuple, pairs)), tuple(concat)


KNOWN = {name: _genotype(*cells) for name, cells in published.CELLS.items()}
