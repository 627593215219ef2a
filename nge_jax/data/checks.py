"""Whether a config has every key that its task reads: which these are depends on the kind of data that it names."""

from typing import Any

from ml_collections import ConfigDict

from nge_jax.data import small
from nge_jax.errors import InputError
from nge_jax.settings.checks import check_keys, check_values
from nge_jax.settings.configs import FIRST_OF_TASK

OWN = "device_budget_gb"  # a key that configs of a user's own images alone have


def check_complete(config: Any, task: str) -> None:
    """Refuses what is no config of this task: of another one, of an older version, written by hand.

    Raises:
      InputError: names the key that is missing, or of the wrong type, or out of its limits.
    """
    if not isinstance(config, ConfigDict):
        raise InputError(f"config: found {type(config).__name__}, expected a ConfigDict")
    found = config.get("task")
    if found != task:
        raise InputError(f"config.task: found {found!r}, expected {task!r}")
    _check_kind(task, config)
    check_keys(config, like=_shipped_config(task, config))
    check_values(config)


def _check_kind(task: str, config: ConfigDict) -> None:
    """Refuses a data set's name in a config of the other kind, which lacks that kind's keys."""
    # By these it is known which other keys there have to be.
    for group, key in [("data", "name")] * (task != "segment") + [("search", "space")] * (
        task == "search"
    ):
        if (given := _group(config, group)) and key not in given:
            raise InputError(
                f"config.{group}.{key}: missing, expected as in {FIRST_OF_TASK[task]}.py"
            )
    data = _group(config, "data")
    name = data.get("name")
    if task == "segment" or not isinstance(name, str):
        return
    is_small = name in small.NUM_CLASSES
    if OWN in data and not is_small:
        return
    if task == "search" and not is_small and "image_size" not in data:
        raise InputError(
            f"config.data.name: found {name!r}, expected one of {', '.join(small.NUM_CLASSES)} (search_folder takes "
            "other images)"
        )
    if task == "search":
        return
    if is_small and "image_size" in data and "cutout" not in data:
        raise InputError(
            f"config.data.name: found {name!r}, expected a set of photographs (a config such as train_cifar10 "
            f"or train_digits takes {', '.join(small.NUM_CLASSES)})"
        )
    if not is_small and "cutout" in data and "image_size" not in data:
        raise InputError(
            f"config.data.name: found {name!r}, expected one of {', '.join(small.NUM_CLASSES)} (a config such as "
            "train_imagenet takes photographs)"
        )


def _shipped_config(task: str, config: ConfigDict) -> str:
    """Returns the name of a shipped config with all keys that the task reads."""
    data = _group(config, "data")
    is_small = str(data.get("name")) in small.NUM_CLASSES
    if task == "search" and _group(config, "search").get("space") == "nas_bench_201":
        return "search_nas_bench_201"
    if task == "search" and not is_small:
        return "search_folder"
    if task != "train":
        return FIRST_OF_TASK[task]
    if is_small:
        return "train_cifar10"
    # With the keys of both it chooses between their ways.
    is_own = OWN in data or ("pad" in data and "image_size" in data)
    return "train_folder" if is_own else "train_imagenet"


def _group(config, name):
    """Returns a group of keys; an empty one where it is missing or is none, which is then refused as missing keys."""
    group = config.get(name)
    return group if isinstance(group, ConfigDict) else {}
