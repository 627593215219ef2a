"""Faults that are injected for real: some of each kind, on the smallest training."""

import re

import pytest


@pytest.mark.slow
def test_a_training_survives_some_of_each_fault(python):
    done = python(
        "experiments/fault_injection.py",
        "--kinds=kill,stop,two,damage",
        "--kills=2",
        "--stops=1",
        "--damages=1",
        "--minutes=5",
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(
        r"^\| train \| (.*?) \| (\d+) \| (\d+) \| (\d+) \|$", done.stdout, re.MULTILINE
    )
    assert [row[0] for row in rows][:2] == ["SIGKILL", "SIGTERM"] and len(rows) == 5
    assert all(tried == survived and lost == "0" for _, tried, survived, lost in rows)
    assert int(rows[0][1]) > 0


def test_what_is_no_fault_is_refused(python):
    done = python("experiments/fault_injection.py", "--kinds=flood")
    assert done.returncode == 2 and "--kinds: found 'flood', expected all or some of" in done.stderr
