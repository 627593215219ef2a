"""The working directory of a run: which run may use it, the files it holds, and when it may be used again.

A directory is a workdir of this program if its `environment.json` says so. A workdir with results belongs to the config
that made them. The same config resumes the run, and another config is refused. Overwriting removes what `removal`
lists, and nothing else.
"""

import contextlib
import json
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nge_jax import files
from nge_jax.errors import InputError
from nge_jax.files import half_written, write_atomically
from nge_jax.settings import configs, keys
from nge_jax.space.parts.reference import (
    CHANGED,
    changed_files,
    in_common,
    recorded_name,
    renamed_files,
    short_name,
)
from nge_jax.workdir.artifacts import (
    CHECKPOINTS,
    CONFIG,
    ENVIRONMENT,
    METRICS,
    SEARCHES,
    TRAININGS,
    is_count,
)
from nge_jax.workdir.environment import environment
from nge_jax.workdir.lock import RUN_LOCK
from nge_jax.workdir.names import printable
from nge_jax.workdir.recorded import younger_values
from nge_jax.workdir.removal import remove_results


def check_place(path: Path) -> None:
    """Refuses a path that can be no workdir with any config; only reads, and does not start jax.

    Raises:
      InputError: it is a file, or holds files of somebody else, or its name is no UTF-8.
    """
    if printable(str(path.absolute())) != str(path.absolute()):
        raise InputError(
            f"--workdir: found {printable(str(path.absolute()))}, expected a path in UTF-8, without control characters"
        )
    if not path.exists():
        return
    if not path.is_dir():
        raise InputError(f"--workdir: {path} is a file, expected a directory")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise InputError(f"--workdir: {path} cannot be read and written by this user")
    # A run that was killed while it began leaves only these files.
    leftovers = {RUN_LOCK, half_written(path / ENVIRONMENT).name}
    if all(entry.name in leftovers for entry in path.iterdir()):
        return
    if not is_ours(path):
        raise InputError(
            f"--workdir: {path} is not empty and was not written by nge_jax (it has no {ENVIRONMENT} of nge_jax), "
            "expected a new or empty directory or a workdir"
        )


def check(path: str | Path, config: Mapping[str, Any], *, overwrite: bool) -> None:
    """Refuses a workdir that a run of this config may not use; only reads.

    Args:
      path: the directory.
      config: the values of a run's config, see `settings.configs.to_values`.
      overwrite: whether an earlier run's results are to be removed.

    Raises:
      InputError: see `check_place`; or the workdir holds results of a different config.
    """
    path = Path(path)
    check_place(path)
    differences = [] if overwrite else list_differences(path, config)
    if differences and all(CHANGED in difference for difference in differences):
        raise InputError(
            f"--workdir: {path}: {'; '.join(differences)}; restore the file, or choose another --workdir"
        )
    if differences:
        raise InputError(
            f"--workdir: {path} holds a run of a different config ({'; '.join(differences)}); "
            f"{way_on(path, config)}, or choose another --workdir (--overwrite removes the run in this one)"
        )


def list_differences(path: Path, values: Mapping[str, Any]) -> list[str]:
    """Lists what differs from a workdir's run: "KEY: workdir has X, now Y", or a file that has changed.

    Args:
      path: the workdir; without results nothing differs.
      values: the values of a run's config.

    Raises:
      InputError: the record of the workdir's run cannot be read.
    """
    recorded = _read_recorded(path)
    if recorded is None:
        return []
    given = configs.flatten(values)
    return _differences(younger_values(given, path), recorded, given)


def way_on(path: Path, values: Mapping[str, Any]) -> str:
    """Says by what the run in a workdir goes on, if not by these values of a config.

    Some configs searched by the gradient by default. Now they train the cells that evolution proposes. Their word
    `gradient` is refused beside the word of another strategy.
    """
    before, now = recorded_values(path), configs.flatten(values)
    by_default = {"search.evaluator": "trained", "search.strategy": "evolution"}
    of_same_kind = ("study.seeds" in before) == ("study.seeds" in now)
    is_by_gradient = before.get("search.strategy") == "gradient"
    if is_by_gradient and by_default.items() <= now.items() and of_same_kind:
        return f"to go on, add the word gradient to the config (NAME:gradient) and --workdir {path}"
    return "give the workdir's values to go on"


def begun_with(path: Path, keys: Collection[str]) -> dict[str, Any]:
    """Returns the numbers of `keys` with which the run in a workdir began; empty without a run.

    A number above 0 or several such numbers are returned. Other values are left out.

    Raises:
      InputError: see `check_place`; or the run's config cannot be read.
    """
    check_place(path)
    recorded = _read_recorded(path) or {}
    recorded = younger_values(recorded, path) | recorded
    begun: dict[str, Any] = {}
    for key in keys:
        value = recorded.get(key)
        numbers: list[Any] = value if isinstance(value, list) else [value]
        if numbers and all(is_count(number) and number > 0 for number in numbers):
            begun[key] = tuple(numbers) if isinstance(value, list) else value
    return begun


def recorded_values(path: str | Path) -> dict[str, Any]:
    """Returns the values of a workdir's run by whole names of keys; empty where no run can be read."""
    with contextlib.suppress(InputError, OSError):
        return _read_recorded(expand(path)) or {}
    return {}


