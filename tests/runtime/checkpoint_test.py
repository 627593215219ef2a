"""Checkpoints come back bit by bit, or not at all."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nge_jax.errors import InputError
from nge_jax.runtime.checkpoint import Checkpoints

ROOT = Path(__file__).parents[2]


def make_state(seed):
    key = jax.random.key(seed)
    weights = {
        "kernel": jax.random.normal(key, (64, 32)),
        "half": jax.random.normal(key, (17,), jnp.bfloat16),
        "cells": [{"scalar": jnp.float32(jnp.nan)}, (jnp.zeros((1, 3)),)],
    }
    tx = optax.partition(
        {"moves": optax.sgd(0.1, momentum=0.9), "rests": optax.set_to_zero()},
        {"kernel": "moves", "half": "rests", "cells": "moves"},
    )
    return {
        "weights": weights,
        "optimizer": tx.init(weights),
        "key": jax.random.PRNGKey(seed),  # raw uint32
        "step": np.int64(seed),
        "probs": np.random.RandomState(seed).rand(3, 2, 14, 7).astype(np.float32),
    }


def assert_same(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert isinstance(a, jax.Array) == isinstance(b, jax.Array)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_the_newest_comes_back_bit_by_bit_and_old_ones_go(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        assert checkpoints.restore_latest(make_state(0)) is None
        for step in (1, 5, 9):
            checkpoints.save(step, make_state(step))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["5", "9"]
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        state, step = checkpoints.restore_latest(make_state(0))
    assert step == 9
    assert_same(state, make_state(9))


class Older(NamedTuple):
    step: jax.Array
    optimizer: Any


class Younger(NamedTuple):
    step: jax.Array
    optimizer: Any
    averages: Any = None
    waiting: Any = None


def test_a_field_that_is_absent_is_none_of_the_checkpoint(tmp_path):
    """A version that lacks the field, and a younger one that does not use it, read each other's checkpoints."""
    optimizer = make_state(3)["optimizer"]
    forms = {"older": Older(jnp.int32(3), optimizer), "younger": Younger(jnp.int32(3), optimizer)}
    for writer, reader in (("older", "younger"), ("younger", "older"), ("younger", "younger")):
        folder = tmp_path / f"{writer}-{reader}"
        with Checkpoints(folder, keep=1) as checkpoints:
            checkpoints.save(3, {"trial": forms[writer]})
            state, _ = checkpoints.restore_latest({"trial": forms[reader]})
        assert_same(state, {"trial": forms[reader]})
    averaged = forms["younger"]._replace(averages={"a": jnp.ones(2)})
    with Checkpoints(tmp_path / "averaged", keep=1) as checkpoints:
        checkpoints.save(3, averaged)
        assert_same(checkpoints.restore_latest(averaged)[0], averaged)
        with pytest.raises(InputError, match=r"averages\['a'\]: found .*, expected None"):
            checkpoints.restore_latest(forms["older"])


def test_a_save_keeps_the_values_of_its_moment(tmp_path):
    """A step that donates its state overwrites the state's memory while the checkpoint is being written."""
    advance = jax.jit(lambda a: a + 1, donate_argnums=0)
    state, host = jnp.zeros(8_000_000), np.zeros(8_000_000)
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(1, {"a": state, "b": host})
        host += 1
        state = advance(advance(state))
        jax.block_until_ready(state)
        restored, _ = checkpoints.restore_latest({"a": state, "b": host})
    assert not restored["a"].any() and not restored["b"].any()


