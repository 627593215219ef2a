"""The loop runs a task of sums: the order of calls, the checkpoints, the rows, and equal ends wherever it stopped."""

import json
import os
import signal
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.console.progress import Column
from nge_jax.devices import parallel
from nge_jax.errors import InputError, Preempted
from nge_jax.runtime import callbacks, loop
from nge_jax.runtime.callbacks import Callback
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.runtime.loop import EpochEnd, Phase, Task


class State(NamedTuple):
    step: jax.Array
    total: jax.Array  # float32, the sum of what all steps have added
    ends: jax.Array  # the number of epochs that have ended


def make_program(factor, updates=1):
    def step(i, state, batches):
        return state._replace(step=state.step + updates, total=state.total + factor * batches[i])

    def phase(state, batches, key, start, stop):
        return jax.lax.fori_loop(start, stop, lambda i, state: step(i, state, batches), state)

    return parallel.on_all_devices(phase, 0)


PROGRAMS = make_program(1.0), make_program(0.1, updates=2)


def make_task(calls, **changes):
    """Makes a task: an epoch has 4 steps of one update, then 3 steps of two. Each call is added to `calls`."""

    def batches(epoch, name, spans, state):
        calls.append((name, epoch, *spans))
        rows = np.arange(4, dtype=np.float32) + 10 * epoch + float(state.ends)
        return ((parallel.divided(rows[None]), first, last) for first, last in spans)

    def end_epoch(epoch, step, state):
        return EpochEnd(state._replace(ends=state.ends + 1), {"total": float(state.total)})

    state = State(jnp.int32(0), jnp.float32(0), jnp.int32(0))
    state, key = parallel.replicated((state, jax.random.key(0)))
    first, second = PROGRAMS
    task = Task(
        state=state,
        key=key,
        phases=(Phase("first", first, 4), Phase("second", second, 3, updates=2)),
        total_steps=30,
        batch_size=8,
        batches=batches,
        end_epoch=end_epoch,
        columns=(Column("epoch", "{epoch}"), Column("total", "{total:.1f}")),
        compile=lambda state: PROGRAMS,
    )
    return task._replace(**changes)


def run(path, calls=None, every=100, most=100, watch=callbacks.NO_CALLBACKS, **changes):
    task = make_task([] if calls is None else calls, **changes)
    return loop.run(
        task,
        path,
        checkpoint_every_steps=every,
        keep_checkpoints=2,
        steps_per_dispatch=most,
        watch=watch,
    )


@pytest.fixture
def saved(monkeypatch):
    """Lists the steps and the scores of all checkpoints saved."""
    steps = []

    def save(self, step, state, score, save=Checkpoints.save):
        assert state.step == step
        steps.append((step, score))
        save(self, step, state, score)

    monkeypatch.setattr(Checkpoints, "save", save)
    return steps


def rows(path):
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        assert line.pop("seconds") >= 0 and line.pop("images_per_second") > 0
    return lines


def test_phases_follow_each_other_and_epochs_end_with_a_row(tmp_path, saved, capsys):
    calls = []
    state = run(tmp_path, calls, most=3)
    spans = {"first": ((0, 3), (3, 4)), "second": ((0, 3),)}
    assert calls == [(name, e, *spans[name]) for e in range(3) for name in ("first", "second")]
    assert [(row["epoch"], row["step"]) for row in rows(tmp_path)] == [(1, 10), (2, 20), (3, 30)]
    assert state.ends == 3 and state.step == 30
    first = [4 * (11 * e) + 6 for e in range(3)]
    second = [0.1 * (3 * (11 * e) + 3) for e in range(3)]
    assert float(state.total) == pytest.approx(sum(first) + sum(second))
    assert saved == [(30, None)]
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table] == ["epoch", "1", "2", "3"]


def test_a_dispatch_ends_where_a_checkpoint_is_due(tmp_path, saved):
    calls = []
    run(tmp_path, calls, every=3)
    # Steps 6 and 9 fall into the second phase. Step 9 lies within a phase's step that ends with the 10th.
    assert calls[:2] == [("first", 0, (0, 3), (3, 4)), ("second", 0, (0, 1), (1, 3))]
    assert [step for step, _ in saved][:4] == [3, 6, 10, 12]


def test_scores_are_saved_with_the_states_they_belong_to(tmp_path, saved):
    def end_epoch(epoch, step, state):
        return EpochEnd(state, {"total": 0.0}, score=float(epoch))

    run(tmp_path, every=15, end_epoch=end_epoch, test=lambda state: {"test": int(state.step)})
    assert saved == [(10, 1.0), (16, None), (20, 2.0), (30, 3.0)]
    assert [row.get("test") for row in rows(tmp_path)] == [None, None, 30]


