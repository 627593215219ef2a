"""Times a training step of a genotype's network on this machine, against PyTorch, and divided among devices.

  python experiments/benchmark_train_step.py                    ours alone
  python experiments/benchmark_train_step.py --torch            alternating runs with PyTorch (torch_network.py)
  python experiments/benchmark_train_step.py --devices=1,2,4    the losses on so many virtual devices, all-reduces
  python experiments/benchmark_train_step.py --cells=3 --channels=4 --batch_size=8         any of them, small

A step is forward, backward and update, as `train.py` runs it by configs/train_cifar10.py: crop, flip and cutout on the
device, on random images. Every figure comes from a fresh process with an empty compilation cache. A step's time is
that of a dispatch of --steps_per_dispatch steps; of --dispatches such, after one that is not counted, the table tells
the median and the fastest, and of the ratio also the range from turn to turn: how noisy the machine is. PyTorch may
live in another environment: --torch_python=ITS_PYTHON. Both use as many threads as they may: for one core, start this
with `taskset -c 0`.

Devices divide a batch with batch statistics of the whole (`train.sync_batch_norm`). It fails where a loss differs
by more than rounding, or where the gradient crosses the devices in more than one all-reduce a step.
"""

import os
import signal
import statistics
import sys
import tempfile

import numpy as np
from absl import app, flags
from benchmark_collectives import BACKWARD, FORWARD, GRADIENT, KINDS
from benchmark_process import COMPARISON, ROOT, Process, compare, processor, row, take_turns

from nge_jax.space import genotype

TIMED = {"batch_size": 64, "channels": 16, "cells": 8}  # the paper's has 128, 36, 20
DIVIDED = {"batch_size": 16, "channels": 4, "cells": 3}
TOLERANCE = 1e-4  # of a loss, relative: steps amplify the rounding of sums in another order

_GENOTYPE = flags.DEFINE_string("genotype", "DARTS_V2", "as config.genotype")
_SIZE = {
    "batch_size": flags.DEFINE_integer("batch_size", None, "images a step"),
    "channels": flags.DEFINE_integer("channels", None, "channels of the first cells"),
    "cells": flags.DEFINE_integer("cells", None, "number of cells"),
}
_RECIPE = {
    "auxiliary_weight": flags.DEFINE_float(
        "auxiliary_weight", 0.4, "as config.train's; 0: no head"
    ),
    "drop_path": flags.DEFINE_float("drop_path", 0.3, "as config.train's; 0: none"),
}
_DISPATCHES = flags.DEFINE_integer("dispatches", 5, "dispatches timed")
_STEPS = flags.DEFINE_integer("steps_per_dispatch", 2, "steps a dispatch")
_LIMIT_GB = flags.DEFINE_float("limit_gb", 16.0, "a process that grows larger is killed")
_LIMIT_S = flags.DEFINE_float(
    "limit_s", 1800.0, "as is one that compiles, or runs a dispatch, longer"
)
_TORCH = flags.DEFINE_bool("torch", False, "alternate with PyTorch")
_TORCH_PYTHON = flags.DEFINE_string("torch_python", sys.executable, "a Python that has torch")
_DEVICES = flags.DEFINE_list("devices", [], "numbers of virtual devices")
_LOSSES = flags.DEFINE_integer("losses", 6, "steps whose losses to compare, for --devices")


def main(_) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what is measured ends with it
    found = genotype.load(_GENOTYPE.value)
    default = DIVIDED if _DEVICES.value else TIMED
    size = {k: default[k] if flag.value is None else flag.value for k, flag in _SIZE.items()}
    options = size | {name: flag.value for name, flag in _RECIPE.items()}
    print(
        f"{processor()}; {_GENOTYPE.value}, {size['batch_size']} images, {size['channels']} channels, "
        f"{size['cells']} cells; auxiliary {options['auxiliary_weight']}, drop-path {options['drop_path']}",
        flush=True,
    )
    if _DEVICES.value:
        divide(options, device_counts(size["batch_size"]))
        return
    with tempfile.TemporaryDirectory() as cache, ours(options, cache) as jax:
        if _TORCH.value:
            compare_with_torch(options, found, jax)
        else:
            print_figures(jax, size["batch_size"])


def device_counts(batch_size: int) -> list[int]:
    counts = _DEVICES.value
    if not all(
        count.isdecimal() and int(count) and batch_size % int(count) == 0 for count in counts
    ):
        found = ",".join(counts)
        raise app.UsageError(
            f"--devices: found {found}, expected divisors of a batch of {batch_size}"
        )
    return list(map(int, counts))


