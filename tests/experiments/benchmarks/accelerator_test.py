"""The benchmark of an accelerator runs on this machine's device."""

import pytest


@pytest.mark.whole
def test_a_program_is_measured_and_told(python, tmp_path):
    out = tmp_path / "table.md"
    done = python(
        "experiments/benchmarks/accelerator.py",
        "--programs=predict",
        "--dtypes=float32",
        "--cells=1",
        "--channels=2",
        "--image_size=32",
        "--seconds=0.1",
        "--nodepthwise",
        "--kernels=2",
        f"--out={out}",
    )
    assert done.returncode == 0, done.stderr
    table = out.read_text()
    assert table in done.stdout
    (row,) = (line for line in table.splitlines() if line.startswith("| predict | float32 | 64 |"))
    *_, steps, images, _, repeats = row.strip("| ").split(" | ")
    median, fastest = map(float, steps.split("; "))
    assert 0 < fastest <= median
    assert float(images.replace(",", "")) > 0
    assert repeats == "yes"
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    first = next(n for n, row in enumerate(rows) if row[0] == "predict, float32, 64 images")
    times = {name: float(ms) for name, _, ms, *_ in rows[first + 2 :]}
    sums = {name: ms for name, ms in times.items() if name.startswith("all of kind ")}
    assert {"all of kind convolution", "all of kind fusion"} <= sums.keys()
    longest, second = (ms for name, ms in times.items() if name not in sums)
    assert sum(sums.values()) >= longest >= second > 0


@pytest.mark.whole
@pytest.mark.parametrize(
    "flag, said",
    [
        ("--dtypes=no_type", "exit code 1: TypeError"),
        ("--limit_s=0.01", "no time left"),
    ],
)
def test_a_process_that_fails_or_finds_no_time_leaves_its_row(python, flag, said):
    small = ("--programs=predict", "--cells=1", "--channels=2", "--image_size=32", "--nodepthwise")
    done = python("experiments/benchmarks/accelerator.py", *small, "--dtypes=float32", flag)
    assert done.returncode == 0, done.stderr
    (row,) = (line for line in done.stdout.splitlines() if line.startswith("| predict | "))
    assert said in row
    assert row.count(" | ") == 7  # as many columns as the other rows
