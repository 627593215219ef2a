"""Times the search's two steps on this machine against a plain port of the same network, and against PyTorch.

  python experiments/benchmark_search_step.py                   the table, at the paper's size
  python experiments/benchmark_search_step.py --torch           alternating runs with PyTorch (torch_supernet.py)
  python experiments/benchmark_search_step.py --torch --darts=DIR    with a checkout of quark0/darts (torch_darts.py)
  python experiments/benchmark_search_step.py --growth          step time against batch, channels, cells: a plot
  python experiments/benchmark_search_step.py --roofline        an estimate for accelerators
  python experiments/benchmark_search_step.py --cells=3 --channels=4 --batch_size=8        any of them, small

A step is forward, backward and update of one group, as the search runs it: phases from `search.build`, augmentation
included, on random images. Every figure comes from a fresh process with an empty compilation cache. A step's time is
that of a dispatch of --steps_per_dispatch steps; of --dispatches such, after one that is not counted, the table tells
the median and the fastest. Peak memory is that of the process when compilation ends. Flops and bytes accessed are XLA's
cost analysis of the compiled step, in which loops count as often as they run (see benchmark_cost.py). Machines are
noisy: compare figures of one run. PyTorch may live in another environment: --torch_python=ITS_PYTHON.
"""

import signal
import statistics
import sys
import tempfile
from pathlib import Path

import benchmark_growth
import benchmark_roofline
from absl import app, flags
from benchmark_process import COMPARISON, ROOT, Killed, Process, compare, processor, row, take_turns

from nge_jax.errors import InputError
from nge_jax.runtime import flags as runtime_flags

SIZE = {"batch_size": 64, "channels": 16, "cells": 8}  # the paper's, DARTS's
STEPS = ("weights", "embedding")
HEADINGS = {"plain": "plain port", "ours": "ours", "remat": "ours, remat"}

_SIZE = {
    "batch_size": flags.DEFINE_integer("batch_size", SIZE["batch_size"], "images a step"),
    "channels": flags.DEFINE_integer("channels", SIZE["channels"], "channels of the first cells"),
    "cells": flags.DEFINE_integer("cells", SIZE["cells"], "number of cells"),
}
_VARIANTS = flags.DEFINE_list("variants", list(HEADINGS), "columns of the table")
_MEASURED = flags.DEFINE_list("steps", list(STEPS), "which of the two steps")
_DISPATCHES = flags.DEFINE_integer("dispatches", 5, "dispatches timed")
_STEPS = flags.DEFINE_integer("steps_per_dispatch", 2, "steps a dispatch")
_LIMIT_GB = flags.DEFINE_float("limit_gb", 16.0, "a process that grows larger is killed")
_LIMIT_S = flags.DEFINE_float(
    "limit_s", 1800.0, "as is one that compiles, or runs a dispatch, longer"
)
_TORCH = flags.DEFINE_bool("torch", False, "alternate with PyTorch")
_TORCH_PYTHON = flags.DEFINE_string("torch_python", sys.executable, "a Python that has torch")
_DARTS = flags.DEFINE_string("darts", None, "a checkout of quark0/darts, for --torch")
_GROWTH = flags.DEFINE_bool("growth", False, "plot the growth of a step's time")
_GROWN = {
    "batch_size": flags.DEFINE_list(
        "batch_sizes", ["16", "32", "64", "128", "256"], "for --growth"
    ),
    "channels": flags.DEFINE_list("channel_counts", ["8", "16", "24", "32"], "for --growth"),
    "cells": flags.DEFINE_list("cell_counts", ["4", "8", "12", "16"], "for --growth"),
}
_FIGURE = flags.DEFINE_string(
    "figure", str(ROOT / "experiments" / "figures" / "step_growth.png"), "where --growth plots"
)
_ROOFLINE = flags.DEFINE_bool("roofline", False, "estimate a search's time on accelerators")


