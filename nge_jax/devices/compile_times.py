"""Remembers beside the compiled programs how long compiling took, so that the next run can show it."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from nge_jax.files import write_atomically
from nge_jax.settings import keys
from nge_jax.settings.configs import flatten
from nge_jax.version import __version__

# A file in the folder of compiled programs.
COMPILE_SECONDS = "nge_jax_compile_seconds.json"
MOST_KEPT = 500


def program_key(settings: Mapping[str, Any], arguments: Any) -> str:
    """Returns a name for a run's programs, a hash of everything that decides them and of a few other facts.

    A setting that is an argument of the programs does not count; whether there is such an argument at all does, by the
    arguments themselves.

    Args:
      settings: the run's settings.
      arguments: a tree of the arrays that the programs are given, or of their types; shapes and places of None count.
    """
    devices, task = jax.devices(), str(settings.get("task"))
    facts = [
        {k: v for k, v in flatten(settings).items() if keys.in_program(task, k)},
        str(jax.tree.map(lambda leaf: str(jax.typeof(leaf)), arguments)),
        [devices[0].device_kind, len(devices), jax.__version__, __version__],
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]


def usual_seconds(key: str) -> float | None:
    """Returns how long compiling the programs of this key took the last time; None if that is not known."""
    seconds = _read().get(key)
    return seconds if isinstance(seconds, int | float) and 0 <= seconds < 1e6 else None


def remember_seconds(key: str, seconds: float) -> None:
    """Keeps for the next run how long compiling took; does nothing if the file cannot be written."""
    file = _file()
    if file is None:
        return
    kept = {k: v for k, v in _read().items() if k != key} | {key: round(seconds, 1)}
    with contextlib.suppress(OSError):
        write_atomically(file, json.dumps(dict([*kept.items()][-MOST_KEPT:]), indent=0) + "\n")


def _file() -> Path | None:
    folder: str | None = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    return None if not folder or "://" in folder else Path(folder) / COMPILE_SECONDS


def _read() -> dict[str, Any]:
    file = _file()
    try:
        found = json.loads(file.read_text()) if file is not None else {}
    except (OSError, ValueError, RecursionError):  # a broken cache counts as an empty one
        return {}
    return found if isinstance(found, dict) else {}
