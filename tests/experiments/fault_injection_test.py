"""Real faults: some of each kind, on the smallest training."""

import re

import pytest


@pytest.mark.whole
def test_a_training_survives_some_of_each_fault(python):
    done = python(
        "experiments/fault_injection.py",
        "--kinds=two,kill,interrupt,damage",  # the tests of each task send SIGTERM
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
    names = [row[0] for row in rows]
    assert names == ["two runs at once", "SIGKILL", "SIGINT", "newest checkpoint truncated"]
    assert all(int(tried) > 0 and tried == survived for _, tried, survived, _ in rows)
    assert all(lost == "0" for *_, lost in rows)


def test_what_is_no_fault_is_refused(python):
    done = python("experiments/fault_injection.py", "--kinds=flood")
    assert done.returncode == 2 and "--kinds: found 'flood', expected all or some of" in done.stderr
