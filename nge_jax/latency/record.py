"""The record latency.json of a search: the milliseconds of its cell, summed over a table, and measured.

    {"table": {"file", "summed", "expected"}, "measured": [{"device", "network", "median", ...}, ...]}

`expected` is the time under the last P; null where the cell is not derived from P.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nge_jax.workdir import artifacts

TABLE, MEASURED = "table", "measured"


def add_sums(workdir: Path, file: str, summed: float, expected: float | None) -> None:
    """Records the sum over a table's parts for the cell found, and the expected sum.

    Raises:
      InputError: there is a record that is no JSON object.
    """
    sums = {"file": file, "summed": summed, "expected": expected}
    artifacts.write_json(workdir / artifacts.LATENCY, _read(workdir) | {TABLE: sums})


def add_measured(workdir: Path, row: Mapping[str, Any]) -> None:
    """Records a measurement in place of an earlier one of the same `network` on the same `device`.

    Raises:
      InputError: there is a record that is no JSON object.
    """
    record = _read(workdir)
    rows = record.get(MEASURED)
    others = [
        other
        for other in (rows if isinstance(rows, list) else [])
        if isinstance(other, dict) and any(other.get(k) != row[k] for k in ("device", "network"))
    ]
    artifacts.write_json(workdir / artifacts.LATENCY, record | {MEASURED: [*others, dict(row)]})


def _read(workdir: Path) -> dict[str, Any]:
    path = workdir / artifacts.LATENCY
    return artifacts.read_json(path) if path.exists() else {}
