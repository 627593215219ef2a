"""Measures on this machine's accelerator what `compile_ahead.py` estimates for it: minutes, and a Markdown table.

  python experiments/benchmarks/accelerator.py --out=accelerator.md
  python experiments/benchmarks/accelerator.py --programs=search_weights,search_embedding --batch_sizes=64,512
  python experiments/benchmarks/accelerator.py --programs=search_weights --dtypes=float32 --batch_sizes=64 --kernels=30
  JAX_PLATFORMS=cpu python experiments/benchmarks/accelerator.py --cells=1 --channels=4 --batch_sizes=8 --dtypes=float32

A separate process measures each row (see measure/on_device.py). Several processes compile at once, but only one at a
time is timed. ahead/programs.py defines the programs and their sizes. --batch_sizes applies to the search's steps; the
other programs have one batch size each. The columns:

* compile s: tracing and XLA with an empty cache, then both again with the cache that the first compilation filled.
* step ms: the median of dispatches of ten steps, and the fastest.
* memory: the most memory that the device used.
* the same twice: whether two runs of five steps from one state ended bit-identical.

The second table times the forms of a depthwise convolution, forward and backward, at the shapes of the supernet.
--kernels=30 adds a table for each program. The table sums the kernels by kind and lists the 30 slowest kernels. JAX's
profiler measures each kernel's time, and the table compares it with the chip's lower bound (see ahead/chips.py).
"""

import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import app, flags

from ahead.kernels import KINDS
from measure.profile import Measured

HERE = Path(__file__).resolve().parent
# Images a step for the programs that --batch_sizes does not cover.
BATCH_SIZES = {"train_cifar": 96, "train_imagenet": 128, "segmentation": 16, "predict": 64}
SEARCH = ("search_weights", "search_embedding", "sampled_weights")
# The steps of other relaxations: `--programs` may name them.
RELAXED = ("gumbel_weights", "gumbel_embedding", "partial_weights", "partial_embedding")
COLUMNS = (
    "program",
    "type",
    "images a step",
    "compile s, cold; warm",
    "step ms, median; fastest",
    "images/s",
    "memory GB",
    "the same twice",
)
FORMS = ("dilated", "by_phases", "shifts", "dense")

