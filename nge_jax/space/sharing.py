"""Tells when the edges of a cell do not decide by themselves: they move together and have one operation. No jax."""

from collections.abc import Mapping, Sequence
from typing import Any

COMMON = 0.5  # a larger part of the logits' squared movement is common to all edges
SAME = 0.8  # at least this part of a cell's edges has one operation


def most_common(counts: Mapping[str, int]) -> tuple[str, float]:
    """Returns the operation that stands on most edges, by `Cell.operation_counts`, and its part of the edges."""
    name = max(counts, key=lambda operation: counts[operation])
    return name, counts[name] / sum(counts.values())


def common_share(row: Mapping[str, Any], cell_type: str) -> float:
    """Reads an epoch's common share of a cell type; 0 where a search or an earlier version recorded none."""
    return float(row.get(f"common_share_{cell_type}", 0))


def shared_operation(
    row: Mapping[str, Any], counts: Mapping[str, int], cell_type: str
) -> str | None:
    """Returns the operation that nearly all edges of a cell have because they move together; None if there is none.

    Args:
        row: an epoch's metrics.
        counts: how often each operation stands on the cell's edges.
        cell_type: the cell's type.
    """
    name, part = most_common(counts)
    return name if common_share(row, cell_type) > COMMON and part >= SAME else None


Fallen = tuple[Mapping[str, Any], Mapping[str, Any]]  # the rows of the best and of the last epoch


def fallen(rows: Sequence[Mapping[str, Any]], cell: Any, limit: float) -> Fallen | None:
    """Returns the rows of the best and of the last epoch, if the last epoch should not decide (search.keep_best_below).

    It should not if the validation accuracy has fallen below a part of the best accuracy. Nearly all edges of a cell
    type have one operation then, too.

    Args:
        rows: the epochs' metrics, in order.
        cell: the cell that P favors after the last epoch.
        limit: the part of the best accuracy; 0: the last epoch always decides.
    """
    counts = [cell.operation_counts(kind) for kind in cell.space.cell_types]
    if not limit or all(most_common(of_kind)[1] < SAME for of_kind in counts):
        return None
    best, last = max(rows, key=lambda row: row["embedding_accuracy"]), rows[-1]
    is_low = last["embedding_accuracy"] < limit * best["embedding_accuracy"]
    return (best, last) if is_low else None


def tell_fallen(best: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    """Says that another epoch than the last one decides, and why."""
    return (
        f"The supernet's validation accuracy fell from {best['embedding_accuracy']:.1%} (epoch {best['epoch']}) to "
        f"{last['embedding_accuracy']:.1%} (epoch {last['epoch']}), while P put one operation on nearly all edges. "
        f"The cells are derived from P after epoch {best['epoch']} (search.keep_best_below)."
    )
