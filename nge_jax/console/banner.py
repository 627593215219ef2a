"""What a run says of itself before it computes: what it is, on which device, data and network, how it is stopped.

A line as soon as each is known, on stdout, where the results follow; of several processes the first one's alone.
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

TASKS = {"search": "architecture search", "train": "training", "segment": "segmentation"}
COLUMNS = 80
TO_STOP = "to stop: Ctrl-C, or SIGTERM, which saves first; the same command goes on"


def show(*lines: str, alone: bool = False) -> None:
    """Prints lines, a long one as several; `alone`: jax, which would start, need not be asked for the first process."""
    for line in lines if alone or distributed.is_first() else ():
        for part in wrapped(printable(line)):
            say(part)


def show_notes(notes: Sequence[str]) -> None:
    """Prints what of the data is used and what is left out, each on one line; warnings to stderr."""
    for note in notes if distributed.is_first() else ():
        print(
            printable(note),
            file=sys.stderr if note.startswith("warning") else sys.stdout,
            flush=True,
        )


def show_chosen(kept: Mapping[str, Any], chosen: Mapping[str, Any]) -> None:
    """Prints by key what a config left open: on a line what the run began with, and on one what the data decided."""
    for how, values in (("as this run began", kept), ("chosen by the data", chosen)):
        if values:
            show_notes([f"{how}: {' '.join(f'{k}={v}' for k, v in values.items())}"])


def wrapped(line: str) -> Sequence[str]:
    """Breaks a line between words, so that it fits 80 columns if none of them is longer."""
    return textwrap.wrap(
        line, COLUMNS, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def opening(task: str, path: str | Path, name: str = "") -> str:
    """Returns the first line; `name`: of the config, as the user gave it."""
    what = ", ".join(filter(None, (TASKS[task], name)))
    return f"nge_jax {__version__}: {what} -> {path}"


def device() -> str:
    """Returns what the run computes on."""
    devices, processes = jax.devices(), jax.process_count()
    on_cpu = devices[0].platform == "cpu"
    kind = environment.processor() if on_cpu else devices[0].device_kind
    text = f"device: {kind}" if len(devices) == 1 else f"devices: {len(devices)} x {kind}"
    if on_cpu and processes == 1:
        cores = environment.cores()
        text += f", {cores} core{'s' * (cores > 1)}"
    return text + (f", {processes} processes" if processes > 1 else "")


def data(name: str, classes: Sequence[str], shape: Sequence[int], counts: Mapping[str, int]) -> str:
    """Returns what the run learns from.

    Args:
      name: of the data set.
      classes: their names.
      shape: of an image.
      counts: what they are for, and how many; those of which there are none are left out.
    """
    of_each = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    size = "x".join(map(str, shape))
    return f"data: {name}, {len(classes)} classes ({listed(classes)}), images of {size}: {of_each}"


def steps(epochs: int, steps: int | str, batch_size: int, *seeds: int) -> str:
    """Returns how long the run is, and of which seed, or of which searches of several."""
    steps = f"{steps:,}" if isinstance(steps, int) else steps
    many = f"{epochs:,} epochs" if epochs > 1 else "1 epoch"
    of = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    return f"run: {many} of {steps} steps of {batch_size:,} images, {of}"