_PROGRAMS = flags.DEFINE_list(
    "programs", [*SEARCH, *BATCH_SIZES], f"programs of ahead/programs.py; also {', '.join(RELAXED)}"
)
_DTYPES = flags.DEFINE_list("dtypes", ["float32", "bfloat16"], "dtypes of the activations")
_BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["64", "256"], "batch sizes of the search's steps")
_CELLS = flags.DEFINE_integer("cells", None, "number of cells, else the paper's")
_CHANNELS = flags.DEFINE_integer("channels", None, "channels of the first cells, else the paper's")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", None, "pixels of a side, else the paper's")
_DEPTHWISE = flags.DEFINE_bool("depthwise", True, "time the forms of depthwise convolutions too")
_KERNELS = flags.DEFINE_integer("kernels", 0, "how many of the slowest kernels to list")
_SECONDS = flags.DEFINE_float("seconds", 3.0, "seconds to time each step")
_LIMIT_S = flags.DEFINE_float("limit_s", 540.0, "seconds until unfinished rows are given up")
_AT_ONCE = flags.DEFINE_integer("at_once", max(1, (os.cpu_count() or 1) // 3), "processes at once")
_OUT = flags.DEFINE_string("out", None, "a file to write the tables to as well")


def main(_) -> None:
    end = time.monotonic() + _LIMIT_S.value
    lines = []

    def say(line=""):
        print(line, flush=True)
        lines.append(line)

    with tempfile.TemporaryDirectory() as folder:
        device = start("measure.on_device", {"program": None}, folder, end)
        say(device.get("device", device.get("failure")))
        say()
        say(row(*COLUMNS))
        say(row(*("---" for _ in COLUMNS)))
        with concurrent.futures.ThreadPoolExecutor(_AT_ONCE.value) as pool:
            rows = [(r, pool.submit(measure, r, folder, end)) for r in requests()]
            forms = None
            if _DEPTHWISE.value:
                forms = pool.submit(start, "measure.depthwise_forms", shapes(), folder, end)
            for request, figures in rows:
                say(row(*cells(request, figures.result())))
            for request, figures in rows:
                if "kernels" in figures.result():
                    say_kernels(say, request, [Measured(*k) for k in figures.result()["kernels"]])
            if forms is not None:
                say_forms(say, forms.result())
    if _OUT.value:
        Path(_OUT.value).write_text("\n".join(lines) + "\n")


def requests():
    """Lists what to measure, as on_device.py reads it, the longest to compile first."""
    for program in _PROGRAMS.value:
        sizes = [BATCH_SIZES[program]] if program in BATCH_SIZES else map(int, _BATCH_SIZES.value)
        for batch_size in sizes:
            for dtype in _DTYPES.value:
                size = {"batch_size": batch_size, "dtype": dtype, "image_size": _IMAGE_SIZE.value}
                size |= {"cells": _CELLS.value, "channels": _CHANNELS.value}
                request = {"program": program, "size": size, "seconds": _SECONDS.value}
                yield request | {"kernels": _KERNELS.value > 0}


def shapes() -> dict:
    """Lists depthwise convolutions of four edges at every width of the supernet, as depthwise_forms.py reads them."""
    channels, size = _CHANNELS.value or 16, _IMAGE_SIZE.value or 32
    batch_size = int(_BATCH_SIZES.value[0])
    widths = [(batch_size, size >> n, 4 * channels << n) for n in range(3)]
    return {
        "cases": [
            (*width, kernel, dilation, stride, dtype)
            for dtype in _DTYPES.value
            for width in widths
            for dilation in (1, 2)
            for kernel in (3, 5)
            for stride in (1, 2)
        ],
        "forms": FORMS,
    }


def measure(request: dict, folder: str, end: float) -> dict:
    """Measures a program with an empty compilation cache, then its compilation with the filled cache."""
    name = "-".join(map(str, (request["program"], *request["size"].values())))
    cached = request | {"cache": str(Path(folder) / name)}
    figures = start("measure.on_device", cached, folder, end)
    if "failure" not in figures:
        warm = start("measure.on_device", cached | {"seconds": 0}, folder, end)
        if "failure" not in warm:
            figures["warm_s"] = warm["trace_s"] + warm["compile_s"]
    return figures


def start(module: str, request: dict, folder: str, end: float) -> dict:
    """Runs the module in a process; returns the JSON that the process prints at the end, or a `failure`."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(
            filter(None, (str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH")))
        ),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        # Several processes share the device.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    }
    if request.get("kernels"):  # the profiler shows a graph of kernels as one kernel
        options = os.environ.get("XLA_FLAGS", ""), "--xla_gpu_enable_command_buffer="
        environment["XLA_FLAGS"] = " ".join(options)
    request = request | {"lock": str(Path(folder) / "lock")}
    left = min(end - time.monotonic(), 1e6)
    if left <= 0:
        return {"failure": "no time left"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, json.dumps(request)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=left,
        )
    except subprocess.TimeoutExpired:
        return {"failure": "no time left"}
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
        words = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing said"]
        return {"failure": f"exit code {done.returncode}: {words[-1].strip()[:160]}"}
    return json.loads(done.stdout.splitlines()[-1])


def cells(request: dict, figures: dict) -> list[str]:
    """Returns a row's texts."""
    size = request["size"]
    texts = [request["program"], size["dtype"], str(size["batch_size"])]
    if "failure" in figures:
        return [*texts, figures["failure"], *[""] * (len(COLUMNS) - len(texts) - 1)]
    memory = figures["peak_bytes"]
    warm = f"{figures['warm_s']:.0f}" if "warm_s" in figures else "no time left"
    return [
        *texts,
        f"{figures['trace_s'] + figures['compile_s']:.0f}; {warm}",
        f"{1e3 * figures['step_s']:.1f}; {1e3 * figures['fastest_s']:.1f}",
        f"{size['batch_size'] / figures['step_s']:,.0f}",
        f"{memory / 1e9:.2f}" if memory else "not told",
        "yes" if figures["repeats"] else "no",
    ]


def say_kernels(say, request: dict, kernels: list[Measured]) -> None:
    """Prints the time of a program's kernels: the sum of each kind, then the slowest kernels."""
    size = request["size"]
    say()
    name = f"{request['program']}, {size['dtype']}, {size['batch_size']} images"
    say(row(name, "in a step", "ms", "least ms", "result", "from"))
    say(row(*("---" for _ in range(6))))
    for kind in KINDS:
        of_kind = [kernel for kernel in kernels if kernel.kind == kind]
        if of_kind:
            say(kernel_row(f"all of kind {kind}", of_kind))
    for kernel in kernels[: _KERNELS.value]:
        origin = "/".join(kernel.origin.split("/")[-3:])
        say(kernel_row(kernel.name, [kernel], kernel.result, origin))


def kernel_row(name: str, kernels: list[Measured], *more: str) -> str:
    """Returns a row of sums over kernels."""
    times = sum(kernel.times for kernel in kernels)
    seconds = sum(kernel.seconds for kernel in kernels)
    least = [kernel.least for kernel in kernels if kernel.least is not None]
    figures = f"{times:g}", f"{1e3 * seconds:.3f}", f"{1e3 * sum(least):.3f}" if least else ""
    return row(name, *figures, *(more or ("", "")))


def say_forms(say, figures: dict) -> None:
    """Prints the table of the forms, without the forms that there was no time to measure."""
    say()
    if "failure" in figures:
        say(f"forms of depthwise convolutions: {figures['failure']}")
        return
    say(row("depthwise convolution, forward and backward, µs", *FORMS))
    say(row(*("---" for _ in range(1 + len(FORMS)))))
    for (batch, size, channels, kernel, dilation, stride, dtype), times in figures["times"]:
        shape = f"[{batch}, {size}, {size}, {channels}]"
        name = f"{dtype} {shape}, {kernel} x {kernel}, dilation {dilation}, stride {stride}"
        say(row(name, *("" if t is None else f"{1e6 * t:.0f}" for t in times)))


def row(*texts: str) -> str:
    """Returns a line of a Markdown table."""
    return f"| {' | '.join(texts)} |"


if __name__ == "__main__":
    app.run(main)
