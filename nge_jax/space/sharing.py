"""Tells when nearly all edges of a cell have one operation, and when the supernet fell while P decided. No jax."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

COMMON = 0.5  # a larger part of the logits' squared movement is common to all edges
SAME = 0.8  # at least this part of a cell's edges has one operation
FALL = 0.7  # a supernet has fallen below this part of its best validation accuracy, if the config names no part


def most_common(counts: Mapping[str, int]) -> tuple[str, float]:
    """Returns the operation that stands on most edges, by `Cell.operation_counts`, and its part of the edges."""
    name = max(counts, key=lambda operation: counts[operation])
    return name, counts[name] / sum(counts.values())


def common_share(row: Mapping[str, Any], cell_type: str) -> float:
    """Reads an epoch's common share of a cell type; 0 where a search or an earlier version recorded none."""
    return float(row.get(f"common_share_{cell_type}", 0))


def constant_operation(counts: Mapping[str, int]) -> str | None:
    """Returns the operation that nearly all edges of a cell have; None if there is none.

    Args:
        counts: how often each operation stands on the cell's edges.
    """
    name, part = most_common(counts)
    return name if part >= SAME else None


def moves_together(row: Mapping[str, Any], cell_type: str) -> bool:
    """Tells by an epoch's metrics whether a step for one edge of a cell type moves all edges alike."""
    return common_share(row, cell_type) > COMMON


def tell_constant(operation: str, counts: Mapping[str, int], cell_type: str) -> str:
    """Says that nearly all edges of a cell have one operation."""
    count = f"{counts[operation]} of the {sum(counts.values())} edges"
    return f"{operation} takes {count} of the {cell_type} cell."


def constant_cells(cell: Any) -> Iterator[str]:
    """Yields a line for each cell type of a cell found in which nearly all edges have one operation."""
    for cell_type in cell.space.cell_types:
        counts = cell.operation_counts(cell_type)
        if (operation := constant_operation(counts)) is not None:
            yield tell_constant(operation, counts, cell_type)


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
    return has_fallen(rows, limit) if limit and any(constant_cells(cell)) else None


def has_fallen(rows: Sequence[Mapping[str, Any]], limit: float) -> Fallen | None:
    """Returns the rows of the best and of the last epoch, if the validation accuracy fell below a part of the best."""
    best, last = max(rows, key=lambda row: row["embedding_accuracy"]), rows[-1]
    is_low = last["embedding_accuracy"] < limit * best["embedding_accuracy"]
    return (best, last) if is_low else None


def tell_fallen(best: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    """Says that another epoch than the last one decides, and why."""
    return (
        f"{_tell_fall(best, last)}, while P put one operation on nearly all edges. "
        f"The cells are derived from P after epoch {best['epoch']} (search.keep_best_below)."
    )


def not_kept(rows: Sequence[Mapping[str, Any]], cell: Any, limit: float) -> str | None:
    """Says that the last epoch decides although the validation accuracy has fallen; None if it has not fallen.

    Args:
        rows, cell, limit: see `fallen`, which finds no other epoch that decides.
    """
    if (found := has_fallen(rows, limit or FALL)) is None:
        return None
    told = f"{_tell_fall(*found)}. The cells are derived from the last P all the same"
    if limit or not any(constant_cells(cell)):
        return f"{told}."
    epoch = found[0]["epoch"]
    return f"{told}: search.keep_best_below={FALL} derives them from P after epoch {epoch}."


def _tell_fall(best: Mapping[str, Any], last: Mapping[str, Any]) -> str:
    return (
        f"The supernet's validation accuracy fell from {best['embedding_accuracy']:.1%} (epoch {best['epoch']}) to "
        f"{last['embedding_accuracy']:.1%} (epoch {last['epoch']})"
    )
