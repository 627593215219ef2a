"""The cache of compiled programs mends itself: a killed run may leave half a file, which jax never replaces."""

import pytest

from nge_jax.devices import compilation_cache

PROGRAM = """
import jax, jax.numpy as jnp
from nge_jax.devices.compilation_cache import use_compilation_cache
use_compilation_cache()
use_compilation_cache()

@jax.jit
def cubes(x):
    return jnp.linalg.inv(x) ** 3

@jax.jit
def squares(x):
    return x * x

print(cubes(2 * jnp.eye(3))[0, 0], squares(3.0))
"""


@pytest.fixture
def start(python, tmp_path):
    """Runs PROGRAM with a cache; returns the lines on stderr, and the files of the cache by their names."""

    def run():
        done = python(
            "-c",
            PROGRAM,
            JAX_COMPILATION_CACHE_DIR=str(tmp_path),
            JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
        )
        assert done.stdout == "0.125 9.0\n"
        files = {file.name: file.read_bytes() for file in tmp_path.glob("*-cache")}
        return done.stderr, files

    return run


def test_a_program_that_was_written_in_part_is_told_in_a_line_and_written_anew(start, tmp_path):
    warning, before = start()
    assert warning == ""
    half = next(name for name in before if name.startswith("jit_cubes-"))
    (tmp_path / half).write_bytes(before[half][:100])
    other = tmp_path / half.replace("jit_cubes-", "jit_cubes-0")
    other.write_bytes(before[half])
    warning, after = start()
    assert warning.startswith(
        "warning: the compiled program jit_cubes cannot be read in the cache ("
    )
    assert warning.endswith("; it is compiled anew\n") and warning.count("\n") == 1
    assert len(after[half]) > 100 and after[other.name] == before[half]
    assert start() == ("", after)


def test_only_what_is_decompressed_to_its_end_is_whole():
    whole = compilation_cache.zlib.compress(b"program" * 99)
    assert compilation_cache._is_whole(whole)
    for damaged in (
        b"",
        whole[:-1],
        whole[:9],
        b"\x28\xb5\x2f\xfd" + whole,
        whole[:9] + b"x" + whole[9:],
    ):
        assert not compilation_cache._is_whole(damaged)
