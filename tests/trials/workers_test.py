"""Cells trained by Ray's workers: the search of one worker is the search without Ray; nobody who dies loses more."""

import itertools
import os
import signal
import sys
import textwrap
import types
from typing import Any

import jax
import numpy as np
import pytest

from nge_jax.errors import InputError, Preempted
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.trials import runner as trials_runner
from nge_jax.trials.ledger import Job
from nge_jax.trials.workers import cluster
from nge_jax.workdir import artifacts
from tests.conftest import ROOT
from tests.helpers.small_trials import make_config, run

REASON = "ray is not installed: pip install 'nge_jax[ray]'"


class Ref:
    """Stands for a result. The call is made when the result is asked for."""

    def __init__(self, call):
        self.call = call


class Actor:
    """An actor in this process."""

    def __init__(self, instance):
        self.instance = instance

    def __getattr__(self, name):
        method = getattr(self.instance, name)
        return types.SimpleNamespace(remote=lambda *values: Ref(lambda: method(*values)))


def fake_ray(workers, chosen):
    """Makes a cluster of `workers` in this process, of whose pending calls the one at `chosen` ends first."""

    def remote(**options):
        assert options == {"num_cpus": 1, "num_gpus": 0, "max_restarts": -1, "max_task_retries": -1}
        return lambda kind: types.SimpleNamespace(remote=lambda *values: Actor(kind(*values)))

    return types.SimpleNamespace(
        is_initialized=lambda: False,
        init=lambda **_: None,
        cluster_resources=lambda: {"CPU": float(workers)},
        put=lambda value: value,
        remote=remote,
        wait=lambda refs, timeout: ([refs[chosen]], []),
        get=lambda ref: ref.call(),
    )


def outcome(path):
    """Returns the cell and the history."""
    with np.load(path / artifacts.HISTORY) as history:
        return (path / artifacts.GENOTYPE).read_text(), {**history}


def assert_same(found, expected):
    assert found[0] == expected[0] and found[1].keys() == expected[1].keys()
    jax.tree.map(np.testing.assert_array_equal, found[1], expected[1])


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    path = tmp_path_factory.mktemp("alone")
    run(path)
    return outcome(path)


def never_ready(monkeypatch, ray, after):
    """Lets the calls of a cluster end until `after` of them have; SIGTERM comes while the next one is awaited."""
    wait, waits = ray.wait, itertools.count()

    def wait_or_signal(refs, timeout):
        number = next(waits)
        if number < after:
            return wait(refs, timeout)
        assert number < after + 2, "SIGTERM has not stopped the wait"
        if number == after:
            os.kill(os.getpid(), signal.SIGTERM)
        return [], refs

    monkeypatch.setattr(ray, "wait", wait_or_signal)


@pytest.mark.whole
def test_one_worker_ends_as_without_ray_even_if_the_search_is_stopped(alone, tmp_path, monkeypatch):
    ray = fake_ray(1, 0)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with monkeypatch.context() as stopped, pytest.raises(Preempted, match="while 1 job ran"):
        never_ready(stopped, ray, after=3)  # the programs and two cells
        run(tmp_path, **{"run.ray": "auto"})
    assert (tmp_path / artifacts.CHECKPOINTS / "2").is_dir()
    run(tmp_path, killed_after=(4,), **{"run.ray": "auto"})
    assert_same(outcome(tmp_path), alone)
    weights = np.load(tmp_path / "network/weights.npz")
    assert len(weights.files) > 10


class Adder:
    """Stands for a worker."""

    def __init__(self, settings):
        self.base = settings["base"]

    def compile(self, data):
        assert data == 100

    def train(self, data, job, cell, start):
        return {"w": self.base + data + job.trial + (start or 0)}, cell / 10


def make_cluster(ray, most=5, stops=lambda: False):
    return cluster.Cluster(ray, {"base": 1}, 100, most, stops)  # type: ignore


