"""The page on a folder of runs."""

import json

import pytest

from nge_jax import cli
from nge_jax.report.parts import index
from nge_jax.workdir import lock
from tests.helpers.page import Page
from tests.helpers.recorded_runs import write_run


@pytest.fixture
def folder(tmp_path):
    """An ended run, one below another folder that stopped, and what is no run."""
    folder = tmp_path / "runs"
    write_run(folder / "a: <b>", accuracy=0.75)
    write_run(folder / "more" / "c", accuracy=0.5, report=False)
    write_run(folder / "more" / "c" / "seed-0", accuracy=0.5)  # a member of the run above
    (folder / "photos").mkdir()
    return folder


def cells(folder, is_running=lambda run: False):
    return [index.describe(run, is_running) for run in index.find_runs(folder)]


def test_runs_are_found_and_told(folder):
    names = [str(run.relative_to(folder)) for run in index.find_runs(folder)]
    assert names == ["a: <b>", "more/c"]
    assert cells(folder) == [
        ("training", "cifar10", "ended", "75.00% test accuracy", "–", "–"),
        ("training", "cifar10", "stopped, epoch 1", "50.00% test accuracy", "–", "–"),
    ]
    assert cells(folder, lambda run: run.name == "c")[1][2] == "running, epoch 1"


def write_study(path, *, trainings, accuracy=None):
    """A study that stopped after so many trainings, or ended with an accuracy; a search of its own lies in it."""
    write_run(path / "search-0", accuracy=0.5)
    config = {"task": "search", "study": {"seeds": 1}, "data": {"name": "folder:photos"}}
    (path / "config.json").write_text(json.dumps(config))
    (path / "environment.json").write_text((path / "search-0" / "environment.json").read_text())
    (path / "trainings.jsonl").write_text("{}\n" * trainings + '{"kind": "fou')
    if accuracy is not None:
        rows = [{"title": "cells found", "accuracy": accuracy, "parameters": 152_876.0}]
        record = {"rows": rows, "difference": {"points": -0.456, "error": 1.2}}
        (path / "study.json").write_text(json.dumps(record))
        (path / "report.html").write_text("a report")


def test_a_study_is_told_as_a_study(tmp_path, capsys):
    write_study(tmp_path / "done", trainings=12, accuracy=46.875)
    write_study(tmp_path / "killed", trainings=7)
    write_study(tmp_path / "searches", trainings=0)
    result = "46.88% test accuracy, -0.46 ± 1.20 points against random cells"
    assert cells(tmp_path) == [
        ("study", "folder:photos", "ended", result, "152,876", "–"),
        ("study", "folder:photos", "stopped, 7 trainings", "–", "–", "–"),
        ("study", "folder:photos", "stopped", "–", "–", "–"),
    ]
    cli.run(["report", str(tmp_path)])
    assert Page((tmp_path / "index.html").read_text()).references == ["#runs", "done/report.html"]
    (tmp_path / "done" / "study.json").write_text('{"rows": [], "difference": {}}')
    (tmp_path / "killed" / "trainings.jsonl").write_bytes(b"\xff")
    damaged = [row[2].partition(":")[0] for row in cells(tmp_path)]
    assert damaged == ["damaged", "damaged", "stopped"]


def test_the_command_writes_a_page_that_leads_to_the_reports(folder, capsys):
    cli.run(["report", str(folder)])
    assert capsys.readouterr().out == f"runs: {folder / 'index.html'}\n"
    text = (folder / "index.html").read_text()
    # A colon in a relative address would begin a scheme.
    assert '<a href="a%3A%20%3Cb%3E/report.html">a: &lt;b&gt;</a>' in text
    assert Page(text).references == ["#runs", "a%3A%20%3Cb%3E/report.html"]
    cli.run(["report", str(folder)])  # once more over the former page


def test_a_run_that_works_is_running(folder):
    run = folder / "more" / "c"
    with lock.held(run):
        assert cells(folder, lock.is_held)[1][2] == "running, epoch 1"
    assert cells(folder, lock.is_held)[1][2] == "stopped, epoch 1"


def test_a_damaged_record_is_a_state_and_no_end(folder):
    (folder / "a: <b>" / "metrics.jsonl").write_text("[]")
    assert cells(folder)[0][2].startswith("damaged: ")
    (folder / "more" / "c" / "config.json").write_text(json.dumps({}))
    assert "expected the key task" in cells(folder)[1][2]


@pytest.mark.parametrize(
    "content, message",
    [
        ("<title>My page</title>", "found a page of another program"),
        (None, "found no run, expected a run's workdir or a folder of runs"),
    ],
)
def test_a_page_of_another_and_a_folder_without_runs_are_refused(folder, capsys, content, message):
    place = folder if content else folder / "photos"
    if content:
        (place / "index.html").write_text(content)
    with pytest.raises(SystemExit, match="^2$"):
        cli.run(["report", str(place)])
    assert message in capsys.readouterr().err
    assert not content or (place / "index.html").read_text() == content
