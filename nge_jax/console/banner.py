"""The lines that a run prints before it computes: the task, the device, the data, the network, and how to stop it.

Each line is printed on stdout as soon as its facts are known. Only the first of several processes prints.
"""

import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from nge_jax.console.waiting import say
from nge_jax.devices import distributed
from nge_jax.version import __version__
from nge_jax.workdir import environment
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
