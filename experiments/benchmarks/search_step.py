"""Times the search's two steps on this machine against a plain port of the same network, and against PyTorch.

  python experiments/benchmarks/search_step.py                   the table, at the paper's size
  python experiments/benchmarks/search_step.py --torch           alternating runs with PyTorch (pytorch/supernet.py)
  python experiments/benchmarks/search_step.py --torch --darts=DIR    with a checkout of quark0/darts (pytorch/darts.py)
  python experiments/benchmarks/search_step.py --growth          step time against batch, channels, cells: a plot
  python experiments/benchmarks/search_step.py --roofline        an estimate for accelerators
  python experiments/benchmarks/search_step.py --cells=3 --channels=4 --batch_size=8        any of them, small

A step is forward, backward and update of one group, as the search runs it: phases from `search.build`, augmentation
included, on random images. Every figure comes from a fresh process with an empty compilation cache. A dispatch runs
--steps_per_dispatch steps; a step's time is the dispatch's time over this number. After a warm-up dispatch,
--dispatches dispatches are timed. The table shows the median and the fastest. Peak memory is the process's peak when
compilation ends. Flops and bytes accessed come from XLA's cost analysis of the compiled step. They count every
iteration of a loop (see measure/cost.py). If a step computes one of several operations, the most expensive operation
counts. `gumbel` and `partial` are the steps of those relaxations; "ours" is softmax. Machines are noisy: compare
figures of one run. PyTorch may live in another environment: --torch_python=ITS_PYTHON.
"""

import signal
import sys
import tempfile
from pathlib import Path

from absl import app, flags

from measure import command, growth, roofline
from measure.command import COMPARISON, TORCH, header, processor, row
from measure.process import ROOT, Killed, Process
from nge_jax.errors import InputError
from nge_jax.settings import flags as runtime_flags

SIZE = {"batch_size": 64, "channels": 16, "cells": 8}  # the paper's, DARTS's
GROUPS = ("weights", "embedding")  # groups of parameters: a step updates one
WARM = "the same with a warm cache"
HEADINGS = {
    "plain": "plain port",
    "ours": "ours",
    "remat": "ours, remat",
    "gumbel": "gumbel",
    "partial": "partial",
}

flags.adopt_module_key_flags(command)  # for --help
_SIZE = {
    "batch_size": flags.DEFINE_integer("batch_size", SIZE["batch_size"], "images a step"),
    "channels": flags.DEFINE_integer("channels", SIZE["channels"], "channels of the first cells"),
    "cells": flags.DEFINE_integer("cells", SIZE["cells"], "number of cells"),
}
_VARIANTS = flags.DEFINE_list("variants", list(HEADINGS), "columns of the table")
_MEASURED = flags.DEFINE_list("steps", list(GROUPS), "which of the two steps")
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
    # The exit also ends the measured processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with runtime_flags.refusals():
        check_darts()
    size = {name: flag.value for name, flag in _SIZE.items()}
    title = "{batch_size} images, {channels} channels, {cells} cells".format(**size)
    print(f"{processor()}; {title}", flush=True)
    if TORCH.value:
        compare_with_torch(size)
    elif _GROWTH.value:
        plot_growth(size, title)
    elif _ROOFLINE.value:
        print_roofline(size)
    else:
        print_table(size)


def check_darts() -> None:
    """Refuses a --darts that no step would read, or that is not readable.

    Raises:
        InputError: --darts is refused.
    """
    if _DARTS.value and not TORCH.value:
        raise InputError("--darts: found without --torch, expected both")
    if _DARTS.value and not (Path(_DARTS.value) / "cnn" / "model_search.py").is_file():
        raise InputError(
            f"--darts: no cnn/model_search.py in {_DARTS.value}, expected quark0/darts"
        )


def ours(size: dict, step: str, cache: str, **options) -> Process:
    """Starts measure/step.py with the compilation cache in the folder `cache`."""
    return command.start_ours("measure.step", cache, step=step, **size, **options)


def measure(size: dict, step: str, **options) -> dict:
    """Measures a step of a variant. `killed` gives the reason of a kill, `slow` if steps were running."""
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
    """Times a step, or returns why the process was killed. A kill while steps run leaves the other figures valid."""
    try:
        return command.speed(process)
    except Killed as killed:
        return {"slow": str(killed)}


