"""The parts that the reports of all tasks share, from a workdir's files to report.md and report.html.

A report reads what the run recorded and overwrites only its own files, so it can be made again at any time.
"""

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from nge_jax import files
from nge_jax.report import figure, reproduce
from nge_jax.report.cell import PHONE, edges_figure
from nge_jax.report.curves import curves_figure
from nge_jax.report.document import (
    Block,
    Code,
    Document,
    Files,
    Picture,
    Section,
    Table,
    Text,
    to_html,
    to_markdown,
)
from nge_jax.settings import keys
from nge_jax.settings.configs import flatten
from nge_jax.space.cell import Cell
from nge_jax.space.genotype import Genotype
from nge_jax.workdir import artifacts
from nge_jax.workdir.artifacts import EpochRows, Size

Curves = Mapping[str, Mapping[str, str]]  # for each panel: names of series, and keys of metrics
Columns = Mapping[str, tuple[str, str]]  # for each column: a key of metrics, how it is written

COMMON_COLUMNS = {
    "Epoch": ("epoch", ".0f"),
    "Seconds": ("seconds", ".1f"),
    "Images/s": ("images_per_second", ".1f"),
    "Learning rate": ("learning_rate", ".3g"),
}
LOGARITHMIC = ("Loss",)
# A page carries these files beside its pictures, because it may be read far from the workdir.
DOWNLOADS = (
    artifacts.GENOTYPE,
    artifacts.METRICS,
    artifacts.CONFIG,
    artifacts.ENVIRONMENT,
    artifacts.ARCHITECTURE,
    artifacts.RANDOM_CELLS,
    artifacts.SEEDS,
    artifacts.CONFUSION,
    artifacts.STUDY,
    artifacts.TRAININGS,
)
LARGEST_DOWNLOAD = 2**20  # bytes; what is larger stays in the workdir alone


def read_epochs(workdir: Path, *columns: Columns) -> EpochRows:
    """Reads the metrics of a run's epochs, all of which have the keys of `columns`."""
    keys = [key for column in columns for key, _ in column.values()]
    return artifacts.read_metrics(workdir / artifacts.METRICS, keys)


def run_facts(workdir: Path, epochs: EpochRows, work: str = "Search") -> dict[str, str]:
    """Reads what a report's headline says of every run: settings, device, epochs, times and memory.

    Facts that an older version has not recorded, or that somebody has edited, are left out. `work` names the epochs.
    """
    values = flatten(artifacts.read_json(workdir / artifacts.CONFIG))
    started = starts(workdir)
    return _settings(values) | {
        "Device": _device(started[0]),
        "Epochs": str(epochs[-1]["epoch"]),
        **_times(started, sum(epoch["seconds"] for epoch in epochs), work),
        **_memory(started),
    }


def starts(workdir: Path) -> list[dict[str, Any]]:
    """Reads the records of all starts of a run, the first one first."""
    runs = artifacts.read_json(workdir / artifacts.ENVIRONMENT, ("device_kind", "device_count"))
    resumed = runs.get("resumed")
    later = resumed.values() if isinstance(resumed, dict) else ()
    return [runs, *(start for start in later if isinstance(start, dict))]


def _settings(values: Mapping[str, Any]) -> dict[str, str]:
    """Returns the settings that a reader asks for first: those with a label, the ones of groups before the others."""
    labels = {key.name: key.label for key in keys.keys_of(values).values() if key.label}
    names = sorted((name for name in labels if name in values), key=lambda name: "." not in name)
    return {labels[name]: _show(values[name]) for name in names}


def _device(start: Mapping[str, Any]) -> str:
    count, kind = start["device_count"], start["device_kind"]
    if start.get("device_platform") != "cpu" or not start.get("processor"):
        return f"{count} × {kind}"
    devices = f", as {count} devices" if count != 1 else ""
    return f"{start['processor']}, {start.get('host_cpus')} CPUs{devices}"


def _times(starts: Sequence[Mapping[str, Any]], seconds: float, work: str) -> dict[str, str]:
    """Says how long a run's starts took, how much of it was compiling and `work`, and when the last ended."""
    times, compiling = {}, _numbers(starts, "compile_seconds")
    spans = [span for start in starts if (span := _span(start)) is not None]
    ended = _moment(starts[-1], "ended")
    if spans and ended:
        total, least = sum(spans), ""
        # A killed start has recorded its compilation and its epochs, and no end.
        if len(spans) < len(starts):
            total, least = max(total, sum(compiling) + seconds), "at least "
        times["Total time"] = f"{least}{_duration(total)}"
    if compiling:
        times["Compiling"] = _duration(sum(compiling))
    times[work] = _duration(seconds)
    if ended:
        times["Ended"] = f"{ended:%Y-%m-%d %H:%M %z}"
    return times


