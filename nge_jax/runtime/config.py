"""What configs may say: checks of single values, and their flat form."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from nge_jax.errors import InputError
from nge_jax.runtime import artifacts


def read(workdir: Path) -> ConfigDict:
    """Reads the config of the run whose workdir it is.

    Raises:
      InputError: there is none, or it names no task.
    """
    return ConfigDict(artifacts.read_json(workdir / artifacts.CONFIG, ("task",)))


def flatten(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots: {"data": {"name": 1}} becomes {"data.name": 1}."""
    flat = {}
    for key, value in record.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


DTYPES = ("float32", "bfloat16")


def at_least(least: int, values: Mapping[str, int]) -> None:
    """`values`: {"train.epochs": 600}."""
    for key, value in values.items():
        if value < least:
            raise InputError(f"config.{key}: found {value}, expected {least} or more")


def fractions(values: Mapping[str, float]) -> None:
    """Each in [0, 1)."""
    for key, value in values.items():
        if not 0 <= value < 1:
            raise InputError(f"config.{key}: found {value}, expected 0 or more and less than 1")


def one_of(key: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise InputError(f"config.{key}: found {value!r}, expected one of {', '.join(known)}")


def divides_among(key: str, batch_size: int, parts: int, what: str) -> None:
    """Every part of a batch must be equally large; `what` the parts are: "4 devices"."""
    if batch_size % parts:
        raise InputError(f"config.{key}: found {batch_size}, expected a multiple of the {what}")


def divides_into_micro_batches(batch_size: int, devices: int, accumulate: int) -> None:
    """`train.batch_size` among devices and `train.accumulate`."""
    among = f"{devices} devices" + (f" times {accumulate} micro-batches" if accumulate > 1 else "")
    divides_among("train.batch_size", batch_size, devices * accumulate, among)
