"""The tests that run, and all that they share: CPU backend, cache of programs, real data, processes."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

os.environ["JAX_PLATFORMS"] = "cpu"  # before any test module imports jax
# Tests compile much and compute little: LLVM's optimizations would cost them half their time.
FAST_COMPILATION = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
os.environ["XLA_FLAGS"] = FAST_COMPILATION

ROOT = Path(__file__).parents[1]


def pytest_addoption(parser):
    parser.addoption("--whole", action="store_true", help="run the tests marked `whole`, too")


def pytest_configure(config):
    """Has all tests, and the processes that they start, share the programs of this run and of earlier ones.

    Compiling takes most of the time. `pytest --cache-clear` empties the folder.
    """
    if hasattr(config, "cache"):  # not with -p no:cacheprovider
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(config.cache.mkdir("xla")))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def pytest_collection_modifyitems(config, items):
    """Leaves out the tests marked `whole`, unless --whole asks for them or the command names one of them."""
    if config.getoption("--whole"):
        return
    named = {argument.partition("[")[0] for argument in config.args if "::" in argument}
    kept, left_out = [], []
    for item in items:
        is_quick = item.get_closest_marker("whole") is None
        (kept if is_quick or item.nodeid.partition("[")[0] in named else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


@pytest.fixture(autouse=True, scope="module")
def programs_freed():
    """Compiled programs of a module are of no use to the next, and a process may hold only so many pieces of memory.

    With all that the tests compile, Linux's default of 65,530 was exceeded, which ends in a segmentation fault.
    """
    import jax

    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture
def tfds_dir() -> str:
    """The tfds folder with the real CIFAR-10."""
    if "NGE_DATA_DIR" not in os.environ:
        pytest.skip("NGE_DATA_DIR is not set: no real CIFAR-10 here")
    return str(Path(os.environ["NGE_DATA_DIR"]) / "tfds")


@pytest.fixture
def python():
    """Runs `python *args` from the checkout's root and returns the completed process, its output as text."""

    def run(*args: str, devices: int = 1, timeout: float = 120, **env: str):
        flags = f"{FAST_COMPILATION} --xla_force_host_platform_device_count={devices}"
        return subprocess.run(
            [sys.executable, *args],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": flags} | env,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