def main(_) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what is measured ends with it
    with runtime_flags.refusals():
        check_darts()
    size = {name: flag.value for name, flag in _SIZE.items()}
    title = "{batch_size} images, {channels} channels, {cells} cells".format(**size)
    print(f"{processor()}; {title}", flush=True)
    if _TORCH.value:
        compare_with_torch(size)
    elif _GROWTH.value:
        plot_growth(size, title)
    elif _ROOFLINE.value:
        print_roofline(size)
    else:
        print_table(size)


def check_darts() -> None:
    """Raises InputError if --darts would not be read, or could not."""
    if _DARTS.value and not _TORCH.value:
        raise InputError("--darts: found without --torch, expected both")
    if _DARTS.value and not (Path(_DARTS.value) / "cnn" / "model_search.py").is_file():
        raise InputError(
            f"--darts: no cnn/model_search.py in {_DARTS.value}, expected quark0/darts"
        )


def ours(size: dict, step: str, cache: str, **options) -> Process:
    """A process of benchmark_step.py, its compilation cache in the folder `cache`."""
    return Process(
        [sys.executable, str(ROOT / "experiments" / "benchmark_step.py")],
        env={"JAX_COMPILATION_CACHE_DIR": cache},
        limit_gb=_LIMIT_GB.value,
        limit_s=_LIMIT_S.value,
        step=step,
        steps_per_dispatch=_STEPS.value,
        **size,
        **options,
    )


def measure(size: dict, step: str, **options) -> dict:
    """All figures of one step of one variant; what it was killed for is `killed`, or `slow` if in its steps."""
    try:
        with tempfile.TemporaryDirectory() as cache:
            with ours(size, step, cache, **options) as process:
                figures = process.ready | speed(process)
            with ours(size, step, cache, **options) as process:
                figures |= {f"warm_{key}": process.ready[key] for key in ("trace_s", "compile_s")}
    except Killed as killed:
        return {"killed": str(killed)}
    return figures


def speed(process: Process) -> dict:
    """The time of a step; or why the process was killed over it, which its other figures outlive."""
    try:
        seconds = timed(process)
    except Killed as killed:
        return {"slow": str(killed)}
    return {"step_s": statistics.median(seconds), "fastest_s": min(seconds)}


def measure_both(size: dict, **options) -> dict:
    """What a search takes to compile both steps, with an empty cache and with a warm one."""
    try:
        with tempfile.TemporaryDirectory() as cache:
            cold, warm = [_ready(ours(size, "both", cache, **options)) for _ in range(2)]
    except Killed as killed:
        return {"killed": str(killed)}
    return cold | {"warm_both_s": warm["both_s"]}


def _ready(process):
    with process:
        return process.ready


def timed(process: Process) -> list[float]:
    return take_turns([process], _STEPS.value, _DISPATCHES.value)[0]


def print_table(size: dict) -> None:
    columns, both = {}, {}
    for variant in _VARIANTS.value:
        columns[variant] = [measure(size, step, variant=variant) for step in _MEASURED.value]
        if variant != "plain":  # no search compiles it
            both[variant] = measure_both(size, variant=variant)
    rows = {
        "compile s (trace + XLA)": lambda f: f"{f['trace_s']:.0f} + {f['compile_s']:.0f}",
        "the same with a warm cache": lambda f: (
            f"{f['warm_trace_s']:.0f} + {f['warm_compile_s']:.0f}"
        ),
        "peak RSS while compiling GB": lambda f: f"{f['peak_bytes'] / 1e9:.1f}",
        "step s (median; fastest)": lambda f: f"{f['step_s']:.3g}; {f['fastest_s']:.3g}",
        "images/s": lambda f: f"{size['batch_size'] / f['step_s']:.1f}",
        "GFLOP a step": lambda f: f"{f['flops'] / 1e9:.3g}",
        "GB accessed a step": lambda f: f"{f['bytes accessed'] / 1e9:.3g}",
        "temporary memory GB": lambda f: f"{f['temp_bytes'] / 1e9:.3g}",
    }
    print(row(f"figure ({' / '.join(_MEASURED.value)})", *map(HEADINGS.get, columns)))
    print("|---" * (1 + len(columns)) + "|")
    for name, cell in rows.items():
        cells = [
            " / ".join(_cell(cell, figures) for figures in steps) for steps in columns.values()
        ]
        print(row(name, *cells), flush=True)
    for variant, figures in both.items():
        print(f"{HEADINGS[variant]}, both steps as a search compiles them: ", end="")
        print(
            figures["killed"]
            if "killed" in figures
            else f"{figures['both_s']:.1f} s with an empty cache, {figures['warm_both_s']:.1f} s with a warm one, "
            f"peak {figures['both_peak_bytes'] / 1e9:.1f} GB",
            flush=True,
        )


