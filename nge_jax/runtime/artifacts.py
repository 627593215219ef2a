"""Reads what a run recorded in its working directory; what is missing or broken is refused."""

import json
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from nge_jax import errors
from nge_jax.errors import InputError
from nge_jax.space import genotype

Metrics = list[dict[str, Any]]  # one for each epoch


def read_json(path: Path, keys: Collection[str] = ()) -> dict[str, Any]:
    """A JSON object; raises InputError where the file is missing, not one, or lacks a key."""
    return _parse(_read(path), str(path), keys)


def read_genotype(path: Path) -> genotype.Genotype:
    """Raises InputError where the file is missing, GenotypeError where it holds no genotype."""
    try:
        return genotype.from_json(_read(path))
    except errors.GenotypeError as error:
        raise errors.GenotypeError(f"{path}: {error}") from None


def read_metrics(path: Path, keys: Collection[str]) -> Metrics:
    """The epochs of metrics.jsonl in order; where two lines are of one epoch the later one adds.

    Raises InputError naming the line that is no JSON object, or the epoch that lacks one of `keys`.
    """
    epochs: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(_read(path).splitlines(), 1):
        metrics = _parse(line, f"{path}, line {number}", ("epoch",))
        epochs[metrics["epoch"]] = epochs.get(metrics["epoch"], {}) | metrics
    if not epochs:
        raise InputError(f"{path}: expected a line for each epoch, found none")
    for epoch, metrics in epochs.items():
        _check(metrics, f"{path}, epoch {epoch}", keys)
    return [epochs[epoch] for epoch in sorted(epochs)]


def read_architecture(path: Path) -> tuple[np.ndarray, list[str], list[tuple[int, int]]]:
    """Probabilities [epochs + 1, cell type, edge, operation], names of operations, edges (i, k).

    Raises InputError where the file is missing, is no such archive, or its shapes disagree.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected what a search records")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            probs, operations, edges = (arrays[key] for key in ("probs", "operations", "edges"))
    except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        expected = "expected an archive of probs, operations and edges"
        raise InputError(f"{path}: {expected}, found {error}") from None
    expected = (len(genotype.CELL_TYPES), len(edges), len(operations))
    if probs.ndim != 4 or probs.shape[1:] != expected or not len(probs):
        raise InputError(
            f"{path}: expected probs of shape [epochs + 1, {expected}], found {probs.shape}"
        )
    return probs, operations.tolist(), [(int(i), int(k)) for i, k in edges]


def flatten(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots: {"data": {"name": 1}} becomes {"data.name": 1}."""
    flat = {}
    for key, value in record.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected what a run records") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read, {error}") from None


def _parse(text: str, place: str, keys: Collection[str]) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InputError(f"{place}: not JSON, {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{place}: expected a JSON object, found {type(value).__name__}")
    _check(value, place, keys)
    return value


def _check(value: dict[str, Any], place: str, keys: Collection[str]) -> None:
    for key in keys:
        if key not in value:
            raise InputError(f"{place}: expected the key {key}, found {', '.join(value) or 'none'}")
