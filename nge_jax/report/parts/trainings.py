"""The trainings of a search's cell that lie beside the search, for the search's report."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nge_jax.errors import InputError
from nge_jax.report.document import Section, Table, Text
from nge_jax.report.parts.read import Run, read_runs
from nge_jax.workdir import artifacts


def sections(workdir: Path) -> tuple[list[Section], dict[str, str]]:
    """Makes a table of the trainings of this search's cell, and the headline's part; both empty without trainings."""
    found = [*find(workdir)]
    if not found:
        return [], {}
    rows, links = [], []
    for path, run in found:
        last = run.epochs[-1]
        parameters = "–" if run.sizes is None else f"{run.sizes[0]:,}"
        data = str(run.settings.get("data.name", "–"))
        rows.append((run.name, data, str(last["epoch"]), _accuracy(last), parameters))
        page = path / artifacts.REPORT
        links.append(os.path.relpath(page, workdir.resolve()) if page.exists() else "")
    text = Text("Runs beside this search that train its cell. nge report looks for them again.")
    header = ("Training", "Data", "Epochs", "Test accuracy", "Parameters")
    tested = [run.epochs[-1]["test_accuracy"] for _, run in found if _is_tested(run)]
    facts = {}
    if tested:
        best = f"{max(tested):.2%}"
        facts["Trained"] = best if len(tested) == 1 else f"{best}, the best of {len(tested)}"
    return [Section("Trainings", [text, Table(header, rows, links)])], facts


def find(workdir: Path) -> Iterator[tuple[Path, Run]]:
    """Yields the trainings beside a search whose config names the search and that have its cell, with their folders.

    A search that is one of several lies in a folder of its own; then runs beside that folder count, too.
    """
    workdir = workdir.resolve()
    folders = [workdir.parent]
    if (workdir.parent / artifacts.CONFIG).is_file():
        folders.append(workdir.parent.parent)
    own = workdir / artifacts.GENOTYPE
    for path in sorted(path for folder in folders for path in folder.iterdir()):
        if path == workdir or not (path / artifacts.METRICS).is_file():
            continue
        try:
            (run,) = read_runs([path])
            same = run.cell is not None and run.cell == artifacts.read_cell(own)
        except (InputError, OSError):  # a run that is damaged or begins is no matter of this report
            continue
        if run.settings["task"] == "train" and same and _names(run.settings, workdir):
            yield path, run


def _names(settings: dict[str, Any], workdir: Path) -> bool:
    """Whether a config's key `genotype` names a search by its folder; both may have moved together."""
    named = Path(str(settings.get("genotype", "")))
    folder = named.parent if named.name == artifacts.GENOTYPE else named
    return folder.name == workdir.name


def _is_tested(run: Run) -> bool:
    return isinstance(run.epochs[-1].get("test_accuracy"), float)


def _accuracy(last: dict[str, Any]) -> str:
    return f"{last['test_accuracy']:.2%}" if "test_accuracy" in last else "not ended"
