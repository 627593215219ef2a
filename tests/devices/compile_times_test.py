"""How long compiling took is known the next time."""

import json

import jax
import jax.numpy as jnp
import pytest

from nge_jax.devices import compile_times


@pytest.fixture
def cache(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path
    jax.config.update("jax_compilation_cache_dir", before)


def test_programs_are_known_again_by_settings_and_shapes(cache):
    settings = {"task": "search", "seed": 0, "run": {"keep": 1}, "network": {"cells": 4}}
    state = {"w": jnp.zeros((2, 3))}
    key = compile_times.program_key(settings, state)
    assert compile_times.usual_seconds(key) is None
    compile_times.remember_seconds(key, 48.04)
    assert compile_times.usual_seconds(key) == 48.0
    same = compile_times.program_key(
        settings | {"seed": 1, "run": {"keep": 2}}, {"w": state["w"] + 1}
    )
    assert same == key
    for others in (
        (settings | {"network": {"cells": 5}}, state),
        (settings, {"w": jnp.zeros((2, 4))}),
        (settings, {"w": jnp.zeros((2, 3), jnp.bfloat16)}),
    ):
        assert compile_times.program_key(*others) != key


def test_the_newest_times_are_kept(cache, monkeypatch):
    monkeypatch.setattr(compile_times, "MOST_KEPT", 2)
    for key in ("a", "b", "a", "c"):
        compile_times.remember_seconds(key, 1.0)
    assert [*json.loads((cache / compile_times.COMPILE_SECONDS).read_text())] == ["a", "c"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": "long"}', '{"a": NaN}', "\xff"])
def test_a_broken_record_is_none(cache, text):
    (cache / compile_times.COMPILE_SECONDS).write_bytes(text.encode("latin-1"))
    assert compile_times.usual_seconds("a") is None
    compile_times.remember_seconds("a", 2.0)
    assert compile_times.usual_seconds("a") == 2.0


def test_without_a_cache_nothing_is_kept(cache):
    for folder in (None, "gs://bucket/xla", str(cache / "gone")):
        jax.config.update("jax_compilation_cache_dir", folder)
        compile_times.remember_seconds("a", 2.0)
        assert compile_times.usual_seconds("a") is None
