"""What tests share: the CPU backend, the folder of real data, and runs in a process of their own."""

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


@pytest.fixture(scope="module")
def programs_compiled_once(tmp_path_factory):
    """The runs of a module share their programs, as the runs of a user do."""
    import jax

    settings = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("xla")),
        "jax_persistent_cache_min_compile_time_secs": 0.1,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