def _memory(starts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    names = {"Peak memory": "peak_memory_bytes", "Peak GPU memory": "peak_device_memory_bytes"}
    found = {name: _numbers(starts, key) for name, key in names.items()}
    return {name: f"{max(peaks) / 1e9:.2f} GB" for name, peaks in found.items() if peaks}


def _span(start: Mapping[str, Any]) -> float | None:
    """Returns how many seconds a start took; None if killed, or if a clock set back is the only one recorded."""
    keys = "started_monotonic", "ended_monotonic"
    if all(isinstance(start.get(key), int | float) for key in keys):
        return start[keys[1]] - start[keys[0]]
    begin, end = _moment(start, "started"), _moment(start, "ended")
    return (end - begin).total_seconds() if begin and end and end >= begin else None


def _moment(start: Mapping[str, Any], key: str) -> datetime | None:
    try:
        return datetime.strptime(start[key], artifacts.TIME)
    except (KeyError, TypeError, ValueError):
        return None


def _numbers(starts: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    return [s[key] for s in starts if isinstance(s.get(key), int | float)]


def cells_section(workdir: Path, cells: Cell, *, cautions: Sequence[Block] = ()) -> Section:
    """Draws the cells into the workdir and shows them, under `cautions`, with their JSON."""
    blocks, space = [*cautions], cells.space
    name = functools.partial(node_name, num_inputs=space.num_inputs)
    for cell_type in space.cell_types:
        edges, concat = cells.kept_edges(cell_type), cells.outputs(cell_type)
        stem, narrow_stem = f"cell_{cell_type}", ""
        drawing = edges_figure(edges, concat, space.num_inputs)
        figure.save(drawing, workdir / stem)
        narrow = edges_figure(edges, concat, space.num_inputs, downwards=True)
        if PHONE < drawing.get_figwidth() > narrow.get_figwidth():
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
    return Section("Cells", [*blocks, Code(cells.to_json(), summary=artifacts.GENOTYPE)])


def curves_section(workdir: Path, epochs: EpochRows, curves: Curves) -> Section:
    """Draws a panel for each of `curves` into the workdir and shows them; a series that no epoch has is left out."""
    panels = {
        title: {
            name: [epoch.get(key) for epoch in epochs]
            for name, key in series.items()
            if any(key in epoch for epoch in epochs)
        }
        for title, series in curves.items()
    }
    numbers = [epoch["epoch"] for epoch in epochs]
    wide, narrow = (
        curves_figure(numbers, panels, downwards=downwards, logarithmic_panels=LOGARITHMIC)
        for downwards in (False, True)
    )
    figure.save(wide, workdir / "curves")
    figure.save_svg(narrow, workdir / "curves_narrow")
    alt = f"{', '.join(panels)} over the epochs"
    caption = "After each epoch; the loss on a logarithmic scale."
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
    sections = [*sections, _reproduce_section(workdir), _downloads_section(workdir, sections)]
    for title, file in (("Settings", artifacts.CONFIG), ("Environment", artifacts.ENVIRONMENT)):
        values = flatten(artifacts.read_json(workdir / file))
        rows = [(key, _show(value)) for key, value in values.items()]
        sections.append(Section(title, [Table(("Key", "Value"), rows)], folded=True))
    document = Document(workdir.resolve().name, subtitle, list(facts.items()), sections)
    files.write_atomically(workdir / artifacts.REPORT_MARKDOWN, to_markdown(document))
    path = workdir / artifacts.REPORT
    files.write_atomically(path, to_html(document, workdir))
    return path


def _reproduce_section(workdir: Path) -> Section:
    """Says how the run is made again, with its versions."""
    blocks: list[Block] = []
    if (command := reproduce.command(workdir)) is not None:
        blocks += [Text("Makes this run again, in a new folder:"), Code(command)]
    if versions := ", ".join(reproduce.versions(workdir)):
        text = f"With {versions}. On CPUs equal versions and device counts give equal numbers, bit for bit."
        blocks.append(Text(text))
    if started := reproduce.started(workdir):
        blocks.append(Code(started, summary="the command as it was given"))
    return Section("Reproduce", blocks)


def _downloads_section(workdir: Path, sections: Sequence[Section]) -> Section:
    """Offers the run's files and the sections' pictures: as SVG, or as PNG where that is too large."""

    def size(name: str) -> float:
        path = workdir / name
        return path.stat().st_size if path.is_file() else float("inf")

    names = [*DOWNLOADS]
    for stem in [b.stem for section in sections for b in section.blocks if isinstance(b, Picture)]:
        drawn, pixels = f"{stem}.svg", f"{stem}.png"
        names.append(drawn if size(drawn) <= LARGEST_DOWNLOAD else pixels)
    small = [name for name in names if size(name) <= LARGEST_DOWNLOAD]
    return Section("Downloads", [Text("Within this page, wherever it is read:"), Files(small)])


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
