"""Remakes the pictures and the quoted figures of README.md from the runs of its first command.

  nge study search_digits && nge train train_digits genotype=runs/study-search_digits/search-0
  python experiments/readme_pictures.py

The script copies the pictures of the cells. Where a chromium is installed, it photographs the study's report.
readme.json takes the figures from the records of the runs. A test compares README.md with the file.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from nge_jax.workdir import artifacts

SEARCH = "search-0"  # the study's folder of its first search
# The pictures of a search's workdir, and their names beside the other figures.
CELLS = {
    "cell_normal.png": "digits_cell_normal.png",
    "cell_reduction.png": "digits_cell_reduction.png",
}
SCREENSHOT, FIGURES = "report.png", "readme.json"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PIXELS = "1100,1180"  # down to the comparison with random cells
SECONDS = 120  # for a screenshot; one takes a few
# Keys of a run's environment.
TIMES = ("started_monotonic", "ended_monotonic")
DEVICE = ("device_kind", "processor", "host_cpus")


def read_figures(study: Path, training: Path) -> dict[str, Any]:
    """Returns the figures that README.md quotes, ready for JSON.

    Args:
      study: the workdir of a study.
      training: the workdir of the training of the cell that the study found first.

    Raises:
      InputError: a workdir lacks a record, a run was interrupted, or the training has another cell.
    """
    search = study / SEARCH
    cell, trained = (artifacts.read_cell(run / artifacts.GENOTYPE) for run in (search, training))
    if cell != trained:
        raise artifacts.InputError(
            f"--training: found another cell in {training}, expected the cell of {search}"
        )
    # The same command again would add a later start, which is no part of these values.
    # A first start that has ended is a whole run.
    first = artifacts.read_json(
        study / artifacts.ENVIRONMENT, (*TIMES, "peak_memory_bytes", *DEVICE, "versions")
    )
    second = artifacts.read_json(training / artifacts.ENVIRONMENT, TIMES)
    last = artifacts.read_metrics(training / artifacts.METRICS, ())[-1]
    missing = [key for key in ("test_accuracy", "test_examples") if key not in last]
    if missing:
        raise artifacts.InputError(
            f"{training / artifacts.METRICS}: expected {missing[0]} in the last row, found none"
        )
    return {
        "sentence": artifacts.read_json(study / artifacts.STUDY, ("sentence",))["sentence"],
        "test_accuracy": last["test_accuracy"],
        "test_images": last["test_examples"],
        "study_seconds": _seconds(first),
        "training_seconds": _seconds(second),
        "study_peak_memory_gb": first["peak_memory_bytes"] / 1e9,
        "device": {key: first[key] for key in DEVICE},
        "versions": first["versions"],
    }


def _seconds(environment: dict[str, Any]) -> float:
    """Returns the length of a run's first start."""
    started, ended = (environment[key] for key in TIMES)
    return ended - started


def photograph(page: Path, picture: Path) -> str:
    """Makes a picture of the top of an HTML page, and tells in one line what came of it.

    A picture that was there before stays if no browser is installed, or if the browser fails.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return f"{picture}: left as it was, no {BROWSERS[0]} is installed"
    new = picture.with_suffix(".new.png")
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
    size, output = f"--window-size={PIXELS}", f"--screenshot={new.resolve()}"
    command = [browser, *flags, size, output, page.resolve().as_uri()]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
        new.replace(picture)
    except (OSError, subprocess.SubprocessError) as error:
        new.unlink(missing_ok=True)
        return f"{picture}: left as it was, {error}"
    return str(picture)


def main(options: argparse.Namespace) -> None:
    search = options.study / SEARCH
    pictures = {search / name: options.output / to for name, to in CELLS.items()}
    page = options.study / artifacts.REPORT
    for file in (*pictures, page):
        if not file.is_file():
            raise artifacts.InputError(f"{file}: no such file, expected what a study ends with")
    figures = read_figures(options.study, options.training)
    options.output.mkdir(parents=True, exist_ok=True)
    for source, picture in pictures.items():
        print(shutil.copyfile(source, picture))
    print(photograph(page, options.output / SCREENSHOT))
    artifacts.write_json(options.output / FIGURES, figures)
    print(options.output / FIGURES)


def parser() -> argparse.ArgumentParser:
    """Makes the parser of the command's arguments."""
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    runs, beside = Path("runs"), Path(__file__).with_name("figures")
    flags.add_argument(
        "--study", type=Path, default=runs / "study-search_digits", help="the study's workdir"
    )
    flags.add_argument(
        "--training", type=Path, default=runs / "train_digits", help="the training's workdir"
    )
    flags.add_argument("--output", type=Path, default=beside, help="folder of the figures")
    return flags


if __name__ == "__main__":
    given = parser().parse_args()
    try:
        main(given)
    except artifacts.InputError as refused:
        print(refused, file=sys.stderr)
        sys.exit(2)
