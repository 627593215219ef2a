"""What the measured processes share: a config, images, and the compilation of a phase with its figures."""

import importlib.util
import resource
import time
from collections.abc import Callable, Sequence

import benchmark_cost
import jax
import numpy as np
from benchmark_process import ROOT
from ml_collections import ConfigDict

from nge_jax.data import small
from nge_jax.runtime import parallel


def read_config(name: str, arg: str = "") -> ConfigDict:
    """The config in configs/`name`.py."""
    path = ROOT / "configs" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(arg)


def random_images(count: int) -> small.Dataset:
    """`count` training images of CIFAR-10's shape, and one to test."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
    labels = rng.integers(0, 10, count).astype(np.int32)
    return small.Dataset(images, labels, images[:1], labels[:1], 10, small.MEAN, small.STD)


def compile_side_by_side(phases: Sequence[Callable], arguments: Sequence[tuple]) -> dict:
    """What it takes to compile phases as a search does before its first step, tracing included."""
    begin = time.monotonic()
    parallel.compile_side_by_side(phases, arguments)
    return {"both_s": time.monotonic() - begin, "both_peak_bytes": peak_bytes()}


def compile_phase(phase: Callable, arguments: tuple) -> tuple[jax.stages.Compiled, dict]:
    """The compiled phase (of `parallel.on_all_devices`), and what its compilation took and yielded."""
    begin = time.monotonic()
    lowered = phase.lower(*arguments)
    traced = time.monotonic()
    compiled = parallel.program(lowered)
    figures = {"trace_s": traced - begin, "compile_s": time.monotonic() - traced}
    figures["peak_bytes"] = peak_bytes()  # before what follows here, which is no part of a run
    figures["temp_bytes"] = compiled.memory_analysis().temp_size_in_bytes
    program = jax.jit(phase).trace(*arguments)
    iterations = benchmark_cost.mean_iterations(program.jaxpr, 0, 1)  # one step of a dispatch's
    return compiled, figures | benchmark_cost.cost(compiled, iterations)


def peak_bytes() -> int:
    """The most resident memory that the process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
