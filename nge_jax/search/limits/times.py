"""Milliseconds as costs of cells, by the table of a device, and the record of a table that a search began with."""

import hashlib
from pathlib import Path
from typing import Any

from nge_jax.errors import InputError, prefixed
from nge_jax.latency import costs as latency_costs
from nge_jax.latency import table as latency_table
from nge_jax.latency.parts import NetworkShape
from nge_jax.space.budget.costs import CellCosts
from nge_jax.workdir import artifacts

KEY = "config.limits.latency_table"


def read_costs(file: str, shape: NetworkShape) -> CellCosts:
    """Reads the nanoseconds of all cells [1, ...] of the paper's space from a table of latencies.

    Raises:
      InputError: there is no such table, or it lacks a part of the network.
    """
    try:
        times = latency_table.read(Path(file).expanduser())
        with prefixed(f"{file}: "):
            return latency_costs.cell_costs(times, shape)
    except InputError as error:
        raise InputError(f"{KEY}: {error}") from None
    except RuntimeError as error:  # "~" without a home folder
        raise InputError(f"{KEY}: {file}: {error}") from None


def describe(file: str, costs: CellCosts, number: int) -> dict[str, str]:
    """Returns the record of a table: the file's name, and a digest of the costs `number`, by which it is known."""
    content = costs.base[number].tobytes() + costs.edges[number].tobytes()
    return {"file": Path(file).name, "digest": hashlib.sha256(content).hexdigest()[:16]}


def check_begun(begun: Any, now: dict[str, str], workdir: Path) -> None:
    """Refuses a table whose times are others than those of the search's begin; both are records of `describe`.

    Raises:
      InputError: names the key.
    """
    digest = begun.get("digest") if isinstance(begun, dict) else None
    if digest != now["digest"]:
        raise InputError(
            f"{KEY}: found {now['file']} with other times than those with which this search began "
            f"({workdir / artifacts.LIMITS}), expected the same times; choose another --workdir for another table"
        )
