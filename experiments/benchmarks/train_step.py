"""Times a training step of a genotype's network on this machine, against PyTorch, and divided among devices.

  python experiments/benchmarks/train_step.py                    ours alone
  python experiments/benchmarks/train_step.py --torch            alternating runs with PyTorch (pytorch/network.py)
  python experiments/benchmarks/train_step.py --devices=1,2,4    compare losses on 1, 2 and 4 virtual devices
  python experiments/benchmarks/train_step.py --cells=3 --channels=4 --batch_size=8         any of them, small

A step is forward, backward and update, as configs/train_cifar10.py trains: crop, flip and cutout on the device, on
random images. Every figure comes from a fresh process with an empty compilation cache. A dispatch runs
--steps_per_dispatch steps; a step's time is the dispatch's time over this number. After a warm-up dispatch,
--dispatches dispatches are timed. The table shows the median and the fastest. For the ratio, it also shows the range
over the turns, which tells how noisy the machine is. PyTorch may live in another environment:
--torch_python=ITS_PYTHON. Both sides use all threads that they may; for one core, run `taskset -c 0`.

With --devices, devices divide a batch and share batch statistics (`train.sync_batch_norm`). The command fails if a
loss differs by more than rounding. It also fails if the gradient takes more than one all-reduce a step.
"""

import os
import signal
import sys
import tempfile

import numpy as np
from absl import app, flags

from measure import command
from measure.collectives import BACKWARD, FORWARD, GRADIENT, KINDS
from measure.command import COMPARISON, TORCH, header, processor, row
from measure.process import Process
from nge_jax.space import genotype

TIMED = {"batch_size": 64, "channels": 16, "cells": 8}  # the paper has 128, 36 and 20
DIVIDED = {"batch_size": 16, "channels": 4, "cells": 3}
TOLERANCE = 1e-4  # relative, for losses: steps amplify the rounding of sums in another order

flags.adopt_module_key_flags(command)  # for --help
_GENOTYPE = flags.DEFINE_string("genotype", "DARTS_V2", "as config.genotype")
_SIZE = {
    "batch_size": flags.DEFINE_integer("batch_size", None, "images a step"),
    "channels": flags.DEFINE_integer("channels", None, "channels of the first cells"),
    "cells": flags.DEFINE_integer("cells", None, "number of cells"),
}
_RECIPE = {
    "auxiliary_weight": flags.DEFINE_float(
        "auxiliary_weight", 0.4, "weight of the auxiliary head's loss; 0: no head"
    ),
    "drop_path": flags.DEFINE_float("drop_path", 0.3, "drop-path rate at the end; 0: none"),
}
_DEVICES = flags.DEFINE_list("devices", [], "numbers of virtual devices")
_LOSSES = flags.DEFINE_integer("losses", 6, "steps whose losses to compare, for --devices")


def main(_) -> None:
    # The exit also ends the measured processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    cell = genotype.load(_GENOTYPE.value)  # a wrong one fails here, before any process
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
    with tempfile.TemporaryDirectory() as cache, ours(options, cache) as mine:
        if TORCH.value:
            compare_with_torch(options, cell, mine)
        else:
            print_figures(mine, size["batch_size"])


def device_counts(batch_size: int) -> list[int]:
    """Reads --devices.

    Raises:
        app.UsageError: a number of devices does not divide a batch.
    """
    counts = _DEVICES.value
    if not all(
        count.isdecimal() and int(count) and batch_size % int(count) == 0 for count in counts
    ):
        raise app.UsageError(
            f"--devices: found {','.join(counts)}, expected divisors of a batch of {batch_size}"
        )
    return list(map(int, counts))


def ours(options: dict, cache: str, env: dict | None = None) -> Process:
    """Starts measure/training.py with the compilation cache in the folder `cache`."""
    module = "measure.training"
    return command.start_ours(module, cache, env, genotype=_GENOTYPE.value, **options)


def print_figures(mine: Process, images: int) -> None:
    figures = mine.ready | command.speed(mine)
    print(header("figure", "ours"))
    print(row("parameters", f"{figures['parameters']:,}"))
    for name, cell in command.figure_rows(images).items():
        print(row(name, cell(figures)))


def compare_with_torch(options: dict, cell: genotype.Genotype, mine: Process) -> None:
    options = options | {"genotype": genotype.to_json(cell)}
    with command.start_torch("pytorch.network", **options) as theirs:
        cells = command.compare(theirs, mine)
    print(header("parameters", *COMPARISON))
    print(row(f"{mine.ready['parameters']:,}", *cells))


def divide(options: dict, devices: list[int]) -> None:
    """Runs the same steps on each number of devices.

    Raises:
        RuntimeError: the losses differ, or the gradient takes more than one all-reduce.
    """
    ready = {}
    for count in devices:
        flag = f"--xla_force_host_platform_device_count={count}"
        env = {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flag}", "JAX_PLATFORMS": "cpu"}
        with (
            tempfile.TemporaryDirectory() as cache,
            ours(options | {"losses": _LOSSES.value}, cache, env) as mine,
        ):
            ready[count] = mine.ready
    print_losses(ready)
    print_all_reduces(ready)


def print_losses(ready: dict[int, dict]) -> None:
    print(header("step", *(f"loss on {count}" for count in ready)))
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
    print(header("devices", *(f"{kind}: all-reduces a step; numbers" for kind in KINDS)))
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
        counts = figures["all_reduces"]
        crossing = [1, parameters + running + one["sums"]]
        if count > 1 and counts[GRADIENT] != crossing:
            raise RuntimeError(f"{count} devices: gradient {counts[GRADIENT]}, expected {crossing}")
        if counts[FORWARD][1] + counts[BACKWARD][1] > 2 * running:
            raise RuntimeError(f"{count} devices: {counts}, expected {running} statistics a pass")


if __name__ == "__main__":
    app.run(main)
