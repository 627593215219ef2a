"""The part of a search's report that says whether the edges of a cell decide by themselves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nge_jax.report import run as report_run
from nge_jax.report.document import Block, Text
from nge_jax.report.run import COMMON_COLUMNS
from nge_jax.space import sharing
from nge_jax.space.cell import Cell
from nge_jax.space.sharing import Fallen
from nge_jax.space.skips import SKIP
from nge_jax.workdir import artifacts
from nge_jax.workdir.artifacts import EpochRows

# The metrics of `search.edges`: by title, the beginning of the key and the format.
METRICS = {
    "Common share": ("common_share", ".2f"),
    "Effective rank": ("edge_rank", ".1f"),
    "Mean cosine": ("edge_cosine", ".2f"),
}
EXPLANATION = (
    "How the logits of the edges move. The common share is the part of a step that all edges of a cell have in "
    "common, for gradients that are independent between edges; the effective rank counts the ways in which edges can "
    "move apart. Free logits have a share of one by the number of edges, and a rank of that number. The mean cosine is "
    "between two edges' movements in the epoch."
)


def sentences(counts: Mapping[str, int], last: Mapping[str, Any], cell_type: str) -> list[str]:
    """Says that nearly all edges of a cell found have one operation; empty where they have not.

    The report's line on skip connections says it of these. Here stands only whether the edges move together.

    Args:
        counts: how often each operation stands on the cell's edges.
        last: the metrics of the epoch that decides.
        cell_type: the cell's type.
    """
    operation = sharing.constant_operation(counts)
    if operation is None:
        return []
    told = [] if operation == SKIP else [sharing.tell_constant(operation, counts, cell_type)]
    if sharing.moves_together(last, cell_type):
        share = sharing.common_share(last, cell_type)
        told += [
            f"All edges share parameters: {share:.0%} of a step is common to them, and no edge decides by itself.",
            "embedding.classifier=per_edge gives each edge a classifier, and search.edge_model=alpha has free logits.",
        ]
    elif told:
        told.append("A random cell, trained beside it, tells whether that is a choice.")
    return told


def fallen(workdir: Path, epochs: EpochRows, last: Cell) -> tuple[Fallen | None, list[str]]:
    """Returns what `sharing.fallen` finds by the workdir's config, and what the report says of it.

    Args:
        workdir: of a search by gradient.
        epochs: the rows of metrics.
        last: the cell that the last P favors.
    """
    settings = artifacts.read_json(workdir / artifacts.CONFIG, ("search",))["search"]
    limit = settings.get("keep_best_below", 0)
    if (found := sharing.fallen(epochs, last, limit)) is not None:
        return found, [sharing.tell_fallen(*found)]
    told = sharing.not_kept(epochs, last, limit)
    return None, [] if told is None else [told]


def blocks(epochs: EpochRows, cell_types: Sequence[str]) -> list[Block]:
    """Makes the table of the edges' metrics; empty if the search recorded none."""
    columns = {
        f"{title}, {kind}": (f"{name}_{kind}", shown)
        for kind in cell_types
        for title, (name, shown) in METRICS.items()
    }
    columns = {t: (key, s) for t, (key, s) in columns.items() if all(key in row for row in epochs)}
    if not columns:
        return []
    table = report_run.epoch_table(epochs, {"Epoch": COMMON_COLUMNS["Epoch"], **columns})
    return [Text(EXPLANATION), table]
