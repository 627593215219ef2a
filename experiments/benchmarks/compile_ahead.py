"""Compiles the steps for accelerators that this machine lacks, with their own compilers, and estimates a step's time.

  python experiments/benchmarks/compile_ahead.py --plugins=DIR                                   all of it: hours
  python experiments/benchmarks/compile_ahead.py --plugins=DIR --chips=h100 --programs=search_weights
  python experiments/benchmarks/compile_ahead.py --plugins=DIR --cells=2 --batch_size=8 --dtype=bfloat16 --devices=4
  python experiments/benchmarks/compile_ahead.py --plugins=DIR --programs=search_weights --side_by_side=1,4,8
  python experiments/benchmarks/compile_ahead.py --plugins=DIR --out=experiments/figures/compile_ahead.md

--out names a file that keeps the rows. A new row replaces the row of the same program, chip and flags.

DIR holds the compilers, which are no dependencies of the project. With the version of jax in use (0.10.2):

  pip install --target=DIR/cuda --no-deps jax-cuda12-plugin==0.10.2 jax-cuda12-pjrt==0.10.2 nvidia-cuda-nvcc-cu12
  pip install --target=DIR/tpu --no-deps 'libtpu==0.0.42.*'       as jax's extra `tpu` names it

Later versions need jax-cuda13-plugin, jax-cuda13-pjrt, nvidia-cuda-nvcc, nvidia-nvvm and nvidia-cuda-crt. With 0.11.2
most steps of 8 cells need XLA_FLAGS=--xla_gpu_enable_triton_gemm=false on a machine without the GPU. The compiler's
tuner finds no configuration of some products where it cannot time them. On an H100 it can, and needs no flag.

A separate process compiles each program, because a compiler may crash the process. Exit code 1 means that a
program did not compile. --side_by_side compiles the step of several searches in one program (`search.seeds`), or the
trainings of several cells (`any_cell`, which no search does). Sizes are the paper's unless a flag changes them (see
ahead/programs.py). `batch_size` counts the images of all devices together.
The columns:

* flags: the differences from the paper's size, float32 and one device. The same flags make the same row again.
* compile s: tracing and lowering, and XLA, on this machine, without a cache.
* temporaries: memory besides arguments and results, on one device.
* kernels: how many a step starts; in brackets fusions, products, convolutions and collectives (see ahead/kernels.py).
* GFLOP: the arithmetic of products and convolutions. GB: the bytes that the kernels read and write.
* host launches: how often the host starts a command buffer or a kernel, on a GPU (see ahead/launches.py).
* least: each kernel takes the longest of arithmetic, memory traffic and a launch, at the chip's peak rates.
* estimate: the same at the rates that kernels of a GPU reach, and with host launches (see ahead/chips.py). A dash
  stands for a row that was made before, or for a TPU, whose kernels have no other rates.
* Mcycles: the TPU compiler's estimate, for the kernels that it models. Use them to compare two forms of a program.
"""

import importlib.metadata
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

from absl import app, flags

from ahead import chips
from ahead.kernels import KINDS

HERE = Path(__file__).parent
PROGRAMS = (
    "search_weights",
    "search_embedding",
    "gumbel_weights",
    "gumbel_embedding",
    "partial_weights",
    "partial_embedding",
    "second_order_embedding",
    "nas_bench_201_weights",
    "nas_bench_201_embedding",
    "sampled_weights",
    "any_cell",
    "train_cifar",
    "train_imagenet",
    "segmentation",
    "predict",
)
SIDE_BY_SIDE = (*PROGRAMS[:9], "any_cell")
COLUMNS = (
    "program",
    "chip",
    "flags",
    "jax",
    "compile s (trace + XLA)",
    "temporaries GB",
    f"kernels ({', '.join(KINDS[:-1])})",
    "host launches",
    "GFLOP",
    "GB",
    "least ms",
    "estimate ms",
    "Mcycles",
)
TITLE = """# Steps compiled for accelerators ahead of time

The command `python experiments/benchmarks/compile_ahead.py --out=FILE` writes this table.
Its help text explains the columns. An estimate is no measurement: a chip may be much slower.

"""

_PLUGINS = flags.DEFINE_string("plugins", None, "folder of the compilers")
_CHIPS = flags.DEFINE_list("chips", ["h100", "v5e"], f"among {', '.join(chips.CHIPS)}")
_PROGRAMS = flags.DEFINE_list("programs", list(PROGRAMS), "which programs")
_SIZE = {
    "cells": flags.DEFINE_integer("cells", None, "number of cells"),
    "channels": flags.DEFINE_integer("channels", None, "channels of the first cells"),
    "batch_size": flags.DEFINE_integer("batch_size", None, "images a step"),
    "image_size": flags.DEFINE_integer("image_size", None, "pixels of a side"),
    "dtype": flags.DEFINE_enum(
        "dtype", "float32", ("float32", "bfloat16"), "type of the activations"
    ),
    "remat": flags.DEFINE_bool(
        "remat", False, "rematerialize the supernet, as config.network.remat"
    ),
}
_DEVICES = flags.DEFINE_integer("devices", 1, "how many devices divide a batch", lower_bound=1)
_SIDE_BY_SIDE = flags.DEFINE_list(
    "side_by_side", ["1"], "how many searches or cells run side by side"
)
_OUT = flags.DEFINE_string(
    "out", None, "a Markdown file that keeps the rows, e.g. compile_ahead.md"
)
_LIMIT_S = flags.DEFINE_float("limit_s", 3600.0, "seconds after which a process is stopped")


