"""The pictures and the figures of README.md."""

import fnmatch
import json
import re
import subprocess
import sys

import pytest

import readme_pictures
from nge_jax.errors import InputError
from nge_jax.space import genotype
from nge_jax.workdir import artifacts, removal
from tests.conftest import ROOT

ENVIRONMENT = {
    "started_monotonic": 100.0,
    "ended_monotonic": 299.25,
    "peak_memory_bytes": 2_400_000_000,
    "device_kind": "cpu",
    "processor": "Intel Xeon",
    "host_cpus": 2,
    "versions": {"jax": "0.10.2"},
    "resumed": {"1": {"started_monotonic": 500.0, "ended_monotonic": 501.0}},
}
# README.md's words for figures, and how the figures are rounded there.
QUOTED = {
    r"`test accuracy: (\S+) of \d+ images`": ("test_accuracy", ".2%"),
    r"`test accuracy: \S+ of (\d+) images`": ("test_images", "d"),
    r"the first study, .* \| (\d+) s \|": ("study_seconds", ".0f"),
    r"the first study, .* \| at most (\S+) GB": ("study_peak_memory_gb", ".1f"),
    r"the training \| (\d+) s \|": ("training_seconds", ".0f"),
}


@pytest.fixture
def options(tmp_path):
    """The command's options for a study and a training, beside an older picture of a report."""
    flags = ("study", "training", "output")
    given = readme_pictures.parser().parse_args([f"--{name}={tmp_path / name}" for name in flags])
    cell = genotype.load("DARTS_V2").to_json()
    search = given.study / readme_pictures.SEARCH
    for run in (search, given.training):
        run.mkdir(parents=True)
        (run / artifacts.GENOTYPE).write_text(cell)
    artifacts.write_json(given.study / artifacts.ENVIRONMENT, ENVIRONMENT)
    artifacts.write_json(given.study / artifacts.STUDY, {"sentence": "no difference is shown"})
    record = ENVIRONMENT | {"ended_monotonic": 144.5}
    artifacts.write_json(given.training / artifacts.ENVIRONMENT, record)
    for name in readme_pictures.CELLS:
        (search / name).write_bytes(name.encode())
    (given.study / artifacts.REPORT).write_text("<p>the report</p>")
    rows = [{"epoch": 1}, {"epoch": 2, "test_accuracy": 351 / 355, "test_examples": 355}]
    (given.training / artifacts.METRICS).write_text("\n".join(map(json.dumps, rows)))
    given.output.mkdir()
    (given.output / "report.png").write_bytes(b"old")
    return given


def install(browser, monkeypatch, script):
    """Makes a program the only one on the path."""
    browser.parent.mkdir()
    browser.write_text(f"#!{sys.executable}\nimport sys\n{script}\n")
    browser.chmod(0o755)
    monkeypatch.setenv("PATH", str(browser.parent))


def test_pictures_are_copied_and_figures_taken_from_the_first_starts(options, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    readme_pictures.main(options)
    assert (options.output / "digits_cell_normal.png").read_bytes() == b"cell_normal.png"
    assert (options.output / "digits_cell_reduction.png").read_bytes() == b"cell_reduction.png"
    assert json.loads((options.output / "readme.json").read_text()) == {
        "sentence": "no difference is shown",
        "test_accuracy": 351 / 355,
        "test_images": 355,
        "study_seconds": 199.25,
        "training_seconds": 44.5,
        "study_peak_memory_gb": 2.4,
        "device": {"device_kind": "cpu", "processor": "Intel Xeon", "host_cpus": 2},
        "versions": {"jax": "0.10.2"},
    }
    assert (options.output / "report.png").read_bytes() == b"old"
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "report.png" in line)
    assert "left as it was, no chromium is installed" in line


def test_a_browser_photographs_the_report(options, monkeypatch, tmp_path):
    script = (
        "values = dict(a.split('=', 1) for a in sys.argv if a.startswith('--') and '=' in a)\n"
        "open(values['--screenshot'], 'w').write(sys.argv[-1] + ' ' + values['--window-size'])"
    )
    install(tmp_path / "programs" / "chromium", monkeypatch, script)
    readme_pictures.main(options)
    page = (options.study / artifacts.REPORT).as_uri()
    assert (options.output / "report.png").read_text() == f"{page} 1100,1180"


@pytest.mark.parametrize("script", ["sys.exit(1)", "pass"])
def test_a_browser_that_fails_leaves_the_old_picture(options, monkeypatch, tmp_path, script):
    install(tmp_path / "programs" / "google-chrome", monkeypatch, script)
    picture = options.output / "report.png"
    told = readme_pictures.photograph(options.study / artifacts.REPORT, picture)
    assert told.startswith(f"{picture}: left as it was, ") and "\n" not in told
    assert picture.read_bytes() == b"old"


def test_a_run_writes_the_pictures_under_these_names():
    for name in readme_pictures.CELLS:
        assert any(fnmatch.fnmatchcase(name, pattern) for pattern in removal.RESULTS)
        kind = name.removesuffix(".png").removeprefix("cell_")
        assert kind in genotype.load("DARTS_V2").space.cell_types


@pytest.mark.parametrize(
    "run, file, text, message",
    [
        ("study", "search-0/cell_normal.png", None, "cell_normal.png: no such file"),
        ("study", artifacts.REPORT, None, "report.html: no such file"),
        ("study", artifacts.ENVIRONMENT, "{}", "expected the key started_monotonic"),
        ("study", artifacts.STUDY, "{}", "expected the key sentence"),
        ("training", artifacts.ENVIRONMENT, '{"started_monotonic": 1}', "the key ended_monotonic"),
        ("training", artifacts.METRICS, '{"epoch": 1}', "expected test_accuracy in the last row"),
        ("training", artifacts.GENOTYPE, genotype.load("PDARTS").to_json(), "another cell"),
    ],
)
def test_runs_that_did_not_end_or_belong_elsewhere_are_refused(options, run, file, text, message):
    path = getattr(options, run) / file
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message):
        readme_pictures.main(options)
    assert [path.name for path in options.output.iterdir()] == ["report.png"]


def test_a_refusal_is_one_line(tmp_path):
    script = ROOT / "experiments" / "readme_pictures.py"
    command = [sys.executable, str(script), f"--study={tmp_path}", f"--output={tmp_path / 'out'}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr == (
        f"{tmp_path / 'search-0' / 'cell_normal.png'}: no such file, expected what a study ends with\n"
    )


def test_the_readme_quotes_the_figures():
    file = ROOT / "experiments" / "figures" / readme_pictures.FIGURES
    readme = (ROOT / "README.md").read_text()
    quoted = {name: re.findall(words, readme) for words, (name, _) in QUOTED.items()}
    assert all(len(found) == 1 for found in quoted.values()), quoted
    if not file.exists():
        pytest.skip(f"{file.name} is not made yet, see experiments/readme_pictures.py")
    figures = json.loads(file.read_text())
    assert figures["sentence"] in " ".join(readme.split())
    rounded = {name: [format(figures[name], spec)] for name, spec in QUOTED.values()}
    assert quoted == rounded
