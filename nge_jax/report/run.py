"""What the reports of all tasks share, from the files of a run's workdir to its report.md and report.html.

A report reads what the run recorded and overwrites only its own files, so it can be made again at any time.
"""

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nge_jax.report import figure
from nge_jax.report.cell import edges_figure
from nge_jax.report.curves import curves_figure
from nge_jax.report.document import (
    Block,
    Code,
    Document,
    Picture,
    Section,
    Table,
    to_html,
    to_markdown,
)
from nge_jax.runtime import artifacts
from nge_jax.runtime.artifacts import EpochRows
from nge_jax.runtime.config import flatten
from nge_jax.space import found
from nge_jax.space.found import Found
from nge_jax.space.genotype import Genotype

Curves = Mapping[str, Mapping[str, str]]  # for each panel: names of series, and keys of metrics
Columns = Mapping[str, tuple[str, str]]  # for each column: a key of metrics, how it is written
Size = tuple[str, int, int]  # a network's name, its parameters, multiply-adds for one image

COMMON_COLUMNS = {
    "Epoch": ("epoch", ".0f"),
    "Seconds": ("seconds", ".1f"),
    "Images/s": ("images_per_second", ".1f"),
    "Learning rate": ("learning_rate", ".3g"),
}
CLEARLY_NARROWER = (
    0.85  # of the width of a cell from left to right: phones get it from top to bottom
)
# Keys of the config that a reader asks for first; each task has some of them.
SETTINGS = {
    "Data set": "data.name",
    "Strategy": "search.strategy",
    "Relaxation": "search.relaxation",
    "Edge model": "search.edge_model",
    "Genotype": "genotype",
    "Seed": "seed",
}


def read_epochs(workdir: Path, *columns: Columns) -> EpochRows:
    """Reads the metrics of a run's epochs, all of which have the keys of `columns`."""
    keys = [key for column in columns for key, _ in column.values()]
    return artifacts.read_metrics(workdir / artifacts.METRICS, keys)


def run_facts(workdir: Path, epochs: EpochRows) -> dict[str, str]:
    """Reads what a report's headline says of every run: settings, device, epochs and duration."""
    config = flatten(artifacts.read_json(workdir / artifacts.CONFIG))
    device = artifacts.read_json(workdir / artifacts.ENVIRONMENT, ("device_kind", "device_count"))
    return {name: _show(config[key]) for name, key in SETTINGS.items() if key in config} | {
        "Device": f"{device['device_count']} × {device['device_kind']}",
        "Epochs": str(epochs[-1]["epoch"]),
        "Duration": _duration(sum(epoch["seconds"] for epoch in epochs)),
    }


def cells_section(workdir: Path, cells: Found, *, cautions: Sequence[Block] = ()) -> Section:
    """Draws the cells into the workdir and shows them, under `cautions`, with their JSON."""
    blocks, space = [*cautions], found.space_of(cells)
    name = functools.partial(node_name, num_inputs=space.num_inputs)
    for cell_type in space.cell_types:
        edges, concat = found.kept_edges(cells, cell_type), found.outputs(cells, cell_type)
        stem, narrow_stem = f"cell_{cell_type}", ""
        drawing = edges_figure(edges, concat, space.num_inputs)
        figure.save(drawing, workdir / stem)
        narrow = edges_figure(edges, concat, space.num_inputs, downwards=True)
        if narrow.get_figwidth() < CLEARLY_NARROWER * drawing.get_figwidth():
            narrow_stem = f"{stem}_narrow"
            figure.save_svg(narrow, workdir / narrow_stem)
        listed = "; ".join(f"{name(i)} to {name(k)} {operation}" for operation, i, k in edges)
        if isinstance(cells, Genotype):
            alt = f"The {cell_type} cell: {listed}; cₖ concatenates {', '.join(map(name, concat))}"
            caption = f"The {cell_type} cell, from the two cells before it, cₖ₋₂ and cₖ₋₁, to cₖ."
        else:
            alt = f"The cell: {listed}; cₖ is {name(concat[0])}"
            caption = "The cell, from what is before it, cₖ₋₁, to cₖ; a dashed edge brings nothing."
        blocks.append(Picture(stem, alt, caption, narrow_stem=narrow_stem))
    return Section("Cells", [*blocks, Code(found.to_json(cells), summary=artifacts.GENOTYPE)])


def curves_section(workdir: Path, epochs: EpochRows, curves: Curves) -> Section:
    """Draws a panel for each of `curves` into the workdir and shows them."""
    panels = {
        title: {name: [epoch[key] for epoch in epochs] for name, key in series.items()}
        for title, series in curves.items()
    }
    numbers = [epoch["epoch"] for epoch in epochs]
    figure.save(curves_figure(numbers, panels), workdir / "curves")
    figure.save_svg(curves_figure(numbers, panels, downwards=True), workdir / "curves_narrow")
    alt, caption = f"{', '.join(panels)} over the epochs", "After each epoch."
    return Section("Curves", [Picture("curves", alt, caption, narrow_stem="curves_narrow")])


def epoch_table(epochs: EpochRows, columns: Columns) -> Table:
    """Makes a table with a row for each epoch."""
    rows = [[format(epoch[key], form) for key, form in columns.values()] for epoch in epochs]
    return Table(list(columns), rows)


def sizes_section(sizes: Iterable[Size]) -> Section:
    """Makes a table with a row for each network."""
    header = ("Network", "Parameters", "Multiply-adds an image")
    rows = [(name, f"{parameters:,}", f"{adds:,}") for name, parameters, adds in sizes]
    return Section("Sizes", [Table(header, rows)])


def write(
    workdir: Path, subtitle: str, facts: Mapping[str, str], sections: Sequence[Section]
) -> Path:
    """Writes report.md and report.html with `sections`, the settings and the environment.

    Returns:
      The path of report.html.
    """
    sections = list(sections)
    for title, file in (("Settings", artifacts.CONFIG), ("Environment", artifacts.ENVIRONMENT)):
        values = flatten(artifacts.read_json(workdir / file))
        rows = [(key, _show(value)) for key, value in values.items()]
        sections.append(Section(title, [Table(("Key", "Value"), rows)], folded=True))
    document = Document(workdir.resolve().name, subtitle, list(facts.items()), sections)
    artifacts.write_atomically(workdir / artifacts.REPORT_MARKDOWN, to_markdown(document))
    path = workdir / artifacts.REPORT
    artifacts.write_atomically(path, to_html(document, workdir))
    return path


def node_name(node: int, num_inputs: int) -> str:
    """Returns what texts call a node, as `cell.node_name` does for pictures."""
    inputs = ("cₖ₋₂", "cₖ₋₁")[-num_inputs:]
    return inputs[node] if node < num_inputs else str(node - num_inputs)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _show(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