def expand(path: str | Path) -> Path:
    """Returns the path with "~" for the user's home.

    Raises:
      InputError: no home folder is known.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"--workdir: {path}: no home folder is known ({error})") from error


def prepare(
    path: str | Path,
    config: Mapping[str, Any],
    *,
    overwrite: bool,
    texts: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Makes `path` the workdir of `config` and returns it; a run that resumes keeps its results.

    Call it after all checks, also `check` of this workdir: with `overwrite` it removes an earlier run's results.

    Args:
      path: the directory.
      config: the values of the run's config.
      overwrite: whether to remove an earlier run's results.
      texts: the files with which the workdir begins, by name.

    Raises:
      InputError: the folder cannot be made.
    """
    path, this_start = Path(path), environment()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--workdir: {path} cannot be made ({error.strerror})") from error
    resumes = _has_results(path) and not overwrite
    if resumes:
        starts = _with_start(json.loads(files.read_text(path / ENVIRONMENT)), this_start)
    else:
        remove_results(path)  # `check` has made sure that this program wrote them
        starts = this_start | {"resumed": {}}
    # The environment comes first, because without it the directory would be no workdir.
    write_atomically(path / ENVIRONMENT, json.dumps(starts, indent=2) + "\n")
    if not resumes:
        with contextlib.suppress(OSError):  # removes an empty folder of this name, if there is one
            (path / CONFIG).rmdir()
        write_atomically(path / CONFIG, json.dumps(config, indent=2) + "\n")
    for name, text in texts.items():
        write_atomically(path / name, text)
    return path


def _with_start(starts: dict[str, Any], this_start: Mapping[str, Any]) -> dict[str, Any]:
    """Adds to the record of a run's starts one more, under the next number."""
    resumed = starts.get("resumed")
    if not isinstance(resumed, dict):  # somebody has edited the file
        resumed = {}
    numbers = [int(number) for number in resumed if number.isdecimal()]
    resumed[str(max(numbers, default=0) + 1)] = this_start
    return starts | {"resumed": resumed}


def remove(path: Path) -> None:
    """Removes this program's files from a workdir, and the folder if it is empty then; leaves other folders alone."""
    if not is_ours(path):
        return
    remove_results(path)
    for name in (CONFIG, ENVIRONMENT):
        (path / name).unlink(missing_ok=True)
    for folder in (path / CHECKPOINTS, path):
        with contextlib.suppress(OSError):  # the folder holds other files
            folder.rmdir()


def has_checkpoints(path: Path) -> bool:
    """Tells whether a run in the workdir `path` would resume from a checkpoint."""
    return any(entry.name.isdigit() for entry in path.glob(f"{CHECKPOINTS}/*"))


def _read_recorded(path):
    """Reads the config of a workdir's run, with keys joined by dots; None if the workdir holds no run."""
    if not path.exists() or not _has_results(path):
        return None
    try:
        return configs.flatten(json.loads(files.read_text(path / CONFIG)))
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(
            f"--workdir: {path / CONFIG} cannot be read ({files.reason(error)}); "
            "put back a copy of it, or choose another --workdir"
        ) from error


def is_ours(path: Path) -> bool:
    """Tells whether a directory is a workdir of this program."""
    try:
        return json.loads(files.read_text(path / ENVIRONMENT))["program"] == "nge_jax"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _has_results(path):
    """Tells whether a workdir has results. A run that was stopped before the first checkpoint has none.

    A study's workdir has the results of its searches, too.
    """
    rows = [path / METRICS, path / TRAININGS, *path.glob(f"{SEARCHES}/{METRICS}")]
    return has_checkpoints(path) or any(file.exists() and file.stat().st_size > 0 for file in rows)


def _differences(younger, recorded, given):
    """Lists differences as "key: workdir has X, now Y", for keys that change results.

    A key that is younger than the run has the value by which it changes nothing. A file that an older version did not
    record is not compared.
    """
    absent, task, sources = "nothing", str(given.get("task")), "search.sources"
    recorded = {name: value for name, value in younger.items() if name in given} | recorded
    files_before, files_now = (values.get(sources) for values in (recorded, given))
    texts = []
    if isinstance(files_before, list) and files_now:
        files_before = [*map(str, files_before)]
        given = given | {sources: [*in_common(files_now, files_before)]}
        texts = _describe_changed(files_now, files_before, given)
        texts += renamed_files(files_now, files_before)
    names = sorted(
        name
        for name in recorded.keys() | given.keys()
        if keys.changes_result(task, name)
        and _without_place(name, recorded.get(name, absent))
        != _without_place(name, given.get(name, absent))
    )
    if texts or len(names) > 1:  # they say more than the names of files
        names = [name for name in names if name != sources]
    return texts + [
        f"{name}: workdir has {recorded.get(name, absent)!r}, now {given.get(name, absent)!r}"
        for name in names
    ]


def _describe_changed(now, before, given):
    """Describes the files that have changed: "search.relaxation: mine.py has changed ... (mine:part)"."""
    keys_by_name = {
        short_name(str(word)): key
        for key, value in given.items()
        if key.startswith("search.") and key != "search.sources"
        for word in (value if isinstance(value, tuple | list) else (value,))
    }
    by_key = {}
    for row in now:  # an operation stands in the space's file alone
        by_key.setdefault(keys_by_name.get(recorded_name(row), "search.space"), []).append(row)
    return [f"{k}: {text}" for k, rows in by_key.items() for text in changed_files(rows, before)]


def _without_place(key, value):
    """Returns a value without the path of a user's images, of files of parts and spaces, or of a table of latencies.

    All of them may move. The images, the hashes of the files and the table's times are compared.
    """
    if key == "search.space" and isinstance(value, str) and value.startswith("{"):
        return re.sub(r'"([^"]*)"', lambda name: f'"{short_name(name[1])}"', value)
    if isinstance(value, str) and key.startswith("search."):
        return short_name(value)
    if isinstance(value, tuple | list) and key == "search.edge_models":
        return [*map(short_name, value)]
    if key == "limits.latency_table":  # a digest of the times is compared
        return bool(value)
    if key == "data.name" and isinstance(value, str) and value.startswith(("folder:", "npz:")):
        return value.partition(":")[0]
    return value
