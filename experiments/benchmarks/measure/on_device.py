"""Runs one of the steps of `ahead/programs.py` on this machine's devices, and prints the cost as a line of JSON.

`accelerator.py` starts a separate process for each step. The peak memory then belongs to one step, and a compiler that
crashes ends only one row.
"""

import contextlib
import fcntl
import json
import statistics
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ahead.programs import PROGRAMS, Size
from measure.profile import Measured, measure_kernels

STEPS = 10  # steps of a timed dispatch
PROFILED = 3  # profiled steps


def main() -> None:
    request = json.loads(sys.argv[1])
    devices = jax.local_devices()
    if request["program"] is None:
        kinds = {device.device_kind for device in devices}
        print(json.dumps({"device": f"{len(devices)} x {', '.join(kinds)}, jax {jax.__version__}"}))
        return
    jax.config.update("jax_compilation_cache_dir", request["cache"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    built = PROGRAMS[request["program"]](Size(**request["size"]))
    begin = time.monotonic()
    lowered = built.trace(devices).lower()
    traced = time.monotonic()
    compiled = lowered.compile()
    figures = {"trace_s": traced - begin, "compile_s": time.monotonic() - traced}
    if request["seconds"]:
        # Hundreds of small random draws run once. They compile faster without optimization.
        options = {"xla_backend_optimization_level": 0}
        make_arguments = jax.jit(built.make_arguments, compiler_options=options)
        made = make_arguments()
        with alone(request["lock"]):
            figures |= speed(compiled, made, bool(built.donated), request["seconds"])
            if request.get("kernels"):
                figures["kernels"] = kernels(compiled, make_arguments)
    print(json.dumps(figures))


@contextlib.contextmanager
def alone(path: str):
    """Holds a lock, so that one process at a time is timed. The lock does not stop other processes from compiling."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def speed(compiled, made: tuple, donated: bool, seconds: float) -> dict:
    """Times steps for about `seconds`, and compares the final states of two runs of five steps from one state."""

    def run(arguments, steps):
        first, *others = arguments
        for _ in range(steps):
            result = compiled(first, *others)
            first = result if donated else first
        return jax.block_until_ready(result)

    ends = [run(jax.tree.map(jnp.copy, made), 5) for _ in range(2)]
    pairs = zip(*(jax.tree.leaves(host_arrays(end)) for end in ends), strict=True)
    repeats = all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)
    times, begin = [], time.monotonic()
    first, *others = made
    first = ends[-1] if donated else first
    while time.monotonic() - begin < seconds or len(times) < 3:
        start = time.monotonic()
        end = run((first, *others), STEPS)
        first = end if donated else first
        times.append((time.monotonic() - start) / STEPS)
    memory = jax.local_devices()[0].memory_stats() or {}
    return {
        "step_s": statistics.median(times),
        "fastest_s": min(times),
        "repeats": repeats,
        "peak_bytes": memory.get("peak_bytes_in_use"),
    }


def kernels(compiled, make_arguments: Callable[[], tuple]) -> list[Measured]:
    """Profiles a few runs of the program after a warm-up run. Each run has separate arguments, made in advance."""
    made = [jax.block_until_ready(make_arguments()) for _ in range(PROFILED + 1)]

    def run():
        jax.block_until_ready(compiled(*made.pop()))

    run()
    return measure_kernels(compiled.as_text(), run, PROFILED)


def host_arrays(tree):
    """Copies a tree's arrays to the host. A dtype that numpy cannot compare becomes float32."""

    def to_host(a):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            return np.asarray(jax.random.key_data(a))
        return np.asarray(a.astype(jnp.float32) if a.dtype == jnp.bfloat16 else a)

    return jax.tree.map(to_host, tree)


if __name__ == "__main__":
    main()
