"""Checks of a config before any compute: its keys, their types, numbers, names and sizes.

This module imports no jax.
"""

import functools
import os
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ml_collections import ConfigDict

from nge_jax.errors import InputError
from nge_jax.settings import keys
from nge_jax.settings.configs import flatten, load_config, shipped_configs
from nge_jax.settings.key import (
    COUNT,
    KINDS,
    PHOTOGRAPHS,
    SMALL,
    USER,
    Key,
    Values,
    brief,
    describe_type,
)
from nge_jax.settings.parts import named
from nge_jax.settings.parts.named import Parts
from nge_jax.settings.parts.part import NONE

# Messages say this of a kind of data: what they expect of `data.name`, and what another config takes.
NAMES = {
    SMALL: (f"one of {', '.join(keys.SMALL_NAMES)}", ", ".join(keys.SMALL_NAMES)),
    PHOTOGRAPHS: ("a set of photographs", "photographs"),
    USER: ("folder:DIR, npz:FILE or a set of TFDS", "other images"),
}


def check_complete(config: Any, task: str, given: Parts = NONE) -> None:
    """Refuses another task's config, and one with missing keys or wrong values.

    The config may be written by hand, or for an older version.

    Args:
      config: a config.
      task: the task that it should have.
      given: parts from outside that Python gave as values.

    Raises:
      InputError: names the key that is missing, or has another type, or a value that is not allowed; or a part from
        outside cannot be loaded.
    """
    if not isinstance(config, ConfigDict):
        raise InputError(f"config: found {type(config).__name__}, expected a ConfigDict")
    values = flatten(config.to_dict())
    if (found := config.get("task")) != task:
        raise InputError(f"config.task: found {found!r}, expected {task!r}")
    _check_places(values)
    declared = named.declared_keys(named.find(values, given))
    check_keys(values, declared)
    keys.check(values, declared)


def _check_places(values: Values) -> None:
    """Refuses a config that has a group, but not the key in it that decides on the other keys."""
    for name in ("data.name", "search.space"):
        key = keys.find(values["task"], name)
        if key is None or name in values:
            continue
        if any(other.startswith(f"{key.group}.") for other in values):
            raise InputError(f"config.{name}: missing, expected a value such as {key.default!r}")


def check_keys(values: Values, declared: Mapping[str, Key] = MappingProxyType({})) -> None:
    """Refuses a config that lacks keys, or has values of other types; `declared`: the keys of parts from outside.

    Raises:
      InputError: names what is wrong.
    """
    expected = {**keys.keys_of(values), **declared}
    if missing := [name for name in expected if name not in values]:
        _check_data_name(values)
        listed = ", ".join(f"config.{name}" for name in missing[:4])
        if more := len(missing[4:]):
            listed += f" and {more} other{'s' * (more > 1)}"
        raise InputError(f"{listed}: missing, {_expected(values, missing, expected)}")
    for name, key in expected.items():
        if not key.has_type(values[name]):
            kind = describe_type(key.default)
            raise InputError(
                f"config.{name}: found {values[name]!r}, expected {kind} such as {key.default!r}"
            )


def check_read(values: Values, given: Collection[str], begun: Values) -> None:
    """Refuses keys that a user gives to a search which does not read them.

    Args:
      values: the config's, as a workdir records them.
      given: the names of the keys that the user gives.
      begun: the recorded values of the workdir's run, which goes on by the command that began it.

    Raises:
      InputError: names the key, and the value of another key that decides so.
    """
    supernet = {"search.strategy": "gradient", "search.evaluator": "supernet"}
    for name, decider in keys.unread(values).items():
        if name in given and begun.get(name) != values[name]:
            word = (
                ""
                if name in keys.unread({**values, **supernet})
                else gradient_word(values["search.evaluator"])
            )
            raise InputError(
                f"config.{name}: found {brief(values[name])}, expected none: a search with config.{decider}="
                f"{values[decider]!r} does not read it{word}"
            )


