"""Runs side by side: their results, the settings that differ, curves and cells, as a table or a page."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nge_jax.errors import InputError
from nge_jax.report import figure
from nge_jax.report.cell import cell_figure
from nge_jax.report.document import Document, Picture, Section, Table, Text, to_html
from nge_jax.report.figure import COLORS, STYLE, new_figure, save_svg
from nge_jax.runtime import artifacts
from nge_jax.runtime.artifacts import EpochRows
from nge_jax.runtime.config import flatten
from nge_jax.space.found import Found, kept_edges, space_of
from nge_jax.space.genotype import CELL_TYPES, Genotype

# Metrics of a last row: a name, the keys that different tasks have for it, how it is written.
RESULTS = (
    ("Epochs", ("epoch",), ".0f"),
    ("Training loss", ("train_loss", "weight_loss"), ".4f"),
    ("Training accuracy", ("train_accuracy", "weight_accuracy"), ".2%"),
    ("Validation accuracy", ("validation_accuracy", "embedding_accuracy"), ".2%"),
    ("Test accuracy", ("test_accuracy",), ".2%"),
    ("Mean IoU", ("test_mean_iou",), ".2%"),
    ("Seconds", ("seconds",), ".0f"),
)
PANELS = (
    ("Training loss", ("train_loss", "weight_loss")),
    ("Training accuracy", ("train_accuracy", "weight_accuracy")),
    ("Validation accuracy", ("validation_accuracy", "embedding_accuracy")),
)
# Where a run is, how it is executed: no settings that one compares.
PLACES = ("run.", "data.dir", "data.devkit")
ABSENT = "–"
DASHES = ("solid", (0, (4, 1.5)), (0, (1, 1.2)))


class Run(NamedTuple):
    """What a workdir records of a run.

    Attributes:
      name: by which it is told from the others.
      settings: of its config, by keys joined by dots.
      epochs: rows of metrics.
      cell: found or trained; None where there is none yet.
    """

    name: str
    settings: dict[str, Any]
    epochs: EpochRows
    cell: Found | None


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Reads runs by their workdirs; raises InputError where one is none, or has no epoch behind it."""
    for path in paths:
        if not path.is_dir():
            raise InputError(f"{path}: no such folder, expected the workdir of a run")
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = list(map(str, paths))
    return [_read(name, path) for name, path in zip(names, paths, strict=True)]


def _read(name, path):
    settings = flatten(artifacts.read_json(path / artifacts.CONFIG, ("task",)))
    epochs = artifacts.read_metrics(path / artifacts.METRICS, ())
    file = path / artifacts.GENOTYPE
    return Run(name, settings, epochs, artifacts.read_found(file) if file.exists() else None)


def results_table(runs: Sequence[Run]) -> Table:
    """Makes a row for each run: its task, its data and its results; a column that no run has is left out."""
    columns = {"Run": [run.name for run in runs]}
    for name, key in (("Task", "task"), ("Data", "data.name")):
        columns[name] = [str(run.settings.get(key, ABSENT)) for run in runs]
    for name, keys, form in RESULTS:
        values = [_result(run, keys) for run in runs]
        if any(value is not None for value in values):
            columns[name] = [ABSENT if value is None else format(value, form) for value in values]
    return Table(list(columns), list(zip(*columns.values(), strict=True)))


def differences_table(runs: Sequence[Run]) -> Table:
    """Makes a row for each setting that is not the same in all runs."""
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    rows = []
    for key in keys:
        values = [run.settings.get(key, ABSENT) for run in runs]
        if not key.startswith(PLACES) and any(value != values[0] for value in values):
            rows.append([key, *map(str, values)])
    return Table(["Setting", *(run.name for run in runs)], rows)