def main(_) -> None:
    if _PLUGINS.value is None:
        sys.exit("--plugins: expected the folder of the compilers, see --help")
    for flag, known in ((_CHIPS, chips.CHIPS), (_PROGRAMS, PROGRAMS)):
        for name in flag.value:
            if name not in known:
                sys.exit(f"--{flag.name}: found {name!r}, expected some of {', '.join(known)}")
    if not all(text.isdecimal() and int(text) for text in _SIDE_BY_SIDE.value):
        sys.exit(
            f"--side_by_side: found {','.join(_SIDE_BY_SIDE.value)!r}, expected numbers such as 1,4,8"
        )
    several = [int(text) for text in _SIDE_BY_SIDE.value]
    if max(several) > 1 and (others := [p for p in _PROGRAMS.value if p not in SIDE_BY_SIDE]):
        sys.exit(
            f"--side_by_side: found {max(several)} with {', '.join(others)}, expected 1: no step is for several"
        )
    size = {name: flag.value for name, flag in _SIZE.items()}
    print(row(*COLUMNS))
    print(row(*("---" for _ in COLUMNS)), flush=True)
    jax, failures = importlib.metadata.version("jax"), 0
    for chip in _CHIPS.value:
        for program, seeds in itertools.product(_PROGRAMS.value, several):
            figures = compile_one(chip, program, seeds, size)
            failures += "failure" in figures
            flagged = size | {"devices": _DEVICES.value, "side_by_side": seeds}
            line = row(program, chip, words(flagged), jax, *cells(figures))
            print(line, flush=True)
            for warning in warnings(figures):
                print(f"{program}, {chip}: {warning}", file=sys.stderr)
            if _OUT.value and "failure" not in figures:
                keep(Path(_OUT.value), line)
    sys.exit(failures > 0)


def compile_one(chip: str, program: str, seeds: int, size: dict) -> dict:
    """Returns the figures of `ahead/compile_one.py`, or a `failure`; the compiler's last words go to stderr."""
    arguments = json.dumps([chip, program, _DEVICES.value, seeds, size])
    environment = chips.environment(chip, Path(_PLUGINS.value).resolve())
    environment["PYTHONPATH"] = os.pathsep.join((str(HERE), environment.get("PYTHONPATH", "")))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "ahead.compile_one", arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S.value,
        )
    except subprocess.TimeoutExpired:
        return {"failure": f"stopped after {_LIMIT_S.value:.0f} s"}
    if done.returncode:
        print(done.stderr[-4000:], file=sys.stderr)
        return {"failure": f"exit code {done.returncode}: {reason(done.stderr)}"}
    return json.loads(done.stdout.splitlines()[-1])


def warnings(figures: dict) -> list[str]:
    """Lists what makes a GPU's program slow, or two runs of the program unequal."""
    texts = {
        "one_image": "gradients of depthwise kernels are computed as convolutions of one image",
        "scatters": "scatters, which add in any order",
    }
    return [f"{figures[name]:.0f} {text}" for name, text in texts.items() if figures.get(name)]


def words(values: dict) -> str:
    """Returns the flags that make a row, without those that stand at their defaults."""
    defaults = {name: flag.default for name, flag in _SIZE.items()}
    defaults |= {"devices": 1, "side_by_side": 1}
    changed = {name: value for name, value in values.items() if value != defaults[name]}
    texts = [
        f"--{name}" if value is True else f"--{name}={value}" for name, value in changed.items()
    ]
    return f"`{' '.join(texts)}`" if texts else ""


def keep(path: Path, line: str) -> None:
    """Adds a row to the table in a file. The row replaces an older row of the same program, chip and flags."""
    text = path.read_text() if path.exists() else TITLE
    lines = text.splitlines()
    if row(*COLUMNS) not in lines:
        lines += [row(*COLUMNS), row(*("---" for _ in COLUMNS))]
    keys = [text.split(" | ")[:3] for text in lines]
    key = line.split(" | ")[:3]
    if key in keys:
        lines[keys.index(key)] = line
    else:
        lines.append(line)
    path.write_text("\n".join(lines) + "\n")


def reason(errors: str) -> str:
    """Returns the most telling line of a compiler's errors: a failed check, or else the last line of text."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    checks = [line for line in lines if "Check failed" in line]
    said = (
        checks or [line for line in lines if not line.startswith(("@", "***"))] or ["nothing said"]
    )
    return said[-1][:200].replace("|", "/")


def cells(figures: dict) -> list[str]:
    """Returns the cells of a row from the column `compile s` on."""
    if "failure" in figures:
        return [figures["failure"], *[""] * (len(COLUMNS) - 5)]
    counts = figures["kernels"]
    kinds = ", ".join(f"{counts.get(kind, 0):,.0f}" for kind in KINDS[:-1])
    return [
        f"{figures['trace_s']:.0f} + {figures['compile_s']:.0f}",
        f"{figures['temp_bytes'] / 1e9:.2f}",
        f"{sum(counts.values()):,.0f} ({kinds})",
        f"{figures['launches']:,.0f}" if figures["launches"] else "–",
        f"{figures['flops'] / 1e9:.4g}",
        f"{figures['bytes'] / 1e9:.3g}",
        f"{1e3 * figures['least_s']:.2f}",
        f"{1e3 * figures['step_s']:.2f}" if figures["launches"] else "–",
        f"{figures['cycles'] / 1e6:.1f}" if figures["cycles"] else "",
    ]


def row(*texts: str) -> str:
    """Returns a line of a Markdown table."""
    return f"| {' | '.join(texts)} |"


if __name__ == "__main__":
    app.run(main)
