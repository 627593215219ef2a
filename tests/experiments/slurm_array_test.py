"""A job array without Slurm: the words of each element's run, and an element that is preempted."""

import os
import subprocess

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "experiments/slurm_array.sh"


@pytest.fixture
def submit(tmp_path):
    """Runs an element with stand-ins for nge, srun and scontrol; returns the exit code, and what each was given."""
    programs = {
        "nge": 'printf "%s\\n" "$@" > nge.txt; exit "${CODE:-0}"',
        "srun": 'echo "$1" > srun.txt; shift; exec "$@"',
        "scontrol": 'echo "$*" > scontrol.txt',
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)

    def submit(*words, **environment):
        for old in tmp_path.glob("*.txt"):
            if old.stem in programs:
                old.unlink()
        variables = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
        variables |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", **environment}
        done = subprocess.run(
            ["bash", SCRIPT, *words], cwd=tmp_path, env=variables, capture_output=True, text=True
        )
        given = {n: tmp_path / f"{n}.txt" for n in programs}
        found = {n: f.read_text().split("\n")[:-1] for n, f in given.items() if f.exists()}
        return done.returncode, found, done.stderr

    return submit


def test_an_element_is_a_seed_or_a_row_with_a_folder_of_its_own(submit, tmp_path):
    code, given, _ = submit("search", "search_digits", SLURM_ARRAY_TASK_ID="3")
    folder = ["--workdir=runs/array/seed-3", "--num_processes=1"]
    assert (code, given) == (0, {"nge": ["search", "search_digits", "seed=3", *folder]})
    (tmp_path / "rows.txt").write_text("seed=1\nseed=2 'data.dir=/my data' trained.rungs=3,9\n")
    options = "--workdir=a b", "--rows=rows.txt"
    code, given, _ = submit(*options, "train", "train_digits", SLURM_ARRAY_TASK_ID="2")
    words = ["seed=2", "data.dir=/my data", "trained.rungs=3,9", "--workdir=a b/row-2"]
    assert (code, given) == (0, {"nge": ["train", "train_digits", *words, "--num_processes=1"]})


def test_a_preempted_element_goes_back_into_the_queue(submit):
    job = {"SLURM_JOB_ID": "31", "SLURM_ARRAY_TASK_ID": "0"}
    code, given, _ = submit("search", "search_digits", CODE="75", **job)
    assert code == 75 and given["scontrol"] == ["requeue 31"] and given["srun"] == ["--ntasks=1"]
    assert "scontrol" not in submit("search", "search_digits", CODE="2", **job)[1]


@pytest.mark.parametrize(
    "words, number, message",
    [
        (["search", "search_digits"], "", "SLURM_ARRAY_TASK_ID: found '', expected the number"),
        (["search"], "1", "found 'search', expected the words of nge"),
        (["--rows=none.txt", "search", "search_digits"], "1", "--rows: none.txt: no such file"),
        (["--rows=rows.txt", "search", "search_digits"], "2", "rows.txt: found no words in line 2"),
        (["--rows=rows.txt", "search", "search_digits"], "3", "rows.txt: line 3: wrong quotes"),
    ],
)
def test_a_wrong_element_is_refused_in_one_line(submit, tmp_path, words, number, message):
    (tmp_path / "rows.txt").write_text("seed=1\n\nseed='2\n")
    code, given, told = submit(*words, SLURM_ARRAY_TASK_ID=number)
    assert code == 2 and not given and told.splitlines()[-1].startswith(f"error: {message}")