def operations_table(runs: Sequence[Run]) -> Table:
    """Makes a row for each run that has a cell: how often an operation stands in it."""
    rows = []
    for run in runs:
        if run.cell is not None:
            rows.append([run.name, *(_operations(run.cell, kind) for kind in _kinds(run.cell))])
    width = max(map(len, rows), default=1)
    rows = [[*row, *[ABSENT] * (width - len(row))] for row in rows]
    return Table(["Cell", *map(str.capitalize, CELL_TYPES)][:width], rows)


def to_text(table: Table) -> str:
    """Lays a table out for a terminal."""
    rows = [list(map(str, row)) for row in (table.header, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def page(runs: Sequence[Run]) -> str:
    """Makes the page that compares runs: one HTML file with all its pictures."""
    differences = differences_table(runs)
    settings = differences if differences.rows else Text("All settings are the same.")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        save_svg(curves_figure(runs), place / "curves")
        titles = ", ".join(title for title, _ in _panels(runs))
        curves = Picture("curves", f"{titles} of {len(runs)} runs", "After each epoch.")
        sections = [
            Section("Results", [results_table(runs)]),
            Section("Settings that differ", [settings]),
            Section("Curves", [curves]),
        ]
        cells = [block for n, run in enumerate(runs) for block in _cell_pictures(run, n, place)]
        if cells:
            sections.append(Section("Cells", [operations_table(runs), *cells]))
        names = ", ".join(run.name for run in runs)
        document = Document("Comparison", names, [("Runs", str(len(runs)))], sections)
        return to_html(document, place)


def curves_figure(runs: Sequence[Run]) -> Figure:
    """Draws a panel for each of the metrics that some run has, with a line for each run over its epochs."""
    panels = _panels(runs)
    colors = list(COLORS.values())
    with rc_context(STYLE):
        drawing = new_figure(3.4 * max(1, len(panels)), 2.9)
        axes = drawing.subplots(1, max(1, len(panels)), squeeze=False)[0]
        for ax, (title, keys) in zip(axes, panels, strict=False):
            for number, run in enumerate(runs):
                points = [(row["epoch"], _of(row, keys)) for row in run.epochs]
                points = [(x, y) for x, y in points if y is not None]
                ax.plot(
                    *zip(*points, strict=True) if points else ([], []),
                    label=run.name,
                    color=colors[number * 3 % len(colors)],
                    linestyle=DASHES[number // len(colors) % len(DASHES)],
                    marker="o",
                    markersize=2.5,
                )
            ax.set_title(title)
            ax.set_xlabel("epoch")
            ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        if panels:
            axes[0].legend(loc="best")
        drawing.tight_layout(pad=0.6, w_pad=1.2)
        drawing.draw_without_rendering()
    return drawing


def _panels(runs):
    return [
        (title, keys) for title, keys in PANELS if any(_of(r, keys) is not None for u in runs for r in u.epochs)
    ]  # fmt: skip


def _result(run, keys):
    """Returns what a run ends with; of the seconds the sum over its epochs."""
    if keys == ("seconds",):
        return sum(row.get("seconds", 0.0) for row in run.epochs)
    return _of(run.epochs[-1], keys)


def _of(row: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((row[key] for key in keys if row.get(key) is not None), None)


def _kinds(cell: Found) -> Sequence[str]:
    return CELL_TYPES if isinstance(cell, Genotype) else space_of(cell).cell_types


def _operations(cell: Found, kind: str) -> str:
    names = [edge.operation for edge in kept_edges(cell, kind)]
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(sorted(names)))


def _cell_pictures(run, number, place):
    """Draws the cells of a run's genotype; those of other spaces are told by their operations alone."""
    if not isinstance(run.cell, Genotype):
        return
    for kind in CELL_TYPES:
        stem = f"cell_{number}_{kind}"
        figure.save_svg(cell_figure(*run.cell.cell(kind)), place / stem)
        alt = f"The {kind} cell of {run.name}: {_operations(run.cell, kind)}"
        yield Picture(stem, alt, f"{run.name}: the {kind} cell.")
