"""The milliseconds of a search's cell in the search's report: expected, summed over a table, and measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nge_jax.errors import InputError
from nge_jax.report.document import Section, Table, Text
from nge_jax.text.digits import three_digits
from nge_jax.workdir import artifacts

NUMBERS = ("median", "low", "high", "parameters", "multiply_adds")


def sections(workdir: Path) -> list[Section]:
    """Makes the section of the record latency.json; none without a record.

    Raises:
      InputError: the record holds something else.
    """
    path = workdir / artifacts.LATENCY
    if not path.exists():
        return []
    record = artifacts.read_json(path)
    try:
        sums, measured = record.get("table"), record.get("measured", [])
        rows = [] if sums is None else _rows_of_table(sums)
        summed, sizes = (
            None if sums is None else float(sums["summed"]),
            artifacts.read_sizes(workdir),
        )
        rows += [_row_of_time(row, summed, None if not sizes else sizes[0][1:]) for row in measured]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: expected the times of a search, found {error!r}") from None
    text = Text(
        "For one image. A sum over a table lacks what caches and fused operations do. nge latency measures the network "
        "of the cell, and nge report then shows the time here. The error of the sum is relative to the time measured."
    )
    header = ("Time", "Of", "Milliseconds", "10th to 90th percentile", "Error of the sum")
    return [Section("Milliseconds", [text, Table(header, rows)])]


def _rows_of_table(sums: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    if sums["expected"] is not None:
        of = f"the last P, by {sums['file']}"
        rows.append(("expected", of, three_digits(sums["expected"]), "", ""))
    of = f"the cell found, by {sums['file']}"
    return [*rows, ("summed", of, three_digits(sums["summed"]), "", "")]


def _row_of_time(
    row: Mapping[str, Any], summed: float | None, sizes: tuple[int, int] | None
) -> tuple[str, ...]:
    """Makes the row of a measured time, with the error of the sum if the sum is for the same network."""
    median, low, high, *counted = (float(row[name]) for name in NUMBERS)
    is_same = sizes is not None and tuple(counted) == sizes
    error = f"{summed / median - 1:+.1%}" if summed is not None and is_same and median else ""
    of = f"{row['network']}, on {row['device']}"
    between = f"{three_digits(low)} to {three_digits(high)}"
    return "measured", of, three_digits(median), between, error
