"""What is shown while a run waits, and what it knows of how long that takes."""

import io
import json
import threading

import jax
import jax.numpy as jnp
import pytest

from nge_jax.runtime import waiting
from nge_jax.runtime.waiting import Waiting
from tests.runtime.terminal import Clock, Terminal


class Tickers:
    """In the place of threads: a test ticks itself."""

    def __init__(self):
        self.made = []

    def __call__(self, call, seconds):
        self.made.append([call, seconds])
        return self

    def stop(self):
        self.made.append("stopped")


@pytest.fixture
def tickers(monkeypatch):
    tickers = Tickers()
    monkeypatch.setattr(waiting, "Ticker", tickers)
    return tickers


def test_on_a_terminal_a_line_that_ticks_and_goes_away(tickers):
    stream, clock = Terminal(), Clock()
    with Waiting("compiling", 48.0, stream=stream, ended="compiled", clock=clock) as line:
        ((tick, seconds),) = tickers.made
        assert seconds == 1
        for clock.now in (23.0, 130.0):
            tick()
    shown = [text.strip() for text in stream.getvalue().split("\r") if text.strip()]
    assert shown == [
        "compiling: about 48 s (the last time)",
        "compiling: 23 s of about 48 s (the last time)",
        "compiling: 2 min 10 s (48 s the last time)",
        "compiled in 2 min 10 s",
    ]
    assert all(len(text) <= 80 for text in shown)
    assert tickers.made[-1] == "stopped" and line.seconds() == 130


def test_elsewhere_a_line_at_once_and_every_half_minute(tickers):
    stream, clock = io.StringIO(), Clock()
    with Waiting("compiling", stream=stream, ended="compiled", clock=clock):
        ((tick, seconds),) = tickers.made
        assert seconds == 30
        clock.now = 30.0
        tick()
    assert stream.getvalue() == "compiling\ncompiling: 30 s\ncompiled in 30 s\n"


def test_what_is_refused_within_stays_the_only_line(tickers):
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), Waiting("starting", stream=stream, at_once=False):
        raise KeyboardInterrupt
    assert stream.getvalue() == "" and tickers.made[-1] == "stopped"
    with pytest.raises(ValueError), Waiting("compiling", stream=stream, ended="compiled"):
        raise ValueError
    assert stream.getvalue() == "compiling\n"


def test_a_ticker_ends_with_its_thread():
    called, before = threading.Event(), threading.active_count()
    ticker = waiting.Ticker(called.set, 0.001)
    assert called.wait(10)
    ticker.stop()
    assert threading.active_count() == before


@pytest.fixture
def cache(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path
    jax.config.update("jax_compilation_cache_dir", before)


def test_programs_are_known_again_by_settings_and_shapes(cache):
    settings = {"seed": 0, "run": {"keep": 1}, "network": {"cells": 4}}
    state = {"w": jnp.zeros((2, 3))}
    key = waiting.program_key(settings, state)
    assert waiting.usual_seconds(key) is None
    waiting.remember_seconds(key, 48.04)
    assert waiting.usual_seconds(key) == 48.0
    same = waiting.program_key(settings | {"seed": 1, "run": {"keep": 2}}, {"w": state["w"] + 1})
    assert same == key
    for others in (
        (settings | {"network": {"cells": 5}}, state),
        (settings, {"w": jnp.zeros((2, 4))}),
        (settings, {"w": jnp.zeros((2, 3), jnp.bfloat16)}),
    ):
        assert waiting.program_key(*others) != key


def test_the_newest_times_are_kept(cache, monkeypatch):
    monkeypatch.setattr(waiting, "MOST_KEPT", 2)
    for key in ("a", "b", "a", "c"):
        waiting.remember_seconds(key, 1.0)
    assert [*json.loads((cache / waiting.COMPILE_SECONDS).read_text())] == ["a", "c"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": "long"}', '{"a": NaN}', "\xff"])
def test_a_broken_record_is_none(cache, text):
    (cache / waiting.COMPILE_SECONDS).write_bytes(text.encode("latin-1"))
    assert waiting.usual_seconds("a") is None
    waiting.remember_seconds("a", 2.0)
    assert waiting.usual_seconds("a") == 2.0


def test_without_a_cache_nothing_is_kept(cache):
    for folder in (None, "gs://bucket/xla", str(cache / "gone")):
        jax.config.update("jax_compilation_cache_dir", folder)
        waiting.remember_seconds("a", 2.0)
        assert waiting.usual_seconds("a") is None
