"""Measures each kernel of a program with JAX's profiler, and compares the time with the chip's lower bound."""

import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax

from ahead import chips
from ahead.kernels import list_kernels


class Measured(NamedTuple):
    """A kernel of the compiled program, in one run of the program.

    seconds: measured time. least: the lower bound at the chip's peak rates, None for an unknown chip.
    """

    name: str
    kind: str
    times: float
    seconds: float
    least: float | None
    result: str
    origin: str


def measure_kernels(text: str, run: Callable[[], None], runs: int) -> list[Measured]:
    """Profiles `runs` runs of a program. The slowest kernel comes first.

    Args:
      text: the text of the compiled program.
      run: runs the program once and waits for the end.
    """
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(runs):
                run()
        events = read_events(folder)
    chip = chip_of(jax.devices()[0].device_kind)
    known = {kernel.name: kernel for kernel in list_kernels(text)}
    rows = []
    for name, (times, seconds) in events.items():
        if name not in known:  # another program's kernel, or the loop around kernels
            continue
        kernel = known[name]
        times, seconds = times / runs, seconds / runs
        least = None
        if chip is not None:
            least = times * chip.least(kernel)
        rows.append(
            Measured(name, kernel.kind, times, seconds, least, kernel.result, kernel.origin)
        )
    return sorted(rows, key=lambda row: -row.seconds)


def read_events(folder: str | Path) -> dict[str, tuple[int, float]]:
    """Reads the profiler's files: how often each operation of a program ran, and the total seconds.

    On a GPU, the kernels of an operation lie on streams. Other lines of the profile repeat them.
    """
    counts, seconds = defaultdict(set), defaultdict(float)
    for file in Path(folder).rglob("*.xplane.pb"):
        planes = list(jax.profiler.ProfileData.from_file(str(file)).planes)
        devices = [plane for plane in planes if plane.name.startswith("/device:")]
        for plane in devices or planes:
            lines = list(plane.lines)
            lines = [line for line in lines if line.name.startswith("Stream")] or lines
            for event in (event for line in lines for event in line.events):
                name = dict(event.stats).get("hlo_op")
                if name is not None:
                    counts[name].add(event.start_ns)
                    seconds[name] += event.duration_ns / 1e9
    return {name: (len(starts), seconds[name]) for name, starts in counts.items()}


def chip_of(kind: str) -> chips.Chip | None:
    """Finds the peak rates of a device by kind, such as "NVIDIA H100 80GB HBM3"."""
    return next((chip for name, chip in chips.CHIPS.items() if name in kind.lower()), None)
