"""Earlier runs of the same programs on the same device, and what a run says by them before it computes."""

import json
import os

import pytest

from nge_jax.console import banner
from nge_jax.workdir import earlier
from nge_jax.workdir.earlier import Earlier

DEVICE = {"device_platform": "cpu", "device_kind": "cpu", "device_count": 1, "host_cpus": 2}
SETTINGS = {
    "task": "train",
    "seed": 0,
    "data": {"name": "digits", "pad": 1},
    "train": {"epochs": 5, "batch_size": 64},
    "run": {"keep_checkpoints": 2},
}


def write(path, *, when=0, seconds=2.0, device=None, **changes):
    """Writes the record of two epochs of ten steps; the first took three times as long."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({**SETTINGS, **changes}))
    start = {**DEVICE, **(device or {}), "peak_memory_bytes": 5}
    start["resumed"] = {"1": {"peak_memory_bytes": 7}}
    (path / "environment.json").write_text(json.dumps(start))
    rows = [
        {"epoch": n, "step": 10 * n, "seconds": seconds * (3 if n == 1 else 1)} for n in (1, 2, 3)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.utime(path / "metrics.jsonl", (when, when))
    return path


def test_the_newest_run_of_the_same_programs_counts(tmp_path):
    write(tmp_path / "old", when=1, seconds=9.0)
    new = write(tmp_path / "new", when=3, seed=5, train={"epochs": 99, "batch_size": 64})
    write(tmp_path / "other_batch", when=4, train={"epochs": 5, "batch_size": 32})
    write(tmp_path / "other_device", when=5, device={"host_cpus": 64})
    found = earlier.find(tmp_path / "begins", SETTINGS, DEVICE)
    assert found == Earlier(new, 0.2, 10, 7, None)


def test_a_run_that_goes_on_is_its_own_earlier_run(tmp_path):
    own = write(tmp_path / "run", when=2)
    assert earlier.find(own, SETTINGS, DEVICE).path == own


@pytest.mark.parametrize(
    "file, content",
    [
        ("config.json", "{"),
        ("metrics.jsonl", "[]\n"),
        ("environment.json", "7"),
        ("metrics.jsonl", ""),
    ],
)
def test_a_damaged_record_tells_nothing(tmp_path, file, content):
    (write(tmp_path / "run") / file).write_text(content)
    assert earlier.find(tmp_path / "begins", SETTINGS, DEVICE) is None


def test_a_run_in_an_empty_place_has_none(tmp_path):
    assert earlier.find(tmp_path / "not" / "there", SETTINGS, DEVICE) is None


def test_the_estimate_is_a_line(tmp_path):
    found = Earlier(tmp_path / "run", 0.5, 10, 790_000_000, None)
    assert banner.estimate(found, 24_000) == [
        "time: about 3 h 20 min without compiling and tests; memory 790MB (as in run)"
    ]
    assert banner.estimate(None, 24_000) == []
    assert [banner.rough(seconds) for seconds in (0.1, 99, 130, 5999, 200_000)] == [
        "1 s",
        "99 s",
        "2 min",
        "1 h 40 min",
        "2 days 7 h",
    ]


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 3_500_000})
    monkeypatch.setattr(banner.shutil, "disk_usage", lambda path: usage)
    enough, few = (banner.disk(n, 2, tmp_path / "new" / "run") for n in (500_000, 1_000_000))
    assert enough == ["disk: at most 2.00MB for checkpoints"]
    assert few[1:] == [f"warning: {tmp_path} has 3.50MB free"]


def test_a_small_held_out_set_is_said():
    counts = {"to validate": 60, "to test": 100, "to rate": 0}
    expected = "note: one of the 60 images to validate is 1.7 points of accuracy"
    assert banner.small_samples(counts) == [expected]