def _cell(cell, figures):
    """`cell(figures)`, or what they were killed for."""
    try:
        return figures["killed"] if "killed" in figures else cell(figures)
    except KeyError:
        return figures["slow"]


def compare_with_torch(size: dict) -> None:
    program, options = "torch_supernet.py", size
    if _DARTS.value:
        program, options = "torch_darts.py", size | {"darts": str(Path(_DARTS.value).resolve())}
    print(row("step", *COMPARISON))
    print("|---|---|---|---|")
    for step in _MEASURED.value:
        with (
            tempfile.TemporaryDirectory() as cache,
            Process(
                [_TORCH_PYTHON.value, str(ROOT / "experiments" / program)],
                env={},
                limit_gb=_LIMIT_GB.value,
                limit_s=_LIMIT_S.value,
                step=step,
                **options,
            ) as torch,
            ours(size, step, cache) as jax,
        ):
            cells = compare(torch, jax, _STEPS.value, _DISPATCHES.value)
        print(row(step, *cells), flush=True)


def plot_growth(size: dict, title: str) -> None:
    seconds = {axis: {} for axis in benchmark_growth.AXES}
    known = {}  # the three lines cross at `size`
    for axis, flag in _GROWN.items():
        for value in map(int, flag.value):
            grown = size | {axis: value}
            key = tuple(grown.values())
            if key not in known:
                known[key] = growth_point(grown)
            print(f"{axis} {value}: {known[key]}", flush=True)
            if isinstance(known[key], float):
                seconds[axis][value] = known[key]
    benchmark_growth.plot(seconds, f"{title}, and one of them varied; {processor()}", _FIGURE.value)
    print(f"plot: {_FIGURE.value}")


def growth_point(size: dict) -> float | str:
    try:
        with tempfile.TemporaryDirectory() as cache, ours(size, "weights", cache) as process:
            return statistics.median(timed(process))
    except Killed as killed:
        return str(killed)


def print_roofline(size: dict) -> None:
    costs = {"float32": [], "bfloat16": []}
    for step in STEPS:
        with tempfile.TemporaryDirectory() as cache:
            with ours(size, step, cache, variant="together") as process:
                single = process.ready
            options = {"variant": "together", "dtype": "bfloat16", "compile": False}
            with ours(size, step, cache, **options) as process:
                half = process.ready
        unfused, unfused_half = (f["lowered bytes accessed"] for f in (single, half))
        fused = single["bytes accessed"]
        costs["float32"].append(benchmark_roofline.Cost(single["lowered flops"], fused, unfused))
        # The CPU computes bfloat16 in float32, so its fused bytes are no guide: they scale as the unfused.
        scaled = fused * unfused_half / unfused
        costs["bfloat16"].append(
            benchmark_roofline.Cost(half["lowered flops"], scaled, unfused_half)
        )
        print(
            f"{step} step: {single['lowered flops'] / 1e9:.4g} GFLOP ({single['flops'] / 1e9:.4g} compiled for "
            f"the CPU), {fused / 1e9:.3g} GB accessed when fused, {unfused / 1e9:.3g} GB when not"
        )
    # The paper's search: 25,000 images for either group, 25 epochs.
    print(benchmark_roofline.table(costs, 25_000 // size["batch_size"], 25))


if __name__ == "__main__":
    app.run(main)