def test_a_worker_is_idle_once_it_is_ready_and_until_it_has_a_job(monkeypatch):
    monkeypatch.setattr(cluster, "Worker", Adder)
    workers: Any = make_cluster(fake_ray(2, -1))
    assert len(workers) == 2 and not workers.has_idle
    workers.compile()  # one of them is ready
    assert workers.has_idle and workers.running == []
    workers.begin(Job(3, 1, 0), 5, 1000)
    assert not workers.has_idle and workers.running == [Job(3, 1, 0)]
    assert workers.wait() == cluster.Ended(Job(3, 1, 0), {"w": 1104}, 0.5)
    assert workers.wait() is None  # the other one
    assert len(workers) == len(make_cluster(fake_ray(9, 0), most=2))


def test_a_search_that_is_asked_to_stop_takes_what_is_ready_and_waits_for_no_worker(monkeypatch):
    monkeypatch.setattr(cluster, "Worker", Adder)
    ray, asked = fake_ray(1, 0), [False, True]
    workers: Any = make_cluster(ray, stops=lambda: asked.pop(0))
    workers.compile()
    workers.begin(Job(3, 1, 0), 5, None)
    assert workers.wait() is not None and len(asked) == 2
    workers.begin(Job(4, 1, 0), 5, None)
    waits = iter([[], []])
    ray.wait = lambda refs, timeout: (next(waits), refs)
    with pytest.raises(Preempted, match="^stopped while 1 job ran, as asked$"):
        workers.wait()
    assert not asked


