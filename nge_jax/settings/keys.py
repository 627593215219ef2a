"""All keys, and which of them a config has: by its task, its search space and its kind of data.

This module imports no jax.
"""

import functools
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from nge_jax.settings import search, segment, shared, train
from nge_jax.settings.key import (
    KINDS,
    MASKS,
    PHOTOGRAPHS,
    SMALL,
    TASKS,
    USER,
    Key,
    Values,
)
from nge_jax.space.spaces import family

# Data sets by name, which need no folder or have their own reader (`data.small`).
SMALL_NAMES = ("cifar10", "cifar100", "digits")

# The groups of keys in their order, each with what is said of it as a whole.
UNTUNED = (
    "The paper names it and gives no setting. The values did well on NAS-Bench-201 (experiments/nas_bench_201.py) and "
    "are untuned on a supernet."
)
GROUPS = {
    "": "",
    "data": "",
    "network": "",
    "limits": "A network that fits: the same limits for the search of its cell and for its training.",
    "search": "",
    "train": "",
    "weights": "The optimizer of the network's weights, SGD in the paper.",
    "embedding": "Adam on the graph embedding, or on its stand-in, at a constant rate.",
    "gumbel": "The relaxation gumbel.",
    "partial": "The relaxation partial.",
    "sigmoid": "The relaxation sigmoid, FairDARTS's.",
    "dirichlet": "The relaxation dirichlet, DrNAS's.",
    "concrete": "The relaxation concrete, SNAS's.",
    "reinforce": f"The strategy reinforce. {UNTUNED}",
    "evolution": f"The strategy evolution. {UNTUNED}",
    "trained": "The evaluator trained, which rates each cell by a training of its own.",
    "final": "The last choice of a strategy: the best cells of its history are compared on more images, the same for "
    "all.",
    "run": "No key here changes a result. A run may go on with other values.",
}


def _of_task(task: str, keys: Iterable[Key]) -> list[Key]:
    return [key._replace(tasks=(task,)) for key in keys]


KEYS: tuple[Key, ...] = tuple(
    sorted(
        [
            *shared.KEYS,
            *_of_task("search", search.KEYS),
            *_of_task("train", train.KEYS),
            *_of_task("segment", segment.KEYS),
        ],
        key=lambda key: list(GROUPS).index(key.group),
    )
)


@functools.cache
def keys_at(task: str, space: str, kind: str) -> Mapping[str, Key]:
    """Returns the keys, by their names, of a config of this task, space and kind of data."""
    keys = (key for key in KEYS if key.exists(task, space, kind))
    return {key.name: key.resolve(task, kind) for key in keys}


def keys_of(values: Values) -> Mapping[str, Key]:
    """Returns the keys that a config has to have, by its task, its space and its data; none without a task."""
    return keys_at(*place(values)) if values.get("task") in TASKS else {}


def place(values: Values) -> tuple[str, str, str]:
    """Returns a config's task, space and kind of data."""
    return values["task"], family(str(values.get("search.space", "darts"))), kind_of_data(values)


def kind_of_data(values: Values) -> str:
    """Tells the kind of data by `data.name`.

    For a training the name leaves two ways for photographs: as ImageNet's, or by the data. A config goes the second
    way if it has a key that the first way lacks, such as `network.stem`.
    """
    task = values["task"]
    if task == "segment":
        return MASKS
    if values.get("data.name") in SMALL_NAMES:
        return SMALL
    if task == "search":
        return USER
    chooses = any(
        key.kinds_at(task) == (USER,) for key in KEYS if key.name in values and task in key.tasks
    )
    return USER if chooses else PHOTOGRAPHS


def left_open(values: Values) -> list[str]:
    """Lists the keys that a config leaves to a user's own images: as 0, or as ()."""
    if kind_of_data(values) != USER:
        return []
    return [name for name, key in keys_of(values).items() if key.by_data and not values[name]]


def check(values: Values, more: Mapping[str, Key] = MappingProxyType({})) -> None:
    """Refuses values that their keys do not allow; keys that are missing or unknown are not looked at.

    Args:
      values: a config's.
      more: keys that parts from outside have declared, by their names.

    Raises:
      InputError: names the key, what was found and what was expected.
    """
    for name, key in {**keys_of(values), **more}.items():
        if name in values:
            key.check(values[name])
    train.check_hue(values)


def find(task: str, name: str) -> Key | None:
    """Returns a key that a task has, wherever it has it."""
    for kind in KINDS.get(task, ()):
        for space in search.SPACES:
            if key := keys_at(task, space, kind).get(name):
                return key
    return None


# These keys name a part that has a group of keys: "gumbel", "evolution", "trained".
PARTS = tuple(f"search.{key}" for key in ("relaxation", "strategy", "evaluator"))


def unread(values: Values) -> dict[str, str]:
    """Returns the keys that a search does not read, each with the name of the key that decides so.

    Args:
      values: a config's; a training or a segmentation reads all of its keys.
    """
    if values.get("task") != "search":
        return {}
    known, found = keys_of(values), {}
    for name, key in known.items():
        readers = [search.READERS[reader] for reader in key.read_by]
        readers += [
            (part, key.group.__eq__)
            for part in PARTS
            if part in known and key.group in known[part].choices
        ]
        for decider, reads in readers:
            if decider == "search.edge_model" and values.get("search.edge_models"):
                decider = "search.edge_models"  # several models take the place of one
            if decider in values and not reads(values[decider]):
                found.setdefault(name, decider)
    return found


# The runs of each task, in a message.
RUNS = {"search": "searches", "train": "trainings", "segment": "segmentations"}


def describe_owners(name: str, values: Values) -> str:
    """Says which other runs have a key that a config does not have, as "a key of searches alone".

    The text is empty for a key that no run has, and for a key that the config should have.

    Args:
      name: the whole name of the key.
      values: the config's.
    """
    if name in keys_of(values):
        return ""
    task = values.get("task")
    owners = [other for other in TASKS if find(other, name)]
    if task not in owners:
        return f"a key of {' and '.join(RUNS[owner] for owner in owners)} alone" if owners else ""
    _, _, kind = place(values)
    kinds = [k for k in KINDS[task] if any(name in keys_at(task, s, k) for s in search.SPACES)]
    if kind not in kinds:
        return f"a key of {RUNS[task]} with {' or '.join(kinds)} alone"
    space = next(space for space in search.SPACES if name in keys_at(task, space, kind))
    return f"a key of {RUNS[task]} in spaces such as {space} alone"


def changes_result(task: str, name: str) -> bool:
    """Whether a run ends otherwise by another value of a key."""
    key = find(task, name)
    return key.changes_result if key else not name.startswith("run.")


def in_program(task: str, name: str) -> bool:
    """Whether compiled programs depend on a key's value."""
    key = find(task, name)
    return changes_result(task, name) and (key is None or key.in_program)


def younger(values: Values) -> dict[str, Any]:
    """Returns keys that older versions did not have, each with the value for which the runs of these versions stand.

    Keys that do not change a result are left out.

    Args:
      values: a config's; they decide which keys there are.
    """
    keys = keys_of(values).values()
    return {k.name: k.value_before for k in keys if k.is_younger and k.changes_result}
