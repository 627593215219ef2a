"""The lines that a run prints before it computes: the task, the device, the data, the network, and how to stop it.

Each line is printed on stdout as soon as its facts are known. Only the first of several processes prints.
"""

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from nge_jax.console.waiting import say
from nge_jax.devices import distributed
from nge_jax.version import __version__
from nge_jax.workdir import environment
from nge_jax.workdir.earlier import Earlier
from nge_jax.workdir.names import listed, printable

TASKS = {
    "search": "architecture search",
    "train": "training",
    "segment": "segmentation",
    "study": "study",
}
COLUMNS = 80
TO_STOP = "to stop: Ctrl-C, or SIGTERM, which saves first; the same command goes on"


def show(*lines: str, alone: bool = False) -> None:
    """Prints lines, and wraps long ones. With `alone` it does not ask jax, which would start, for the first process."""
    for line in lines if alone or distributed.is_first() else ():
        for part in wrapped(printable(line)):
            say(part)


def show_notes(notes: Sequence[str]) -> None:
    """Prints notes about the data that is used or left out, one on each line; warnings go to stderr."""
    for note in notes if distributed.is_first() else ():
        print(
            printable(note),
            file=sys.stderr if note.startswith("warning") else sys.stdout,
            flush=True,
        )


def show_chosen(kept: Mapping[str, Any], chosen: Mapping[str, Any], by: str = "the data") -> None:
    """Prints the values that a config left open: one line for the run's earlier values, one for the data's choices.

    Other values than those of the data are chosen by something else: `by`.
    """
    for how, values in (("as this run began", kept), (f"chosen by {by}", chosen)):
        if values:
            show_notes([f"{how}: {' '.join(f'{k}={v}' for k, v in values.items())}"])


def wrapped(line: str) -> Sequence[str]:
    """Breaks a line between words to fit 80 columns; a longer word stays whole."""
    return textwrap.wrap(
        line, COLUMNS, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def opening(task: str, path: str | Path, name: str = "") -> str:
    """Returns the first line; `name` is the config as the user named it."""
    title = ", ".join(filter(None, (TASKS[task], name)))
    return f"nge_jax {__version__}: {title} -> {path}"


def device() -> str:
    """Returns the line that names the devices."""
    devices, processes = jax.devices(), jax.process_count()
    on_cpu = devices[0].platform == "cpu"
    kind = environment.processor() if on_cpu else devices[0].device_kind
    text = f"device: {kind}" if len(devices) == 1 else f"devices: {len(devices)} x {kind}"
    if on_cpu and processes == 1:
        cores = environment.cores()
        text += f", {cores} core{'s' * (cores > 1)}"
    return text + (f", {processes} processes" if processes > 1 else "")


def estimate(found: Earlier | None, steps: int) -> list[str]:
    """Returns the line that says how long so many steps take, and the memory, as in an earlier run; none without."""
    if found is None:
        return []
    text = f"time: about {rough(found.seconds * steps)} without compiling and tests"
    peaks = (("memory", found.memory), ("GPU memory", found.device_memory))
    parts = [text, *(f"{name} {_size(peak)}" for name, peak in peaks if peak is not None)]
    return [f"{'; '.join(parts)} (as in {found.path.name})"]


def disk(state_bytes: int, keep: int, path: Path) -> list[str]:
    """Returns the line that says what the checkpoints take, and another if the disk has not so much room.

    Args:
      state_bytes: the bytes of a checkpoint.
      keep: how many of the newest checkpoints stay; another is the best, and one is being written.
      path: the workdir.
    """
    needed = state_bytes * (keep + 2)
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    lines = [f"disk: at most {_size(needed)} for checkpoints"]
    if free < needed:
        lines.append(f"warning: {there} has {_size(free)} free")
    return lines


def _size(count: float) -> str:
    return tqdm.format_sizeof(count, "B")


def small_samples(counts: Mapping[str, int]) -> list[str]:
    """Returns a line for each held-out set of which one image is more than a point of accuracy.

    Args:
      counts: the number of images by purpose, such as "to test"; 0: there is no such set.
    """
    return [
        f"note: one of the {count:,} images {purpose} is {100 / count:.1f} points of accuracy"
        for purpose, count in counts.items()
        if 0 < count < 100
    ]


def rough(seconds: float) -> str:
    """Writes a duration as a person says it: "40 s", "12 min", "3 h 20 min", "2 days 4 h"."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} days {hours % 24} h"


def data(name: str, classes: Sequence[str], shape: Sequence[int], counts: Mapping[str, int]) -> str:
    """Returns the line that describes the data.

    Args:
      name: the name of the data set.
      classes: the names of the classes.
      shape: the shape of an image.
      counts: the number of images by purpose, such as "to train"; purposes without images are left out.
    """
    parts = ", ".join(f"{count:,} {purpose}" for purpose, count in counts.items() if count)
    size = "x".join(map(str, shape))
    return f"data: {name}, {len(classes)} classes ({listed(classes)}), images of {size}: {parts}"


def steps(epochs: int, steps: int | str, batch_size: int, *seeds: int) -> str:
    """Returns the line with the length of the run and its seed or seeds."""
    steps = f"{steps:,}" if isinstance(steps, int) else steps
    length = f"{epochs:,} epochs" if epochs > 1 else "1 epoch"
    names = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    return f"run: {length} of {steps} steps of {batch_size:,} images, {names}"
