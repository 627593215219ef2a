"""The measurement of an accelerator, on what is here."""

import accelerator


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


def test_a_process_that_fails_or_finds_no_time_leaves_its_row(tmp_path):
    request = {"program": "predict", "size": {"dtype": "no type"}, "cache": "", "seconds": 1}
    figures = accelerator.start("measure.on_device", request, str(tmp_path), float("inf"))
    assert figures["failure"].startswith("exit code 1: ")
    assert accelerator.start("measure.on_device", request, str(tmp_path), 0.0) == {
        "failure": "no time left"
    }
    size = {"dtype": "float32", "batch_size": 8}
    cells = accelerator.cells({"program": "predict", "size": size}, figures)
    assert len(cells) == len(accelerator.COLUMNS)