def test_the_best_one_stays_beside_the_newest(tmp_path):
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        assert checkpoints.restore_best(make_state(0)) is None
        for step, score in ((1, 0.2), (2, 0.9), (3, None), (4, 0.5)):
            checkpoints.save(step, make_state(step), score)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["2", "4"]
    with Checkpoints(tmp_path, keep=1, read_only=True) as checkpoints:
        state, step = checkpoints.restore_best(make_state(0))
        assert step == 2
        assert_same(state, make_state(2))
        assert checkpoints.restore_latest(make_state(0))[1] == 4
        for kept in (2, 4):
            state, step = checkpoints.restore_step(kept, make_state(0))
            assert step == kept
            assert_same(state, make_state(kept))
        there = r"no checkpoint of step 3, expected one of 4 \(newest\), 2 \(best\)$"
        with pytest.raises(InputError, match=there):
            checkpoints.restore_step(3, make_state(0))
    for step in (2, 4):
        damage_flipped_bit(tmp_path / str(step))
    with Checkpoints(tmp_path, keep=1, read_only=True) as checkpoints:
        with pytest.raises(InputError, match="2, the best checkpoint, is damaged"):
            checkpoints.restore_best(make_state(0))
        with pytest.raises(InputError, match="/4 is damaged"):  # and no other one takes its place
            checkpoints.restore_step(4, make_state(0))


PMAP = """
import sys
import jax, jax.numpy as jnp, numpy as np
from nge_jax.runtime.checkpoint import Checkpoints
assert jax.local_device_count() == int(sys.argv[2])
step = jax.pmap(lambda s, x: (jax.tree.map(lambda a: a + jax.lax.psum(x, "batch").astype(a.dtype), s)),
                axis_name="batch", in_axes=(None, 0), out_axes=None, donate_argnums=0)
shares = jnp.full(jax.local_device_count(), 4 / jax.local_device_count())
checkpoints = Checkpoints(sys.argv[1], keep=1)
state = {"w": jnp.arange(6.0).reshape(2, 3), "h": jnp.ones(3, jnp.bfloat16)}
found = checkpoints.restore_latest(state)
state, number = found or (state, 0)
state = step(step(state, shares), shares)
checkpoints.save(number + 2, state)
again, _ = checkpoints.restore_latest(state)  # a template that lies on all devices
assert again["w"].sharding == state["w"].sharding
np.testing.assert_array_equal(step(again, shares)["w"], np.arange(6.0).reshape(2, 3) + 4 * (number + 3))
checkpoints.close()
print(number + 2, np.asarray(state["w"]).tolist(), state["h"].dtype)
"""


@pytest.mark.whole
def test_a_state_replicated_by_pmap_is_resumed_on_any_number_of_devices(tmp_path, python):
    for devices, after in [(4, 2), (4, 4), (2, 6)]:
        run = python("-c", PMAP, str(tmp_path), str(devices), devices=devices)
        assert run.returncode == 0, run.stderr
        expected = (np.arange(6.0).reshape(2, 3) + 4 * after).tolist()
        assert run.stdout.strip() == f"{after} {expected} bfloat16"


def damage_missing(folder):
    (folder / "state" / "manifest.ocdbt").unlink()


def damage_truncated(folder):
    largest = max((folder / "state").rglob("d/*"), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1000])


def damage_flipped_bit(folder):
    largest = max((folder / "state").rglob("d/*"), key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)


def damage_manifest(folder):
    (file,) = (p for p in (folder / "manifest").iterdir() if p.name == "metadata")
    file.write_text(file.read_text()[:-5])


DAMAGES = [damage_missing, damage_truncated, damage_flipped_bit, damage_manifest]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_one_gives_way_to_the_one_before(tmp_path, damage, capfd):
    with Checkpoints(tmp_path, keep=3) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, make_state(step))
    damage(tmp_path / "3")
    with Checkpoints(tmp_path, keep=3) as checkpoints:
        state, step = checkpoints.restore_latest(make_state(0))
        assert step == 2
        assert_same(state, make_state(2))
        (line,) = (text for text in capfd.readouterr().err.splitlines() if "warning" in text)
        assert f"{tmp_path / '3'} is damaged" in line and "from step 2" in line
        assert (tmp_path / "3.damaged").exists()
        checkpoints.save(3, make_state(33))  # the damaged checkpoint has left the name free
        assert checkpoints.restore_latest(make_state(0))[1] == 3
    damage(tmp_path / "3")  # the new checkpoint is damaged, too
    with Checkpoints(tmp_path, keep=3) as checkpoints:
        assert checkpoints.restore_latest(make_state(0))[1] == 2


