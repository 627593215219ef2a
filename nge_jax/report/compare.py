"""Runs side by side: their results, the settings that differ, curves and cells, as a table or a page."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from nge_jax.report import figure
from nge_jax.report.cell import PHONE, edges_figure
from nge_jax.report.curves import logarithmic
from nge_jax.report.document import (
    Beside,
    Document,
    Picture,
    Section,
    Table,
    Text,
    to_html,
)
from nge_jax.report.figure import COLORS, NAMED, new_figure, save_svg
from nge_jax.report.pareto.front import Network, size_figure
from nge_jax.report.parts.read import Run, first_known
from nge_jax.report.parts.results import ABSENT, RESULTS, results_table
from nge_jax.settings import keys
from nge_jax.space.cell import Cell
from nge_jax.space.genotype import CELL_TYPES

PANELS = (
    ("Training loss", ("train_loss", "weight_loss")),
    ("Validation loss", ("validation_loss", "embedding_loss")),
    ("Training accuracy", ("train_accuracy", "weight_accuracy")),
    ("Validation accuracy", ("validation_accuracy", "embedding_accuracy")),
)
# The first of these that two runs have is drawn against the networks' sizes.
BY_SIZE = ("Test accuracy", "Validation accuracy")
LOGARITHMIC = ("Training loss", "Validation loss")
DASHES = ("solid", (0, (4, 1.5)), (0, (1, 1.2)))


def differences_table(runs: Sequence[Run]) -> Table:
    """Makes a row for each setting that differs among the runs that have it; tasks have different keys."""
    names = dict.fromkeys(name for run in runs for name in run.settings if _counts(run, name))
    rows = []
    for name in names:
        values = [run.settings[name] for run in runs if name in run.settings]
        if any(value != values[0] for value in values):
            rows.append([name, *(str(run.settings.get(name, ABSENT)) for run in runs)])
    return Table(["Setting", *(run.name for run in runs)], rows)


def _counts(run: Run, name: str) -> bool:
    """Whether a setting is one to compare: the place of a run and the way it is executed are none."""
    return keys.changes_result(str(run.settings["task"]), name)


def operations_table(runs: Sequence[Run]) -> Table:
    """Makes a row for each run that has a cell: how often each operation stands in it."""
    rows = []
    for run in runs:
        if run.cell is not None:
            rows.append([run.name, *(operations(run.cell, kind) for kind in _kinds(run.cell))])
    width = max(map(len, rows), default=1)
    rows = [[*row, *[ABSENT] * (width - len(row))] for row in rows]
    return Table(["Cell", *map(str.capitalize, CELL_TYPES)][:width], rows)


def turned(table: Table) -> Table:
    """Transposes a table: its columns become rows."""
    (first, *header), *rows = zip(table.header, *table.rows, strict=True)
    return Table([first, *header], rows)


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
        save_svg(curves_figure(runs, downwards=True), place / "curves_narrow")
        titles = ", ".join(title for title, _ in _panels(runs))
        alt, caption = (
            f"{titles} of {len(runs)} runs",
            "After each epoch; losses on a logarithmic scale.",
        )
        curves = Picture("curves", alt, caption, narrow_stem="curves_narrow")
        sections = [
            Section("Results", [turned(results_table(runs))]),
            Section("Settings that differ", [settings]),
            Section("Curves", [curves]),
        ]
        if (by_size := _size_picture(runs, place)) is not None:
            sections.append(Section("Accuracy against size", [by_size]))
        rows = [row for kind in CELL_TYPES if (row := cell_pictures(runs, kind, place)).pictures]
        if rows:
            sections.append(Section("Cells", [operations_table(runs), *rows]))
        names = ", ".join(run.name for run in runs)
        document = Document("Comparison", names, [("Runs", str(len(runs)))], sections)
        return to_html(document, place)


def _size_picture(runs: Sequence[Run], place: Path) -> Picture | None:
    """Draws accuracy against parameters; None unless two runs have both."""
    for title, metrics, _ in RESULTS:
        if title not in BY_SIZE:
            continue
        networks = [
            Network(run.name, run.sizes[0], accuracy, {"color": _style(number)["color"]})
            for number, run in enumerate(runs)
            if run.sizes is not None
            and (accuracy := first_known(run.epochs[-1], metrics)) is not None
        ]
        if len(networks) > 1:
            save_svg(size_figure(networks, title.lower(), 6.8), place / "by_size")
            save_svg(size_figure(networks, title.lower(), 3.9), place / "by_size_narrow")
            alt = f"{title} of {len(networks)} runs against the parameters of their networks"
            caption = (
                "After the last epoch. The line joins the runs that no smaller or equal one beats. A search stands "
                "with the size of the network that its command trains."
            )
            return Picture("by_size", alt, caption, narrow_stem="by_size_narrow")
    return None


def curves_figure(runs: Sequence[Run], *, downwards: bool = False) -> Figure:
    """Draws a panel for each of the metrics that some run has, with a line for each run over its epochs.

    Four stand in two rows, or all below each other; the names of the runs stand above them.
    """
    panels, names = _panels(runs), [run.name for run in runs]
    columns = 1 if downwards else min(2, max(1, len(panels)))
    rows = -(-max(1, len(panels)) // columns)
    lines = [_style(number) for number in range(len(runs))]
    width = 3.9 if downwards else 5.0 * columns
    across = figure.columns_of_names(names, width)
    above = 0.12 + 0.19 * -(-len(runs) // across)
    with rc_context(NAMED):
        drawing = new_figure(width, 2.7 * rows + above)
        grid = drawing.subplots(rows, columns, squeeze=False)
        for ax, (title, keys) in zip(grid.flat, panels, strict=False):
            for run, style in zip(runs, lines, strict=True):
                points = [(row["epoch"], first_known(row, keys)) for row in run.epochs]
                points = [(x, y) for x, y in points if y is not None]
                if not points:
                    continue
                (line,) = ax.plot(*zip(*points, strict=True), marker="o", markersize=2.5, **style)
                figure.hover(line, f"{run.name}: {points[-1][1]:.4g} after epoch {points[-1][0]}")
            if title in LOGARITHMIC:
                logarithmic(ax)
            ax.set_title(title)
            ax.set_xlabel("epoch")
            ax.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        for ax in grid.flat[len(panels) :]:
            ax.set_visible(False)
        handles = [
            Line2D([], [], label=run.name, **style) for run, style in zip(runs, lines, strict=True)
        ]
        drawing.legend(handles=handles, loc="upper left", ncols=across)
        drawing.tight_layout(
            pad=0.6, w_pad=1.2, rect=(0, 0, 1, 1 - above / drawing.get_figheight())
        )
        drawing.draw_without_rendering()
    return drawing


def _style(number: int) -> dict[str, Any]:
    """Returns how the line of a run is drawn, by its number: first the colors change, then the dashes."""
    colors = list(COLORS.values())
    dashes = DASHES[number // len(colors) % len(DASHES)]
    return {"color": colors[number * 3 % len(colors)], "linestyle": dashes}


def _panels(runs):
    return [
        (title, keys) for title, keys in PANELS if any(first_known(r, keys) is not None for u in runs for r in u.epochs)
    ]  # fmt: skip


def _kinds(cell: Cell) -> Sequence[str]:
    return cell.space.cell_types


def operations(cell: Cell, kind: str) -> str:
    """Returns how often a cell of this kind has which operation: "2 max_pool_3x3, 6 sep_conv_3x3"."""
    names = [edge.operation for edge in cell.kept_edges(kind)]
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(sorted(names)))


def cell_pictures(
    runs: Sequence[Run], kind: str, place: Path, save: Callable[[Figure, Path], None] = save_svg
) -> Beside:
    """Draws the cells of a kind, for narrow screens from top to bottom if that is narrower; `save`: the former."""
    pictures = []
    for number, run in enumerate(runs):
        if run.cell is None or kind not in _kinds(run.cell):
            continue
        stem, edges = f"cell_{number}_{kind}", run.cell.kept_edges(kind)
        inputs = run.cell.space.num_inputs
        wide, narrow = (
            edges_figure(edges, run.cell.outputs(kind), inputs, downwards=downwards)
            for downwards in (False, True)
        )
        save(wide, place / stem)
        narrow_stem = ""
        if PHONE < wide.get_figwidth() > narrow.get_figwidth():
            narrow_stem = f"{stem}_narrow"
            save_svg(narrow, place / narrow_stem)
        alt = f"The {kind} cell of {run.name}: {operations(run.cell, kind)}"
        caption = f"{run.name}: the {kind} cell."
        pictures.append(Picture(stem, alt, caption, narrow_stem=narrow_stem))
    return Beside(pictures)
