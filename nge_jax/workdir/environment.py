"""The record of every start of a run in environment.json: versions, device, command, time and memory.

The file holds the values of the first start. Its key "resumed" holds the values of later starts by their numbers. Times
whose names end on "_monotonic" are seconds of a clock that nobody sets. Their difference is the length of a start.
"""

import importlib.metadata
import json
import os
import platform
import re
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import jax

from nge_jax import files
from nge_jax.devices import distributed
from nge_jax.workdir.artifacts import ENVIRONMENT, TIME, write_json

PACKAGES = ("nge_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def environment() -> dict[str, Any]:
    """Returns program, versions, device, command line and time of this process, ready for JSON."""
    devices = jax.devices()
    return {
        "program": "nge_jax",
        "command": shlex.join(sys.argv),
        "started": time.strftime(TIME),
        "started_monotonic": time.monotonic(),
        "versions": {"python": platform.python_version()}
        | {name: _version(name) for name in PACKAGES},
        "device_platform": devices[0].platform,
        "device_kind": devices[0].device_kind,
        "device_count": len(devices),
        "host_cpus": cores(),
        "processor": processor(),
    }


def end(workdir: Path) -> None:
    """Records the end of this start, except for the report: the time, and the largest amounts of memory used."""
    values: dict[str, Any] = {"ended": time.strftime(TIME), "ended_monotonic": time.monotonic()}
    if (peak := _peak_memory()) is not None:
        values["peak_memory_bytes"] = peak
    on_devices = [device.memory_stats() or {} for device in jax.local_devices()]
    if peaks := [
        stats["peak_bytes_in_use"] for stats in on_devices if "peak_bytes_in_use" in stats
    ]:
        values["peak_device_memory_bytes"] = max(peaks)
    record(workdir, **values)


def record(workdir: Path, **values: Any) -> None:
    """Adds values to the record of this start, if environment.json exists; only the first process writes."""
    path = workdir / ENVIRONMENT
    if not distributed.is_first() or not path.exists():
        return
    runs = json.loads(files.read_text(path))
    resumed = runs.get("resumed")
    start = [*resumed.values()][-1] if resumed else runs
    start |= values
    if "resumed" in runs:  # keeps this key the last one
        runs["resumed"] = runs.pop("resumed")
    write_json(path, runs)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # the program runs from a checkout
        return "not installed"


def cores() -> int:
    """Counts the cores that this process may use: a scheduler may have given it some of the machine's."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Returns the name of the processor, such as "AMD EPYC 7B13", or the name of its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return re.sub(r"\((R|TM|tm)\)", "", name)


def _peak_memory() -> int | None:
    """Returns the most memory in bytes that this process has held; None if the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