def ours(options: dict, cache: str, env: dict | None = None) -> Process:
    """A process of benchmark_training.py, its compilation cache in the folder `cache`."""
    return process(
        sys.executable,
        "benchmark_training.py",
        {"JAX_COMPILATION_CACHE_DIR": cache} | (env or {}),
        genotype=_GENOTYPE.value,
        steps_per_dispatch=_STEPS.value,
        **options,
    )


def process(python: str, script: str, env: dict, **options) -> Process:
    limits = {"limit_gb": _LIMIT_GB.value, "limit_s": _LIMIT_S.value}
    return Process([python, str(ROOT / "experiments" / script)], env=env, **limits, **options)


def print_figures(jax: Process, images: int) -> None:
    (seconds,) = take_turns([jax], _STEPS.value, _DISPATCHES.value)
    figures, middle = jax.ready, statistics.median(seconds)
    rows = {
        "parameters": f"{figures['parameters']:,}",
        "compile s (trace + XLA)": f"{figures['trace_s']:.0f} + {figures['compile_s']:.0f}",
        "peak RSS while compiling GB": f"{figures['peak_bytes'] / 1e9:.1f}",
        "step s (median; fastest)": f"{middle:.3g}; {min(seconds):.3g}",
        "images/s": f"{images / middle:.1f}",
        "GFLOP a step": f"{figures['flops'] / 1e9:.3g}",
        "GB accessed a step": f"{figures['bytes accessed'] / 1e9:.3g}",
        "temporary memory GB": f"{figures['temp_bytes'] / 1e9:.3g}",
    }
    print(row("figure", "ours") + "\n|---|---|")
    for cells in rows.items():
        print(row(*cells))


def compare_with_torch(options: dict, found: genotype.Genotype, jax: Process) -> None:
    python, cell = _TORCH_PYTHON.value, genotype.to_json(found)
    with process(python, "torch_network.py", {}, genotype=cell, **options) as torch:
        cells = compare(torch, jax, _STEPS.value, _DISPATCHES.value)
    print(row("parameters", *COMPARISON) + "\n|---|---|---|---|")
    print(row(f"{jax.ready['parameters']:,}", *cells))


def divide(options: dict, devices: list[int]) -> None:
    """The same steps on each number of devices.

    Raises:
        RuntimeError: their losses differ, or the gradient takes more than one all-reduce.
    """
    ready = {}
    for count in devices:
        flag = f"--xla_force_host_platform_device_count={count}"
        env = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flag}", "JAX_PLATFORMS": "cpu"}
        with (
            tempfile.TemporaryDirectory() as cache,
            ours(options | {"losses": _LOSSES.value}, cache, env) as jax,
        ):
            ready[count] = jax.ready
    print_losses(ready)
    print_all_reduces(ready)


def print_losses(ready: dict[int, dict]) -> None:
    print(row("step", *(f"loss on {count}" for count in ready)))
    print("|---" * (1 + len(ready)) + "|")
    steps = np.array([figures["losses"] for figures in ready.values()]).T
    for step, losses in enumerate(steps):
        print(row(str(step), *(f"{loss:.7f}" for loss in losses)))
    worst = np.max(np.ptp(steps, axis=1) / steps.min(axis=1))
    print(f"largest relative difference: {worst:.1e}\n")
    if not worst <= TOLERANCE:
        raise RuntimeError(
            f"losses differ by {worst:.1e} of them, expected {TOLERANCE:.0e} at most"
        )


def print_all_reduces(ready: dict[int, dict]) -> None:
    """All-reduces of a step."""
    print(row("devices", *(f"{kind}: all-reduces a step; numbers" for kind in KINDS)))
    print("|---" * (1 + len(KINDS)) + "|")
    for count, figures in ready.items():
        cells = ["{}; {:,}".format(*figures["all_reduces"][kind]) for kind in KINDS]
        print(row(str(count), *cells))
    one = next(iter(ready.values()))
    parameters, running = one["parameters"], one["batch_stats"]
    print(
        f"{parameters:,} parameters; {running:,} running statistics and {one['sums']} sums of metrics "
        "cross with the gradient"
    )
    for count, figures in ready.items():
        found = figures["all_reduces"]
        crossing = [1, parameters + running + one["sums"]]
        if count > 1 and found[GRADIENT] != crossing:
            raise RuntimeError(f"{count} devices: gradient {found[GRADIENT]}, expected {crossing}")
        if found[FORWARD][1] + found[BACKWARD][1] > 2 * running:
            raise RuntimeError(f"{count} devices: {found}, expected {running} statistics a pass")


if __name__ == "__main__":
    app.run(main)
