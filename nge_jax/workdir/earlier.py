"""Earlier runs of the same programs tell before a run how long a step takes on this device, and how much memory."""

import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nge_jax.errors import InputError
from nge_jax.settings import keys
from nge_jax.settings.configs import flatten
from nge_jax.workdir import artifacts

# The facts of a start that say on which device it ran.
DEVICE = ("device_platform", "device_kind", "device_count", "host_cpus", "processor")
MOST_LOOKED_AT = 200  # workdirs


class Earlier(NamedTuple):
    """The measurements of an earlier run of the same programs on the same device.

    Attributes:
      path: the workdir.
      seconds: of a step, the median over the epochs.
      steps_per_epoch: the steps of an epoch, the median over the epochs.
      memory: the most bytes that the process has held; None: not recorded.
      device_memory: the most bytes of a GPU or TPU; None: not recorded.
    """

    path: Path
    seconds: float
    steps_per_epoch: float
    memory: int | None = None
    device_memory: int | None = None


def find(workdir: Path, settings: Mapping[str, Any], device: Mapping[str, Any]) -> Earlier | None:
    """Finds an earlier run in this workdir or beside it.

    Args:
      workdir: of the run that begins; it need not exist.
      settings: the run's values, nested.
      device: the facts of this start, see `environment.environment`.

    Returns:
      The measurements of the newest run; None if there is no such run.
    """
    values = flatten(settings)
    task, left_open = str(values.get("task")), keys.left_open(values)
    wanted = {
        name: value
        for name, value in values.items()
        if keys.in_program(task, name) and name not in left_open
    }
    for path in _workdirs(workdir):
        try:
            recorded = flatten(artifacts.read_json(path / artifacts.CONFIG, ("task",)))
            starts = artifacts.read_json(path / artifacts.ENVIRONMENT)
            if any(recorded.get(name) != value for name, value in wanted.items()):
                continue
            if any(starts.get(name) != device.get(name) for name in DEVICE):
                continue
            found = _measure(path, artifacts.read_metrics(path / artifacts.METRICS, ()), starts)
        except (InputError, OSError):  # a run that is damaged or begins tells nothing
            continue
        if found is not None:
            return found
    return None


def _workdirs(workdir: Path) -> Iterator[Path]:
    """Yields the workdir and those beside it that have metrics, the newest first."""
    folder = workdir.absolute().parent
    beside = folder.iterdir() if folder.is_dir() else ()
    files = [path / artifacts.METRICS for path in (workdir.absolute(), *beside)]
    times = {file: file.stat().st_mtime for file in dict.fromkeys(files) if file.is_file()}
    for file in sorted(times, key=times.__getitem__, reverse=True)[:MOST_LOOKED_AT]:
        yield file.parent


def _measure(path: Path, rows: artifacts.EpochRows, starts: Mapping[str, Any]) -> Earlier | None:
    steps, seconds, before = [], [], 0
    for row in rows:
        step, took = row.get("step"), row.get("seconds")
        if isinstance(step, int) and isinstance(took, int | float) and step > before:
            steps.append(step - before)
            seconds.append(took / (step - before))
            before = step
    if not seconds:
        return None
    resumed = starts.get("resumed")
    all_starts = [starts, *(resumed.values() if isinstance(resumed, dict) else ())]
    memory, device_memory = (
        max((n for start in all_starts if isinstance(n := start.get(key), int)), default=None)
        for key in ("peak_memory_bytes", "peak_device_memory_bytes")
    )
    return Earlier(
        path, statistics.median(seconds), statistics.median(steps), memory, device_memory
    )
