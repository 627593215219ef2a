"""Shared parts of the commands: flags, the processes that they start, and the figures that they print."""

import os
import platform
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from absl import flags

from measure.process import Process, take_turns

DISPATCHES = flags.DEFINE_integer("dispatches", 5, "dispatches timed")
STEPS = flags.DEFINE_integer("steps_per_dispatch", 2, "steps a dispatch")
TORCH = flags.DEFINE_bool("torch", False, "alternate with PyTorch")
_LIMIT_GB = flags.DEFINE_float("limit_gb", 16.0, "memory above which a process is killed")
_LIMIT_S = flags.DEFINE_float(
    "limit_s", 1800.0, "seconds of a compilation or a dispatch after which a process is killed"
)
_TORCH_PYTHON = flags.DEFINE_string("torch_python", sys.executable, "a Python that has torch")

COMPARISON = (
    "PyTorch s (median; fastest)",
    "ours s (median; fastest)",
    "ours / PyTorch (median; fastest; turn by turn)",
)


def start_ours(module: str, cache: str, env: dict | None = None, **options) -> Process:
    """Starts a module of ours with the compilation cache in the folder `cache`."""
    env = {"JAX_COMPILATION_CACHE_DIR": cache} | (env or {})
    return _start(sys.executable, module, env, steps_per_dispatch=STEPS.value, **options)


def start_torch(module: str, **options) -> Process:
    """Starts a module for PyTorch."""
    return _start(_TORCH_PYTHON.value, module, {}, **options)


def speed(process: Process) -> dict[str, float]:
    """Times the steps of a process: the median and the fastest."""
    (seconds,) = take_turns([process], STEPS.value, DISPATCHES.value)
    return {"step_s": statistics.median(seconds), "fastest_s": min(seconds)}


def compare(torch: Process, ours: Process) -> tuple[str, str, str]:
    """Times two processes in turns, and returns table cells for the headings `COMPARISON`.

    Raises:
        RuntimeError: the networks differ in their number of parameters.
    """
    sizes = torch.ready["parameters"], ours.ready["parameters"]
    if sizes[0] != sizes[1]:
        raise RuntimeError("PyTorch has {:,} parameters, ours {:,}".format(*sizes))
    both = take_turns((torch, ours), STEPS.value, DISPATCHES.value)
    (their_median, our_median), (their_best, our_best) = (
        map(statistics.median, both),
        map(min, both),
    )
    ratios = [our_time / their_time for their_time, our_time in zip(*both, strict=True)]
    return (
        f"{their_median:.3g}; {their_best:.3g}",
        f"{our_median:.3g}; {our_best:.3g}",
        f"{our_median / their_median:.2f}; {our_best / their_best:.2f}; "
        f"{min(ratios):.2f} to {max(ratios):.2f}",
    )


def figure_rows(images: int) -> dict[str, Callable[[dict], str]]:
    """Makes the rows of a table: each maps a process's figures to a cell. `images` is the number of images a step."""
    return {
        "compile s (trace + XLA)": lambda f: f"{f['trace_s']:.0f} + {f['compile_s']:.0f}",
        "peak RSS while compiling GB": lambda f: f"{f['peak_bytes'] / 1e9:.1f}",
        "step s (median; fastest)": lambda f: f"{f['step_s']:.3g}; {f['fastest_s']:.3g}",
        "images/s": lambda f: f"{images / f['step_s']:.1f}",
        "GFLOP a step": lambda f: f"{f['flops'] / 1e9:.3g}",
        "GB accessed a step": lambda f: f"{f['bytes accessed'] / 1e9:.3g}",
        "temporary memory GB": lambda f: f"{f['temp_bytes'] / 1e9:.3g}",
    }


def header(*cells: str) -> str:
    """Writes the first two lines of a Markdown table."""
    return f"{row(*cells)}\n{'|---' * len(cells)}|"


def row(*cells: str) -> str:
    """Writes a line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def processor() -> str:
    """Names the processor, and how many of its threads this process may use."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(os.sched_getaffinity(0))} x {names[0]}" if names else platform.machine()


def _start(python, module, env, **options):
    limits = {"limit_gb": _LIMIT_GB.value, "limit_s": _LIMIT_S.value}
    return Process([python, "-m", module], env=env, **limits, **options)