@pytest.mark.whole
def test_workers_that_end_out_of_order_rate_every_cell_that_goes_on(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", fake_ray(3, -1))
    keys = {"run.ray": "auto", "trained.cells": 7, "trained.rungs": (1, 2), "trained.seeds": 3}
    run(tmp_path, killed_after=(3, 8), **keys)
    _, history = outcome(tmp_path)
    ratings = history["ratings"]
    assert np.isfinite(ratings[:, 0]).all() and len(ratings) == 7
    best = np.argsort(-ratings[:, 0], kind="stable")[:2]
    assert np.isfinite(ratings[best, 1]).all() and np.isfinite(history["by_seed"]).all()
    # The trainings of the finalists alone are left.
    assert len([*(tmp_path / artifacts.TRIALS).iterdir()]) == 2


@pytest.mark.parametrize(
    "modules, changes, message",
    [
        (None, {}, "config.run.ray: found 'auto', expected the package ray, pip install"),
        (None, {"search.evaluator": "supernet"}, "config.run.ray: found 'auto', expected none with config.search"),
    ],
)  # fmt: skip
def test_a_cluster_that_is_not_there_is_refused(tmp_path, monkeypatch, modules, changes, message):
    monkeypatch.setitem(sys.modules, "ray", modules)  # as if it were not installed
    with pytest.raises(InputError, match=message):
        trials_runner.run(make_config(**{"run.ray": "auto", **changes}), tmp_path / "run")
    assert not (tmp_path / "run" / artifacts.CHECKPOINTS).exists()


@pytest.mark.parametrize(
    "address, message",
    [
        ("localhost:1", "expected a cluster that answers"),
        ("ray://localhost:1", "expected a cluster that answers"),
        ("localhost:99999", "expected a cluster that answers"),
        ("localhost", "expected 'auto' or HOST:PORT"),
    ],
)
def test_an_address_that_does_not_answer_is_refused(monkeypatch, address, message):
    monkeypatch.setitem(sys.modules, "ray", fake_ray(1, 0))
    with pytest.raises(InputError, match=f"^config.run.ray: found '{address}', {message}[^\n]*$"):
        cluster.connect(address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=message):
        cluster.connect(cluster.AUTO)


def test_a_cluster_that_fails_to_connect_is_told_in_one_line(monkeypatch):
    def init(**options):
        assert options["address"] is None
        raise ConnectionError("nobody\nis there")

    ray = fake_ray(1, 0)
    ray.init = init
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(InputError, match=r"^config.run.ray: found 'auto', .*\(nobody is there\)$"):
        cluster.connect(cluster.AUTO)


def test_sigterm_means_the_same_with_a_cluster_as_without(monkeypatch):
    before, ray = signal.getsignal(signal.SIGTERM), fake_ray(1, 0)
    ray.init = lambda **_: signal.signal(signal.SIGTERM, lambda *_: sys.exit(15))
    monkeypatch.setitem(sys.modules, "ray", ray)
    try:
        cluster.connect(cluster.AUTO)
        assert signal.getsignal(signal.SIGTERM) == before
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_search_goes_on_as_it_began(tmp_path, monkeypatch):
    """Steps count updates without Ray, and jobs with it."""
    monkeypatch.setattr(Checkpoints, "save", lambda *_: None)
    path = tmp_path / "run"
    (path / artifacts.CHECKPOINTS / "1").mkdir(parents=True)
    artifacts.write_json(path / artifacts.CONFIG, {"run": {"ray": ""}})
    plan = types.SimpleNamespace(ray="auto")
    with pytest.raises(InputError, match="config.run.ray: found 'auto', expected none, as this"):
        trials_runner._check_begun(plan, path)  # type: ignore


# A search on a local cluster. A worker is killed before the job with the number `victim` ends, and the search after its
# checkpoint of the step `last`.
SEARCH = """
    import os, signal, sys, time
    from pathlib import Path
    import ray
    from nge_jax.runtime import checkpoint
    from nge_jax.trials import runner
    from nge_jax.trials.workers import cluster
    from tests.helpers.small_trials import make_config

    path, (workers, victim, last) = sys.argv[1], map(int, sys.argv[2:])
    ray.init("local", num_cpus=workers, include_dashboard=False, log_to_driver=False)
    wait, save, waited = cluster.Cluster.wait, checkpoint.Checkpoints.save, [0]

    def find_worker():
        while True:
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    if entry.read_bytes().startswith(b"ray::Worker.train"):
                        return int(entry.parent.name)
                except OSError:
                    pass
            time.sleep(0.01)

    def wait_and_kill(self):
        if self.running:
            waited[0] += 1
            if waited[0] == victim:
                os.kill(find_worker(), signal.SIGKILL)
                print("killed a worker", flush=True)
        return wait(self)

    def save_and_die(self, step, *arguments):
        save(self, step, *arguments)
        if step == last:
            self.wait()
            os.kill(os.getpid(), signal.SIGKILL)

    cluster.Cluster.wait, checkpoint.Checkpoints.save = wait_and_kill, save_and_die
    runner.run(make_config(**{"run.ray": "auto"}), path)
"""


@pytest.mark.whole
def test_ray_itself_trains_the_cells_of_lost_workers_again(alone, tmp_path, python):
    pytest.importorskip("ray", reason=REASON)
    paths = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    script = textwrap.dedent(SEARCH)

    def search(path, workers, victim, last):
        arguments = map(str, (path, workers, victim, last))
        return python("-c", script, *arguments, timeout=600, PYTHONPATH=paths)

    one, two = tmp_path / "one", tmp_path / "two"
    done = search(one, 1, 2, 3)
    assert done.returncode == -signal.SIGKILL and "killed a worker" in done.stdout, done.stderr
    done = search(one, 1, 0, 0)
    assert done.returncode == 0, done.stderr
    assert_same(outcome(one), alone)
    done = search(two, 2, 1, 0)
    assert done.returncode == 0 and "killed a worker" in done.stdout, done.stderr
    # The cells are random at first, and the same. Both searches train all to the first rung.
    found, expected = outcome(two)[1], alone[1]
    np.testing.assert_array_equal(found["architectures"], expected["architectures"])
    np.testing.assert_array_equal(found["ratings"][:, 0], expected["ratings"][:, 0])
