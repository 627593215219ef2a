"""Skip connections in the cells that a search derives, and the margins of a cell's choices. No jax.

Early in a search a supernet gains most by skip connections, however badly their cell trains from scratch. This is the
known way in which such searches collapse. P-DARTS (Chen et al., ICCV 2019) limits the skip connections: `limit_skips`.
DARTS+ (Liang et al., 2019) stops a search by their number: `count_skips`.
"""

from typing import NamedTuple

import numpy as np

from nge_jax.space.cell import Cell
from nge_jax.space.cell import derive as derive_cell
from nge_jax.space.spaces import DARTS, KeptEdge, Space

SKIP = "skip_connect"
NORMAL = 0  # the cell type that is limited: P-DARTS and DARTS+ limit the normal cell


def count_skips(cell: Cell, space: Space) -> int:
    """Counts the skip connections of the normal cell."""
    kept = cell.kept_edges(space.cell_types[NORMAL])
    return sum(edge.operation == SKIP for edge in kept)


def derive(strengths: np.ndarray, space: Space, most: int) -> Cell:
    """Derives the cells that strengths [C, E, O] favor, with at most `most` skip connections in the normal cell.

    As long as there are more, the weakest skip connection loses its strength, and the cell is derived anew with all
    its edges (P-DARTS).
    """
    return derive_cell(limit_skips(strengths, space, most), space)


def most_skips(limit: int, space: Space) -> int:
    """Returns how many skip connections a cell may have: 8, as many as the paper's cell has edges, is no limit."""
    return space.num_kept if limit == DARTS.num_kept else limit


def limit_skips(strengths: np.ndarray, space: Space, most: int) -> np.ndarray:
    """Returns the strengths, with 0 for each skip connection that `derive` takes the strength from."""
    strengths = np.array(strengths, np.float64)
    if SKIP not in space.operations:
        return strengths
    skip, edges = space.operations.index(SKIP), space.edges
    while count_skips(cell := derive_cell(strengths, space), space) > most:
        kept = cell.kept_edges(space.cell_types[NORMAL])
        skips = [edges.index((e.source, e.target)) for e in kept if e.operation == SKIP]
        weakest = min(skips, key=lambda e: strengths[NORMAL, e, skip])
        strengths[NORMAL, weakest, skip] = 0
    return strengths


class Margin(NamedTuple):
    """Says by how much an edge of a cell was chosen.

    Attributes:
        edge: the kept edge.
        strength: the strength of the edge's operation.
        runner_up: the strongest other operation on the edge.
        operation_margin: the strength less the runner-up's strength; below 0 where a limit took the strongest away.
        rival: source of the strongest edge into the same node that is not kept; None where all edges are kept.
        edge_margin: the strength less the strength of the rival's strongest operation; None without a rival.
    """

    edge: KeptEdge
    strength: float
    runner_up: str
    operation_margin: float
    rival: int | None
    edge_margin: float | None


def margins(strengths: np.ndarray, cell: Cell, cell_type: str, space: Space) -> list[Margin]:
    """Computes the margins of the kept edges of one cell type, in their order; strengths [C, E, O] of the space."""
    of_type = np.asarray(strengths, np.float64)[space.cell_types.index(cell_type)]
    kept = cell.kept_edges(cell_type)
    sources = {(edge.source, edge.target) for edge in kept}
    rows = []
    for edge in kept:
        on_edge = of_type[space.edges.index((edge.source, edge.target))]
        chosen = space.operations.index(edge.operation)
        second = max((o for o in range(len(on_edge)) if o != chosen), key=lambda o: on_edge[o])
        left = {
            i: of_type[e].max()
            for e, (i, k) in enumerate(space.edges)
            if k == edge.target and (i, k) not in sources
        }
        rival = max(left, key=lambda i: left[i]) if left else None
        rows.append(
            Margin(
                edge=edge,
                strength=float(on_edge[chosen]),
                runner_up=space.operations[second],
                operation_margin=float(on_edge[chosen] - on_edge[second]),
                rival=rival,
                edge_margin=None if rival is None else float(on_edge[chosen] - left[rival]),
            )
        )
    return rows
