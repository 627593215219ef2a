"""The line that is shown while a run waits, and the time that the activity took before."""

import io
import threading

import pytest

from nge_jax.console import waiting
from nge_jax.console.waiting import Waiting
from tests.helpers.terminal import Clock, Terminal


class Tickers:
    """Replaces the threads, so that a test calls `tick` when it needs to."""

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
