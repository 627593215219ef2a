"""A damaged workdir: the run resumes from whole files, or is refused in one line."""

import json
import os
import shutil

import numpy as np
import pytest

from nge_jax.devices import distributed
from nge_jax.errors import InputError
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.workdir import artifacts
from nge_jax.workdir.metrics_log import MetricsLog
from tests.helpers.workdirs import begin

CONFIG = {"task": "train", "seed": 0, "run": {"keep_checkpoints": 2}}
TEMPLATE = {"a": np.zeros(3, np.float32)}
NESTED = "[" * 100_000


def be_nothing(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def be_folder(path):
    be_nothing(path)
    path.mkdir()


def be_pipe(path):
    be_nothing(path)
    os.mkfifo(path)


def be_device(path):
    be_nothing(path)
    path.symlink_to("/dev/zero")


def be_dead_link(path):
    be_nothing(path)
    path.symlink_to(path.with_name("gone"))


def be(text):
    def write(path):
        if path.is_dir():
            shutil.rmtree(path)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    return write


TEXTS = {
    "empty": be(""), "half": be('{"step": 1, "epo'), "latin": be(b'{"\xe9": 1}\n'), "nested": be(NESTED),
    "list": be("[]\n"), "text": be('"x"\n'), "null": be("null\n"), "object": be("{}\n"), "zeros": be(b"\0" * 99),
    "null step": be('{"step": null, "epoch": null}\n'), "digits": be('{"step": ' + "9" * 5000 + "}\n"),
}  # fmt: skip
DAMAGE = TEXTS | {
    "nothing": be_nothing, "folder": be_folder, "pipe": be_pipe, "device": be_device, "dead link": be_dead_link,
}  # fmt: skip
FILES = ("config.json", "environment.json", "metrics.jsonl", "checkpoints")


def finished(path):
    begin(path, CONFIG, overwrite=False)
    (path / "metrics.jsonl").write_text('{"step": 2, "epoch": 1}\n{"step": 4, "epoch": 2}\n')
    with Checkpoints(path / "checkpoints", 2) as checkpoints:
        for step in (2, 4):
            checkpoints.save(step, {"a": np.full(3, step, np.float32)}, score=float(step))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("whole"))


def resume(path, *, overwrite=False):
    """Does with a workdir what a run does before and after it computes; returns the step from which it resumes."""
    begin(path, CONFIG, overwrite=overwrite)
    with Checkpoints(path / "checkpoints", 2) as checkpoints:
        state, step = checkpoints.restore_latest(TEMPLATE) or (TEMPLATE, 0)
        assert (state["a"] == step).all()
        log = MetricsLog(path, step)
        log.write({"step": step + 2, "epoch": step // 2 + 1})
        log.close()
        checkpoints.save(step + 2, {"a": np.full(3, step + 2, np.float32)}, score=9.0)
    return step


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_it_goes_on_or_is_refused_and_overwriting_always_works(whole, tmp_path, name, damage):
    path = tmp_path / "w"
    shutil.copytree(whole, path)
    DAMAGE[damage](path / name)
    try:
        assert resume(path) in (0, 2, 4)
    except InputError as refused:
        assert str(path) in str(refused) and len(str(refused)) < 600
        if name != "environment.json":  # without this file the folder is no workdir, and is refused
            assert resume(path, overwrite=True) == 0


@pytest.mark.parametrize("damage", DAMAGE)
def test_metrics_are_read_or_refused(whole, tmp_path, damage):
    path = tmp_path / "metrics.jsonl"
    shutil.copy(whole / "metrics.jsonl", path)
    DAMAGE[damage](path)
    with pytest.raises(InputError, match=r"metrics\.jsonl"):
        artifacts.read_metrics(path, ())


STEPS = {
    "file": be(""), "dead link": be_dead_link, "pipe": be_pipe, "folder": be_folder,
}  # fmt: skip


@pytest.mark.parametrize("damage", STEPS)
@pytest.mark.parametrize("aside", ["", "file", "folder", "dead link"])
def test_what_stands_in_a_checkpoints_place_is_set_aside(whole, tmp_path, damage, aside, capsys):
    path = tmp_path / "w"
    shutil.copytree(whole, path)
    STEPS[damage](path / "checkpoints" / "4")
    if aside:
        (path / "checkpoints" / "4.damaged").touch()
        {"file": lambda p: None, "folder": be_folder, "dead link": be_dead_link}[aside](
            path / "checkpoints" / "4.damaged"
        )
    assert resume(path) == 2
    assert "4 is damaged" in capsys.readouterr().err
    assert os.path.lexists(path / "checkpoints" / "4.damaged")
    assert resume(path) == 4


@pytest.mark.parametrize("damage", ["empty", "object", "text", "nested", "latin", "null", "folder"])
def test_a_score_that_is_none_sets_its_checkpoint_aside(whole, tmp_path, damage):
    path = tmp_path / "w"
    shutil.copytree(whole, path)
    DAMAGE[damage](path / "checkpoints" / "4" / "metrics" / "metrics")
    assert resume(path) == 2


def test_a_damaged_record_of_starts_is_begun_anew(whole, tmp_path):
    path = tmp_path / "w"
    shutil.copytree(whole, path)
    record = json.loads((path / "environment.json").read_text())
    for resumed in (None, 3, "x"):
        (path / "environment.json").write_text(json.dumps(record | {"resumed": resumed}))
        assert resume(path) > 0
        assert list(json.loads((path / "environment.json").read_text())["resumed"]) == ["1"]


LAUNCHERS = [
    ({}, False),
    ({"SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "a", "SLURM_NTASKS": "", "SLURM_PROCID": "0",
      "SLURM_LOCALID": "0"}, False),
    ({"SLURM_JOB_ID": "1", "SLURM_STEP_NODELIST": "a", "SLURM_NTASKS": "2", "SLURM_PROCID": "0",
      "SLURM_LOCALID": "0"}, True),
    ({"OMPI_COMM_WORLD_SIZE": ""}, False),
    ({"OMPI_COMM_WORLD_SIZE": " 1 "}, False),
    ({"OMPI_COMM_WORLD_SIZE": "4"}, True),
    ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "3"}, False),
    ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "3",
      "JAX_COORDINATOR_ADDRESS": "job-0.jaxpods:1234"}, True),
    ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False),
]  # fmt: skip


@pytest.mark.parametrize("environment, several", LAUNCHERS)
def test_a_launcher_says_whether_there_are_others(monkeypatch, environment, several):
    for name in {name for known, _ in LAUNCHERS for name in known}:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed.socket, "getfqdn", lambda: "pod")
    joined = []
    monkeypatch.setattr(distributed.jax.distributed, "initialize", lambda *_: joined.append(1))
    monkeypatch.setattr(distributed.jax.config, "update", lambda *_: None)
    distributed.initialize()
    assert bool(joined) == several
    distributed.initialize(num_processes=1)
    assert len(joined) == several


@pytest.mark.parametrize("text", ["two", "-1", "9" * 99, "2.0"])
def test_a_number_of_processes_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", text)
    with pytest.raises(InputError, match="OMPI_COMM_WORLD_SIZE: found '"):
        distributed.initialize()


def test_pods_that_a_service_names_are_one_run(monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    name = "job-1.jaxpods.default.svc.cluster.local"
    monkeypatch.setattr(distributed.socket, "getfqdn", lambda: name)
    assert distributed._environment_names_others()
