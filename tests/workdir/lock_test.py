"""The lock of a workdir: which run holds it, which runs are refused, and which run takes it over."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from nge_jax.errors import InputError
from nge_jax.workdir import folder as workdir
from nge_jax.workdir import lock
from tests.conftest import ROOT
from tests.helpers.workdirs import begin

HOLDER = """
import sys, time
from nge_jax.workdir.lock import held
with held(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def start():
    """Starts a process that holds a workdir until stdin ends, and returns the process when it holds the workdir."""
    running = []

    def start(path):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_a_second_run_is_refused_by_pid_and_host_until_the_first_ends(tmp_path, start):
    first = start(tmp_path / "w")
    named = rf"w is in use by another run \(process {first.pid} on {socket.gethostname()}, since "
    for refused in (lock.check_free, lambda path: lock.held(path).__enter__()):
        with pytest.raises(InputError, match=named):
            refused(tmp_path / "w")
    first.communicate()
    lock.check_free(tmp_path / "w")
    with lock.held(tmp_path / "w"):
        pass
    assert not (tmp_path / "w").exists()


def test_the_lock_of_a_killed_run_is_taken_over(tmp_path, start):
    first = start(tmp_path)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert json.loads((tmp_path / "run.lock").read_text())["pid"] == first.pid
    lock.check_free(tmp_path)
    with lock.held(tmp_path):
        assert json.loads((tmp_path / "run.lock").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "run.lock").exists()


def test_of_many_at_once_one_has_it(tmp_path):
    path, inside, most, refused = tmp_path / "a" / "w", [], [], []
    start = threading.Barrier(8)

    def hold():
        start.wait()
        for _ in range(40):
            try:
                with lock.held(path):
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except InputError as error:
                refused.append(error)

    threads = [threading.Thread(target=hold) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) + len(refused) == 320 and set(most) == {1}


def test_what_was_made_for_nothing_goes_and_what_was_there_stays(tmp_path):
    with pytest.raises(InputError, match="the data"), lock.held(tmp_path / "a" / "b"):
        raise InputError("the data")
    assert not list(tmp_path.iterdir())
    (tmp_path / "there").mkdir()
    with lock.held(tmp_path / "there"):
        pass
    assert (tmp_path / "there").is_dir()


def test_a_held_workdir_is_still_new_to_its_own_run(tmp_path):
    with lock.held(tmp_path / "w"):
        begin(tmp_path / "w", {"seed": 0}, overwrite=False)
        workdir.check(tmp_path / "w", {"seed": 0}, overwrite=False)
    assert (tmp_path / "w" / "config.json").exists()


@pytest.mark.parametrize("holder, lives", [("me", True), ("ended", False), ("elsewhere", True)])
def test_without_locks_of_the_file_system_the_record_counts(tmp_path, monkeypatch, holder, lives):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    pid = os.getpid() if holder == "me" else ended.pid
    host = "elsewhere" if holder == "elsewhere" else socket.gethostname()
    record = json.dumps({"pid": pid, "host": host, "since": "now"})
    (tmp_path / "run.lock").write_text(record)
    if lives:
        with pytest.raises(InputError, match=f"process {pid} on {host}"), lock.held(tmp_path):
            pass
        assert (tmp_path / "run.lock").read_text() == record
    else:
        with lock.held(tmp_path):
            pass


def test_a_place_without_write_access_is_refused_in_one_line(tmp_path):
    (tmp_path / "closed").mkdir()
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="file/w cannot be made"),
        lock.held(tmp_path / "file" / "w"),
    ):
        pass
    (tmp_path / "closed" / "run.lock").mkdir()
    with (
        pytest.raises(InputError, match="closed cannot be written"),
        lock.held(tmp_path / "closed"),
    ):
        pass