def gradient_word(evaluator: str | None) -> str:
    """Names the word for a search by the gradient, where a config rates cells by trainings; else ""."""
    if evaluator != "trained":
        return ""
    return "; the word gradient after the config's name searches by a supernet"


def _check_data_name(values: Values) -> None:
    """Refuses a data set of one kind in a config that has the keys of another kind."""
    task, space, kind = keys.place(values)
    name = values.get("data.name")
    wanted = keys.keys_of(values).keys()
    for other in reversed(KINDS[task]):  # own images have all keys of photographs, too
        has = keys.keys_at(task, space, other).keys()
        is_of_other = has <= values.keys() and values.keys().isdisjoint(wanted - has)
        if other != kind and is_of_other and isinstance(name, str):
            like, (expected, _) = _shipped_at(task, space, kind), NAMES[other]
            hint = f" (a config such as {like} takes {NAMES[kind][1]})" if like else ""
            raise InputError(f"config.data.name: found {name!r}, expected {expected}{hint}")


def _expected(values: Values, missing: Collection[str], known: Mapping[str, Key]) -> str:
    """Says which shipped config has the missing keys, or else their defaults."""
    is_own = keys.keys_of(values).keys() >= {*missing}
    if is_own and (like := _shipped_at(*keys.place(values))):
        return f"expected as in {like}.py"
    defaults = [known[name].default for name in missing]
    return f"expected values such as {', '.join(map(repr, defaults[:4]))}"


@functools.cache
def _shipped_at(task: str, space: str, kind: str) -> str | None:
    """Returns the first shipped config with this task, space and kind of data; None where there is none."""
    for name in shipped_configs():
        if keys.place(flatten(load_config(name).to_dict())) == (task, space, kind):
            return name
    return None


def check_padding(pad: int, shape: Sequence[int]) -> None:
    """Refuses a `data.pad` beyond the images' own size [H, W, C]: most crops would show nothing."""
    side = min(shape[:2])
    if pad > side:
        raise InputError(
            f"config.data.pad: found {pad}, expected at most the {side} pixels of a side"
        )


def fits_in_memory(key: str, value: int, bytes_each: int, what: str) -> None:
    """Refuses a value by which arrays would take more than half of this machine's memory; `what` names the arrays."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if value * bytes_each > memory / 2:
        raise InputError(
            f"config.{key}: found {value:,}, expected at most {max(1, int(memory / 2 / bytes_each)):,}: {what} would "
            f"take {value * bytes_each / 2**30:,.0f} GiB of this machine's {memory / 2**30:,.0f}"
        )


def check_steps(key: str, epochs: int, steps_per_epoch: int) -> None:
    """Refuses a number of epochs whose steps are too many to be counted."""
    if epochs * steps_per_epoch > COUNT:
        most = COUNT // steps_per_epoch
        raise InputError(
            f"config.{key}: found {epochs:,}, expected at most {most:,} of {steps_per_epoch:,} steps each: steps are "
            f"counted up to {COUNT:,}"
        )


def divides_among(key: str, batch_size: int, devices: int, micro_batches: int = 1) -> None:
    """Refuses a batch that devices, and each one's micro-batches, cannot divide into equal parts."""
    if batch_size % (devices * micro_batches) == 0:
        return
    parts = f"{devices} device{'s' * (devices > 1)}"
    if micro_batches > 1:
        parts += f" times {micro_batches} micro-batches"
    line = f"config.{key}: {parts} do not divide a batch of {batch_size}, expected a multiple of "
    line += f"{devices * micro_batches}"
    fewer = [n for n in range(1, devices) if batch_size % (n * micro_batches) == 0]
    if fewer:  # a run that has begun keeps its batch
        line += f"; a run of this batch goes on with {' or '.join(map(str, fewer))} of the devices"
    raise InputError(line)
