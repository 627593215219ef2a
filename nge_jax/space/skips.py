"""Skip connections in the cells that a search derives, and by how much each choice was made. No jax.

A supernet gains most by skip connections early, whatever a cell trained from scratch does: the known way in which such
searches collapse. `limit_skips` is the remedy of P-DARTS (Chen et al., ICCV 2019); DARTS+ (Liang et al., 2019) stops by
what `count_skips` counts.
"""

from typing import NamedTuple

import numpy as np

from nge_jax.space.cell import Cell, KeptEdge, kept_edges, operation_counts, space_of
from nge_jax.space.cell import derive as derive_cell
from nge_jax.space.spaces import Space

SKIP = "skip_connect"
NORMAL = 0  # the cell type that is limited, in P-DARTS and DARTS+ the normal cell


def count_skips(cell: Cell, space: Space) -> int:
    """Counts the skip connections of the normal cell."""
    return operation_counts(cell, space.cell_types[NORMAL])[SKIP]


def derive(strengths: np.ndarray, space: Space, most: int) -> Cell:
    """Derives the cells that strengths [C, E, O] favor, with at most so many skip connections in the normal one.

    As long as there are more, the weakest loses its strength and the cell is derived anew, its edges too (P-DARTS).
    """
    return derive_cell(limit_skips(strengths, space, most), space)


def limit_skips(strengths: np.ndarray, space: Space, most: int) -> np.ndarray:
    """Returns the strengths with those at 0 that `derive` takes from skip connections; see there."""
    strengths = np.array(strengths, np.float64)
    skip, edges = space.operations.index(SKIP), space.edges
    while count_skips(cell := derive_cell(strengths, space), space) > most:
        kept = kept_edges(cell, space.cell_types[NORMAL])
        skips = [edges.index((e.source, e.target)) for e in kept if e.operation == SKIP]
        weakest = min(skips, key=lambda e: strengths[NORMAL, e, skip])
        strengths[NORMAL, weakest, skip] = 0
    return strengths


class Margin(NamedTuple):
    """Says by how much an edge of a cell was chosen.

    Attributes:
        edge: as kept.
        strength: of its operation on it.
        runner_up: the strongest other operation there.
        operation_margin: the strength less the runner-up's; below 0 where a limit took the strongest away.
        rival: source of the strongest edge into the same node that is not kept; None where all are.
        edge_margin: the strength less that of the rival's strongest operation; None without one.
    """

    edge: KeptEdge
    strength: float
    runner_up: str
    operation_margin: float
    rival: int | None
    edge_margin: float | None


def margins(strengths: np.ndarray, cell: Cell, cell_type: str) -> list[Margin]:
    """Computes the margins of the kept edges of one cell type, in their order; strengths [C, E, O]."""
    space = space_of(cell)
    of_type = np.asarray(strengths, np.float64)[space.cell_types.index(cell_type)]
    kept = kept_edges(cell, cell_type)
    sources = {(edge.source, edge.target) for edge in kept}
    rows = []
    for edge in kept:
        on_edge = of_type[space.edges.index((edge.source, edge.target))]
        own = space.operations.index(edge.operation)
        second = max((o for o in range(len(on_edge)) if o != own), key=lambda o: on_edge[o])
        left = {
            i: of_type[e].max()
            for e, (i, k) in enumerate(space.edges)
            if k == edge.target and (i, k) not in sources
        }
        rival = max(left, key=lambda i: left[i]) if left else None
        rows.append(
            Margin(
                edge=edge,
                strength=float(on_edge[own]),
                runner_up=space.operations[second],
                operation_margin=float(on_edge[own] - on_edge[second]),
                rival=rival,
                edge_margin=None if rival is None else float(on_edge[own] - left[rival]),
            )
        )
    return rows