def test_when_all_are_damaged_it_is_refused_and_nothing_touched(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, make_state(step))
    for step in "12":
        damage_missing(tmp_path / step)
    with (
        Checkpoints(tmp_path, keep=2) as checkpoints,
        pytest.raises(
            InputError,
            match=r"none of the 2 checkpoints can be read \(2: .*put back a copy of one, or",
        ),
    ):
        checkpoints.restore_latest(make_state(0))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2"]


def test_other_arrays_than_expected_are_refused_with_their_name(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        checkpoints.save(1, make_state(1))
        other = make_state(0) | {"probs": np.zeros((4, 2, 14, 7), np.float32)}
        expected = r"\['probs'\]: found .* \[3, 2, 14, 7\]\], expected .* \[4, 2, 14, 7\]\]"
        with pytest.raises(InputError, match=expected):
            checkpoints.restore_latest(other)
        with pytest.raises(InputError, match=r"\['more'\]: found None"):
            checkpoints.restore_latest(make_state(0) | {"more": np.zeros(1)})


WRITER = """
import sys, numpy as np
from nge_jax.runtime.checkpoint import Checkpoints
with Checkpoints(sys.argv[1], keep=2) as checkpoints:
    _, last = checkpoints.restore_latest({"a": np.zeros(4_000_000)}) or (None, 0)
    for step in range(last + 1, last + 1000):
        checkpoints.save(step, {"a": np.random.RandomState(step).rand(4_000_000)})  # 32 MB
"""


def test_a_write_killed_midway_is_as_if_it_had_never_begun(tmp_path):
    last, halves = 0, 0
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT)
        deadline = time.monotonic() + 60
        half = []
        # Waits until one checkpoint is whole and another one is being written.
        while not half or not (tmp_path / str(last + 1)).exists():
            assert writer.poll() is None and time.monotonic() < deadline
            half = list(tmp_path.glob("*tmp*"))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        halves += len(list(tmp_path.glob("*tmp*")))
        with Checkpoints(tmp_path, keep=2) as checkpoints:
            state, step = checkpoints.restore_latest({"a": np.zeros(4_000_000)})
        np.testing.assert_array_equal(state["a"], np.random.RandomState(step).rand(4_000_000))
        assert step > last
        last = step
    assert halves > 0, "no kill hit a write: the test has lost its point"


def test_a_path_that_is_no_text_is_refused_before_a_checkpoint_is_called_damaged(tmp_path):
    with pytest.raises(InputError, match="caf\\udce9/checkpoints: found a path that is no text"):
        Checkpoints(tmp_path / "caf\udce9" / "checkpoints", keep=1)


@pytest.fixture
def interruptible():
    """Lets Ctrl-C interrupt Python; a shell starts processes of the background so that they ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_in_a_save_waits_for_the_checkpoint(tmp_path, monkeypatch):
    start = threading.Thread.start

    def interrupt(thread):
        if threading.current_thread() is threading.main_thread():
            monkeypatch.setattr(threading.Thread, "start", start)
            signal.raise_signal(signal.SIGINT)
        start(thread)

    with pytest.raises(KeyboardInterrupt), Checkpoints(tmp_path / "c", keep=2) as checkpoints:
        monkeypatch.setattr(threading.Thread, "start", interrupt)
        checkpoints.save(1, {"x": np.ones(3)})
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with Checkpoints(tmp_path / "c", keep=2, read_only=True) as checkpoints:
        assert checkpoints.latest_step() == 1


@pytest.mark.usefixtures("interruptible")
def test_a_second_ctrl_c_in_a_save_interrupts_the_save(tmp_path, monkeypatch):
    with Checkpoints(tmp_path / "c", keep=2) as checkpoints:

        def stuck(*_, **__):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("the second Ctrl-C had no effect")

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(checkpoints._manager, "save", stuck)
            checkpoints.save(1, {"x": np.ones(3)})