def measure_both(size: dict, **options) -> dict:
    """Measures the compilation of both steps in a search, with an empty cache and with a warm cache."""
    try:
        with tempfile.TemporaryDirectory() as cache:
            cold, warm = [_ready(ours(size, "both", cache, **options)) for _ in range(2)]
    except Killed as killed:
        return {"killed": str(killed)}
    return cold | {"warm_both_s": warm["both_s"]}


def _ready(process):
    with process:
        return process.ready


def print_table(size: dict) -> None:
    columns, both = {}, {}
    for variant in _VARIANTS.value:
        columns[variant] = [measure(size, step, variant=variant) for step in _MEASURED.value]
        if variant != "plain":  # no search compiles "plain"
            both[variant] = measure_both(size, variant=variant)
    compiling, *others = command.figure_rows(size["batch_size"]).items()
    warm = WARM, lambda f: f"{f['warm_trace_s']:.0f} + {f['warm_compile_s']:.0f}"
    print(header(f"figure ({' / '.join(_MEASURED.value)})", *map(HEADINGS.get, columns)))
    for name, cell in (compiling, warm, *others):
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
    """Makes a table cell of the figures, or of the reason for which the process was killed."""
    try:
        return figures["killed"] if "killed" in figures else cell(figures)
    except KeyError:
        return figures["slow"]


def compare_with_torch(size: dict) -> None:
    module, options = "pytorch.supernet", size
    if _DARTS.value:
        module, options = "pytorch.darts", size | {"darts": str(Path(_DARTS.value).resolve())}
    print(header("step", *COMPARISON))
    for step in _MEASURED.value:
        with (
            tempfile.TemporaryDirectory() as cache,
            command.start_torch(module, step=step, **options) as theirs,
            ours(size, step, cache) as mine,
        ):
            cells = command.compare(theirs, mine)
        print(row(step, *cells), flush=True)


def plot_growth(size: dict, title: str) -> None:
    seconds = {axis: {} for axis in growth.AXES}
    known = {}  # the three lines cross at `size`, which is measured once
    for axis, flag in _GROWN.items():
        for value in map(int, flag.value):
            grown = size | {axis: value}
            key = tuple(grown.values())
            if key not in known:
                known[key] = growth_point(grown)
            print(f"{axis} {value}: {known[key]}", flush=True)
            if isinstance(known[key], float):
                seconds[axis][value] = known[key]
    growth.plot(seconds, f"{title}, and one of them varied; {processor()}", _FIGURE.value)
    print(f"plot: {_FIGURE.value}")


def growth_point(size: dict) -> float | str:
    """Times a weight step, or returns why the process was killed."""
    try:
        with tempfile.TemporaryDirectory() as cache, ours(size, "weights", cache) as process:
            return command.speed(process)["step_s"]
    except Killed as killed:
        return str(killed)


def print_roofline(size: dict) -> None:
    costs = {"float32": [], "bfloat16": []}
    for group in GROUPS:
        with tempfile.TemporaryDirectory() as cache:
            with ours(size, group, cache, variant="together") as process:
                single = process.ready
            options = {"variant": "together", "dtype": "bfloat16", "compile": False}
            with ours(size, group, cache, **options) as process:
                half = process.ready
        unfused, unfused_half = (f["lowered bytes accessed"] for f in (single, half))
        fused = single["bytes accessed"]
        costs["float32"].append(roofline.Cost(single["lowered flops"], fused, unfused))
        # The CPU computes bfloat16 in float32, so the fused bytes are wrong. They are scaled like the unfused bytes.
        scaled = fused * unfused_half / unfused
        costs["bfloat16"].append(roofline.Cost(half["lowered flops"], scaled, unfused_half))
        print(
            f"{group} step: {single['lowered flops'] / 1e9:.4g} GFLOP ({single['flops'] / 1e9:.4g} compiled for "
            f"the CPU), {fused / 1e9:.3g} GB accessed when fused, {unfused / 1e9:.3g} GB when not"
        )
    # The paper's search has 25,000 images for each group and 25 epochs.
    print(roofline.table(costs, 25_000 // size["batch_size"], 25))


if __name__ == "__main__":
    app.run(main)
