"""The config that a workdir records, and the keys that an older version's record lacks. This module imports no jax."""

import contextlib
import copy
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from nge_jax.errors import InputError
from nge_jax.settings import keys
from nge_jax.settings.checks import is_like
from nge_jax.settings.configs import FIRST_OF_TASK, describe_type, flatten, shipped_values
from nge_jax.workdir import artifacts

# The keys, by task, from which a trained network is made and read.
NETWORK_KEYS = {
    "train": ("network", "weights", "run.keep_checkpoints", "train.auxiliary_weight", "genotype"),
    "segment": ("network", "weights", "run.keep_checkpoints", "genotype"),
}
# Keys that were not there yet when the first runs were recorded, with the values by which they change nothing.
YOUNGER: dict[str, dict[str, Any]] = {
    "search": {
        "data.channels": 0,
        "data.class_fraction": 1.0,
        "search.space": "darts",
        "search.relaxation": "softmax",
        "search.order": 1,
        "search.stop_on_skips": 0,
        "search.max_skips": 8,
        "search.skip_dropout": 0.0,
        "search.entropy_weight": 0.0,
        "search.seeds": [],  # as JSON has it
        "search.edge_models": [],
        "search.warmup": 0.0,
        "gumbel.first_temperature": 10.0,
        "gumbel.last_temperature": 0.1,
        "partial.share": 4,
    },
    "train": {
        "init_from": "",
        "data.channels": 0,
        "data.alternate_flip": False,
        "data.test_fraction": 0.2,
        "data.split_seed": 0,
        "data.skip_damaged": False,
        "train.class_weights": "none",
    },
}

# Keys of a search that are younger than the second space.
YOUNGER_THAN_SPACES = ("search.entropy_weight", "search.seeds", "search.edge_models")


def read(workdir: Path) -> ConfigDict:
    """Reads the config of a workdir's run. Keys that are younger than the run get their defaults.

    Raises:
      InputError: there is no config, or it names no task.
    """
    values = artifacts.read_json(workdir / artifacts.CONFIG, ("task",))
    task = values["task"]
    if task in FIRST_OF_TASK and isinstance(values.get("run"), dict):
        values["run"] = shipped_values(FIRST_OF_TASK[task])["run"] | values["run"]
    for key, value in _younger_keys(values, workdir).items():
        *group, last = key.split(".")
        holder = values.setdefault(group[0], {}) if group else values
        if isinstance(
            holder, dict
        ):  # an edited config may have something else, and is refused later
            holder.setdefault(last, copy.copy(value))
    return ConfigDict(values)


def younger_values(task: str, workdir: Path) -> dict[str, Any]:
    """Returns the values by which the keys of YOUNGER change nothing in the workdir's run."""
    younger = dict(YOUNGER.get(task, {}))
    # An earlier version has chosen the channels, and recorded them in another file.
    if "data.channels" in younger:
        with contextlib.suppress(InputError):
            shape = artifacts.read_json(workdir / artifacts.DATASET, ("shape",))["shape"]
            if isinstance(shape, list) and shape and shape[-1] in (1, 3):
                younger["data.channels"] = shape[-1]
    return younger


def _younger_keys(values, workdir):
    """Returns the keys of YOUNGER that a config of the recorded config's kind has in this version."""
    data, search = (flatten({name: values.get(name) or {}}) for name in ("data", "search"))
    names = {
        "search": "search_folder" if "data.image_size" in data else "search_cifar",
        "train": "train_imagenet" if "data.image_size" in data else "train_cifar10",
    }
    if "data.device_budget_gb" in data:
        names["train"] = "train_folder"
    task = values["task"]
    if task not in names:
        return {}
    known = flatten(shipped_values(names[task]))
    younger = younger_values(task, workdir)
    younger = {key: value for key, value in younger.items() if key in known}
    if search.get("search.space", "darts") != "darts":  # such searches are as young as their space
        younger = {key: younger[key] for key in YOUNGER_THAN_SPACES}
    return younger


def check_network_keys(config: ConfigDict, workdir: Path) -> None:
    """Refuses the config that a training's workdir records if no network can be made from it.

    The config may be damaged, or an older version may have written it.

    Raises:
      InputError: names the keys.
    """
    file, given = workdir / artifacts.CONFIG, flatten(config.to_dict())
    expected = flatten(shipped_values(FIRST_OF_TASK[config.task]))
    for key, value in expected.items():
        if not key.startswith(NETWORK_KEYS[config.task]):
            continue
        if key not in given:
            raise InputError(
                f"{file}: config.{key} is missing, expected as in a run of this version"
            )
        if not is_like(given[key], value):
            kind = describe_type(value)
            raise InputError(f"{file}: config.{key}: found {given[key]!r}, expected {kind}")
    try:
        keys.check(config.task, given)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
