"""Checks of what a config says, before any compute: of its keys and their types, of numbers, names and sizes.

This module imports no jax.
"""

import os
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from nge_jax.errors import InputError
from nge_jax.settings import keys
from nge_jax.settings.configs import describe_type, flatten, shipped_values


def check_keys(config: ConfigDict, like: str) -> None:
    """Refuses a config that lacks keys of a shipped one, or has values of another type.

    It may be of an older version, or written by hand.

    Args:
      config: of any origin.
      like: the name of a shipped config of the same task.

    Raises:
      InputError: names what is wrong.
    """
    expected, given = flatten(shipped_values(like)), flatten(config.to_dict())
    if missing := [key for key in expected if key not in given]:
        keys = ", ".join(f"config.{key}" for key in missing[:4])
        keys += f" and {len(missing) - 4} others" if len(missing) > 4 else ""
        raise InputError(f"{keys}: missing, expected as in {like}.py")
    for key, value in expected.items():
        if not is_like(given[key], value):
            raise InputError(
                f"config.{key}: found {given[key]!r}, expected {describe_type(value)} such as {value!r}"
            )


def check_values(config: ConfigDict) -> None:
    """Refuses numbers and names that the tables of `settings.keys` do not allow."""
    keys.check(config.task, flatten(config.to_dict()))


def check_padding(pad: int, shape: Sequence[int]) -> None:
    """Refuses a `data.pad` beyond the images' own size [H, W, C]: most crops would show nothing."""
    side = min(shape[:2])
    if pad > side:
        raise InputError(
            f"config.data.pad: found {pad}, expected at most the {side} pixels of a side"
        )


def fits_in_memory(key: str, value: int, bytes_each: int, what: str) -> None:
    """Refuses a value by which arrays would take more than half of this machine's memory; `what` they are."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if value * bytes_each > memory / 2:
        raise InputError(
            f"config.{key}: found {value:,}, expected at most {max(1, int(memory / 2 / bytes_each)):,}: {what} would "
            f"take {value * bytes_each / 2**30:,.0f} GiB of this machine's {memory / 2**30:,.0f}"
        )


def check_steps(key: str, epochs: int, steps_per_epoch: int) -> None:
    """Refuses a number of epochs with more steps than are counted."""
    if epochs * steps_per_epoch > keys.COUNT:
        most = keys.COUNT // steps_per_epoch
        raise InputError(
            f"config.{key}: found {epochs:,}, expected at most {most:,} of {steps_per_epoch:,} steps each: steps are "
            f"counted up to {keys.COUNT:,}"
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


def is_like(value: Any, example: Any) -> bool:
    """Whether a value has a type that the code takes for the example's."""
    if isinstance(value, bool) or isinstance(example, bool):
        return isinstance(value, bool) and isinstance(example, bool)
    if isinstance(example, float):
        return isinstance(value, int | float)
    if isinstance(example, tuple):
        return isinstance(value, tuple | list)  # of JSON
    return isinstance(value, type(example))
