"""The lines that a run prints before it computes."""

import os
import re

import jax
import pytest

from nge_jax.console import banner
from nge_jax.workdir import environment


def test_lines_fit_80_columns_and_keep_paths_whole():
    path = "/data/" + "long/" * 20 + "run"
    lines = banner.wrapped(banner.opening("search", path, "search_cifar:rnn,small"))
    assert path in lines[-1].split() and max(map(len, lines[:-1])) <= 80
    assert " ".join(" ".join(lines).split()).endswith(f", search_cifar:rnn,small -> {path}")
    counts = {"to train": 1_281_167, "to validate": 0, "to test": 50_000}
    for line in (
        banner.data("imagenet2012", [f"n{i:08}" for i in range(1000)], (224, 224, 3), counts),
        banner.steps(250, "312 + 312", 1024, 2**31),
        banner.device(),
        banner.TO_STOP,
    ):
        assert max(map(len, banner.wrapped(line))) <= 80
    line = banner.data("digits", [*"0123456789"], (8, 8, 1), counts)
    assert line.startswith(
        "data: digits, 10 classes (0, 1, 2, 3, 4, 5, 6, 7 and 2 more), images of 8x8x1: "
    )
    assert "validate" not in line


@pytest.mark.parametrize(
    ("platform", "kind", "count", "processes", "line"),
    [
        ("cpu", "cpu", 1, 1, r"device: (?!cpu).+, 3 cores"),
        ("gpu", "NVIDIA H200", 1, 1, "device: NVIDIA H200"),
        ("gpu", "NVIDIA H200", 8, 2, "devices: 8 x NVIDIA H200, 2 processes"),
    ],
)
def test_the_device_is_named(monkeypatch, platform, kind, count, processes, line):
    device = type("Device", (), {"platform": platform, "device_kind": kind})()
    monkeypatch.setattr(jax, "devices", lambda: [device] * count)
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    # A scheduler gives a process some of the machine's.
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 8}, raising=False)
    assert re.fullmatch(line, banner.device())
    assert environment.cores() == 3
