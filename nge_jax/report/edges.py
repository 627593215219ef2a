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


def warning(
    operation: str, counts: Mapping[str, int], last: Mapping[str, Any], cell_type: str
) -> str:
    """Says that edges which move together have one operation, and what to do; `last`: the last epoch's metrics."""
    share = sharing.common_share(last, cell_type)
    return (
        f"{operation} takes {counts[operation]} of the {sum(counts.values())} edges of the {cell_type} cell. All edges "
        f"share parameters: {share:.0%} of a step is common to them, and no edge decides by itself. "
        "embedding.classifier=per_edge gives each edge a classifier, and search.edge_model=alpha has free logits."
    )


def fallen(workdir: Path, epochs: EpochRows, last: Cell) -> Fallen | None:
    """Returns the epochs that `sharing.fallen` finds for the cell that the last P favors, by the workdir's config."""
    settings = artifacts.read_json(workdir / artifacts.CONFIG, ("search",))["search"]
    return sharing.fallen(epochs, last, settings.get("keep_best_below", 0))


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
