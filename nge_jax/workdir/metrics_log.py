"""Writes the rows of a run's epochs to metrics.jsonl and for TensorBoard."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nge_jax import files
from nge_jax.errors import InputError
from nge_jax.files import write_atomically
from nge_jax.settings.configs import flatten
from nge_jax.workdir import tensorboard
from nge_jax.workdir.artifacts import (
    CONFIG,
    EVENT_PICTURES,
    METRICS,
    is_count,
    read_json,
    read_metrics,
)

# The names of a report's pictures, and their tags.
PICTURES = {
    "cell_*": "cell/{}",
    "heat": "P/last",
    "operations": "ops/over_epochs",
    "confusion": "test/confusion",
    "examples": "test/examples",
}


class MetricsLog:
    """metrics.jsonl and TensorBoard events in a workdir, a row per epoch.

    Write a row before the checkpoint of the same step is saved, so that no row can be lost. A resumed run writes rows
    of later steps again. This class therefore drops those rows, and TensorBoard forgets them.

    Args:
      workdir: the run's directory.
      step: the step that the run starts from: 0, or the restored step.

    Raises:
      InputError: a line of metrics.jsonl, other than a half-written last line, is no JSON object with a step.
    """

    def __init__(self, workdir: str | Path, step: int):
        workdir = Path(workdir)
        self._path = workdir / METRICS
        _drop_after(self._path, step)
        config = workdir / CONFIG
        settings = flatten(read_json(config)) if config.exists() else {}
        self._events = tensorboard.Events(workdir, step, settings)

    def write(
        self,
        metrics: Mapping[str, float | int | str],
        arrays: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Appends a row, which has a "step". TensorBoard shows the arrays [H, W] as pictures.

        The row is on disk when this method returns.

        Raises:
          FloatingPointError: a value is infinite or not a number; nothing is written.
        """
        row = {key: getattr(value, "item", lambda v=value: v)() for key, value in metrics.items()}
        for key, value in row.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise FloatingPointError(f"{key} is {value} at step {row['step']}")
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        numbers = {k: v for k, v in row.items() if k != "step" and not isinstance(v, str)}
        self._events.write(int(row["step"]), numbers, arrays)

    def close(self) -> None:
        """Ends the TensorBoard file."""
        self._events.close()


def show_pictures(workdir: Path) -> None:
    """Shows the pictures that a report has drawn in the workdir in TensorBoard, at the run's last step."""
    pngs = {
        tag.format(path.stem.partition("_")[2]): path.read_bytes()
        for pattern, tag in PICTURES.items()
        for path in sorted(workdir.glob(f"{pattern}.png"))
    }
    last = read_metrics(workdir / METRICS, ())[-1]
    if pngs and "step" in last:
        write_atomically(workdir / EVENT_PICTURES, tensorboard.pictures(last["step"], pngs))


def _drop_after(path, step):
    """Removes the rows after `step`, and a last line that a killed process left half-written."""
    if not os.path.lexists(path):
        return
    # Bytes after the last newline are half a line, which may end within a character.
    try:
        whole = files.read_bytes(path, files.TEXT_BYTES)
        text = whole[: whole.rfind(b"\n") + 1].decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read, {files.reason(error)}; "
            "put back a copy of it, or move it away: the run goes on without its rows"
        ) from None
    lines = text.splitlines(keepends=True)
    keep = []
    for number, line in enumerate(lines, 1):
        try:
            row_step = json.loads(line)["step"]
        except (ValueError, KeyError, TypeError, RecursionError):
            row_step = None
        if not is_count(row_step):
            raise InputError(
                f"{path}, line {number}: expected a JSON object with a step, found {line.strip()[:60]!r}"
            )
        if row_step <= step:
            keep.append(line)
    write_atomically(path, "".join(keep))
