"""The config that a workdir records, and the keys that an older version's record lacks. This module imports no jax."""

import contextlib
import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from nge_jax import files
from nge_jax.errors import InputError, prefixed
from nge_jax.settings import keys
from nge_jax.settings.configs import flatten
from nge_jax.settings.key import Values, describe_type
from nge_jax.space.genotype import Genotype
from nge_jax.space.parts import loading, reference
from nge_jax.workdir import artifacts

# The keys, by task, from which a trained network is made and read.
NETWORK_KEYS = {
    "train": (
        "network",
        "weights",
        "run.keep_checkpoints",
        "train.auxiliary_weight",
        "train.patience",
        "genotype",
    ),
    "segment": ("network", "weights", "run.keep_checkpoints", "genotype"),
}


def read(workdir: Path) -> ConfigDict:
    """Reads the config of a workdir's run. Keys that are younger than the run get their defaults.

    Raises:
      InputError: there is no config, or it names no task.
    """
    values = artifacts.read_json(workdir / artifacts.CONFIG, ("task",))
    given = flatten(values)
    lacking = younger_values(given, workdir)
    if isinstance(values.get("run"), dict):
        lacking |= {n: k.value_before for n, k in keys.keys_of(given).items() if k.group == "run"}
    for name, value in lacking.items():
        group, _, last = name.rpartition(".")
        holder = values.setdefault(group, {}) if group else values
        # An edited config may have something else, and is refused later.
        if isinstance(holder, dict):
            holder.setdefault(last, value)
    return ConfigDict(values)


def younger_values(values: Values, workdir: Path) -> dict[str, Any]:
    """Returns the keys that older versions did not have, with the values for which the run in a workdir stands.

    Args:
      values: a config's; they decide which keys there are.
      workdir: the run's.
    """
    younger = keys.younger(values)
    # An earlier version has chosen the channels, and recorded them in another file.
    if "data.channels" in younger:
        with contextlib.suppress(InputError):
            shape = artifacts.read_json(workdir / artifacts.DATASET, ("shape",))["shape"]
            if isinstance(shape, list) and shape and shape[-1] in (1, 3):
                younger["data.channels"] = shape[-1]
    return younger


def operations_to_json(rows: Collection[str]) -> str:
    """Writes the record of a network's own operations, as `read_operations` returns it; "" where it has none."""
    return json.dumps({"operations": [*rows]}, indent=2) + "\n" if rows else ""


def write_operations(folder: Path, rows: Collection[str]) -> None:
    """Writes the record into a folder of an exported network; no file where there is nothing to record."""
    if text := operations_to_json(rows):
        files.write_atomically(folder / artifacts.OPERATIONS, text)


def current_operations(cells: Genotype) -> list[str]:
    """Returns the user's own operations of a network, each with the hash of the file, see `reference.source`."""
    return loading.sources(_operations(cells))


def read_operations(workdir: Path, cells: Genotype) -> list[str]:
    """Reads the operations with which a network was trained.

    Args:
      workdir: the training's, or a folder of the exported network. An older version has recorded nothing there, and the
        operations count as unchanged.
      cells: the network's.

    Raises:
      InputError: the record is damaged, or an operation cannot be loaded.
    """
    file = workdir / artifacts.OPERATIONS
    if not file.exists():
        return current_operations(cells)
    rows = artifacts.read_json(file, ("operations",))["operations"]
    return [*map(str, rows)] if isinstance(rows, list) else []


def warn_of_changed_operations(named: str, cells: Genotype) -> None:
    """Warns of own operations whose files have changed since the run that found a cell.

    Args:
      named: the genotype as a config names it. A run's folder, or the genotype there, has a record.
      cells: the cells, whose operations are compared.
    """
    rows: list[str] = []
    with contextlib.suppress(InputError, OSError, ValueError):  # a name or a text has no folder
        folder = Path(named) if Path(named).is_dir() else Path(named).parent
        found = artifacts.read_json(folder / artifacts.CONFIG, ("search",))["search"]
        rows = [*map(str, found.get("sources", ()))]
    warn_of_changes(cells, rows, f"{named} was searched", "config.genotype: ")


def warn_of_changes(cells: Genotype, rows: Collection[str], since: str, where: str = "") -> None:
    """Warns of own operations whose files have changed.

    Args:
      cells: the cells with the operations.
      rows: the operations as they were recorded, see `reference.source`.
      since: when the rows were recorded.
      where: begins the line.
    """
    for text in reference.changed_files(current_operations(cells), rows, since):
        print(f"warning: {where}{text}: the network may compute something else", file=sys.stderr)


def _operations(cells: Genotype) -> set[str]:
    return {operation for operation, _ in cells.normal + cells.reduce}


def check_trains(workdir: Path, values: Mapping[str, Any]) -> None:
    """Refuses a workdir of another task than a training or a segmentation; `values`: of the config, nested.

    Raises:
      InputError: names the folder in it that holds a network, if a search or a study has left one.
    """
    if values["task"] in NETWORK_KEYS:
        return
    kind = "study" if artifacts.is_study(values) else values["task"]
    folder = workdir / artifacts.NETWORK
    place = f"; {folder} has a network" if (folder / artifacts.CONFIG).is_file() else ""
    raise InputError(f"{workdir}: found the workdir of a {kind}, expected of a training{place}")


def check_single(workdir: Path, values: Mapping[str, Any]) -> None:
    """Refuses the workdir of a study, which has no cell and no epochs itself; `values`: of its config, nested.

    Raises:
      InputError: names the folders in it that are workdirs of searches.
    """
    if artifacts.is_study(values):
        searches = sorted(workdir.glob(artifacts.SEARCHES), key=lambda path: (len(path.name), path))
        place = f": {', '.join(map(str, searches))}" if searches else ""
        raise InputError(
            f"{workdir}: found the workdir of a study, expected of a search or a training{place}"
        )


def read_of_network(workdir: Path) -> ConfigDict:
    """Reads the config of a training's or a segmentation's workdir, from which the network can be made.

    The config may be damaged, or an older version may have written it.

    Raises:
      InputError: there is no config, or it is of another task, or no network can be made from it.
    """
    config = read(workdir)
    check_trains(workdir, config.to_dict())
    file, given = workdir / artifacts.CONFIG, flatten(config.to_dict())
    for name, key in keys.keys_of(given).items():
        if not name.startswith(NETWORK_KEYS[config.task]):
            continue
        if name not in given:
            raise InputError(
                f"{file}: config.{name} is missing, expected as in a run of this version"
            )
        if not key.has_type(given[name]):
            kind = describe_type(key.default)
            raise InputError(f"{file}: config.{name}: found {given[name]!r}, expected {kind}")
    with prefixed(f"{file}: "):
        keys.check(given)
    return config