def test_the_last_epoch_may_be_cut(tmp_path, saved):
    calls = []
    state = run(tmp_path, calls, total_steps=13, save_epochs=True)
    assert state.step == 13 and calls[-1] == ("first", 1, (0, 3))
    assert [row["step"] for row in rows(tmp_path)] == [10, 13]
    assert [step for step, _ in saved] == [10, 13]


def test_one_phase_compiles_without_a_step(tmp_path):
    calls = []
    phases = (Phase("", PROGRAMS[0], 4),)
    state = run(tmp_path, calls, phases=phases, total_steps=8, compile=None)
    assert state.step == 8 and len(calls) == 2
    assert float(state.total) == 6 + 6 + 44


@pytest.mark.parametrize("stop", range(1, 28, 4))
def test_asked_to_stop_anywhere_it_goes_on_as_if_it_had_not(tmp_path, monkeypatch, capsys, stop):
    expected = run(tmp_path / "whole", most=1)
    advance, steps = loop.EpochLog.advance, [0]

    def advance_and_signal(self, images, note):
        advance(self, images, note)
        before, steps[0] = steps[0], steps[0] + images // 8
        if before < stop <= steps[0]:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(loop.EpochLog, "advance", advance_and_signal)
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Preempted, match=r"after step \d+ of 30") as stopped:
        run(tmp_path / "parts", most=1)
    assert signal.getsignal(signal.SIGTERM) == handler
    assert "resumed" not in capsys.readouterr().out
    state = run(tmp_path / "parts", most=1)
    step = int(str(stopped.value).split()[3])
    where = "from" if step in (10, 20) else "within"
    resumed = f"resumed {where} epoch {-(-step // 10)} of 3 (step {step} of 30)"
    assert capsys.readouterr().out.splitlines()[0] == resumed
    jax.tree.map(np.testing.assert_array_equal, state, expected)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_a_callback_sees_each_epoch_and_stops_the_run_as_a_signal_does(tmp_path, saved):
    expected, seen = run(tmp_path / "whole"), []

    def on_epoch(row, state):
        seen.append((row["epoch"], row["total"], int(state.ends)))
        return row["epoch"] == 1

    watch = callbacks.load((), [Callback(on_epoch=on_epoch)])
    with pytest.raises(Preempted, match="stopped after step 10 of 30"):
        run(tmp_path / "parts", watch=watch)
    assert saved[-1] == (10, None) and seen == [(1, pytest.approx(6.3), 1)]
    state = run(tmp_path / "parts", watch=watch)
    jax.tree.map(np.testing.assert_array_equal, state, expected)
    assert [epoch for epoch, *_ in seen] == [1, 2, 3]
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_a_callback_that_raises_ends_the_run_once_the_state_is_saved(tmp_path, saved):
    def on_epoch(row, state):
        raise ValueError("no network")

    watch = callbacks.load((), [Callback(on_epoch=on_epoch)])
    with pytest.raises(InputError, match="number 1: on_epoch: ValueError: no network"):
        run(tmp_path, watch=watch)
    assert saved == [(10, None)] and len(rows(tmp_path)) == 1


@pytest.mark.parametrize("step", [0, 10])
def test_asked_to_stop_while_it_compiles_it_computes_no_step(tmp_path, saved, step):
    def compile_and_signal(state):
        os.kill(os.getpid(), signal.SIGTERM)
        return PROGRAMS

    if step:
        run(tmp_path, total_steps=step)
    with pytest.raises(Preempted, match=f"after step {step} of 30"):
        run(tmp_path, compile=compile_and_signal)
    assert [at for at, _ in saved] == [step] * (step > 0)


def test_a_run_that_is_done_computes_nothing(tmp_path, saved):
    expected = run(tmp_path)
    calls = []
    state = run(tmp_path, calls, compile=None)
    jax.tree.map(np.testing.assert_array_equal, state, expected)
    assert not calls and len(saved) == 1 and len(rows(tmp_path)) == 3


def test_a_run_that_ends_early_is_tested_then_and_not_asked_to_stop(tmp_path, saved):
    def end_epoch(epoch, step, state):
        os.kill(os.getpid(), signal.SIGTERM) if epoch == 2 else None
        return EpochEnd(state._replace(ends=state.ends + 1), {"total": 0.0})

    def ended(state):
        return int(state.ends) == 2

    for _ in range(2):
        run(
            tmp_path, end_epoch=end_epoch, ended=ended, test=lambda state: {"test": int(state.ends)}
        )
    assert [row.get("test") for row in rows(tmp_path)] == [None, 2]
    assert saved == [(20, None)]


def test_a_run_that_has_ended_early_resumes_nothing(tmp_path, capsys):
    for _ in range(2):
        run(tmp_path, ended=lambda state: True, save_epochs=True)
    assert len(rows(tmp_path)) == 1
    out, err = capsys.readouterr()
    assert "resumed" not in out and err.count("nothing left to compute") == 1
