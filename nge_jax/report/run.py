"""The report of a run, from the files of its working directory: pictures, report.md, report.html.

It reads config.json, environment.json and metrics.jsonl, of a search also genotype.json,
architecture.npz and (unless it was by the gradient) history.npz, and overwrites only its own files,
so it can be made again at any time.
"""

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nge_jax.report import cell as draw
from nge_jax.report import curves as report_curves
from nge_jax.report import history as strategy_report
from nge_jax.report.document import (
    Block,
    Caution,
    Code,
    Document,
    Picture,
    Section,
    Table,
    Text,
    to_html,
    to_markdown,
)
from nge_jax.runtime import artifacts
from nge_jax.runtime import config as config_checks
from nge_jax.runtime.artifacts import EpochRows
from nge_jax.space.genotype import (
    CELL_TYPES,
    NUM_INPUTS,
    OPERATIONS,
    Genotype,
    operation_counts,
    to_json,
)

Curves = Mapping[str, Mapping[str, str]]  # for each panel: names of series, and keys of metrics
Columns = Mapping[str, tuple[str, str]]  # for each column: a key of metrics, how it is written
Size = tuple[str, int, int]  # a network's name, its parameters, multiply-adds for one image

TRAINING, VALIDATION = "training half (weights)", "validation half (embedding)"
SEARCH_CURVES = {
    "Loss": {TRAINING: "weight_loss", VALIDATION: "embedding_loss"},
    "Accuracy": {TRAINING: "weight_accuracy", VALIDATION: "embedding_accuracy"},
    "Entropy of P, nats": {"normal": "entropy_normal", "reduction": "entropy_reduction"},
}
TRAIN_CURVES = {
    "Loss": {"training": "train_loss"},
    "Accuracy": {"training": "train_accuracy"},
    "Learning rate": {"learning rate": "learning_rate"},
}
COMMON_COLUMNS = {
    "Epoch": ("epoch", ".0f"),
    "Seconds": ("seconds", ".1f"),
    "Images/s": ("images_per_second", ".1f"),
    "Learning rate": ("learning_rate", ".3g"),
}
SEARCH_COLUMNS = {
    **COMMON_COLUMNS,
    "Training loss": ("weight_loss", ".4f"),
    "Validation loss": ("embedding_loss", ".4f"),
    "Training accuracy": ("weight_accuracy", ".2%"),
    "Validation accuracy": ("embedding_accuracy", ".2%"),
    "Entropy, normal": ("entropy_normal", ".4f"),
    "Entropy, reduction": ("entropy_reduction", ".4f"),
}
COUNT_COLUMNS = {
    cell_type: {name: (f"{name}_{cell_type}", ".0f") for name in OPERATIONS}
    for cell_type in CELL_TYPES
}
TRAIN_COLUMNS = {
    **COMMON_COLUMNS,
    "Loss": ("train_loss", ".4f"),
    "Accuracy": ("train_accuracy", ".2%"),
}
# The headline: keys of the config that a reader asks for first; each task has some of them.
FACTS = {
    "Data set": "data.name",
    "Strategy": "search.strategy",
    "Edge model": "search.edge_model",
    "Genotype": "genotype",
    "Seed": "seed",
}
NEAR_UNIFORM = 0.95  # of the entropy of equal probabilities: the choice is then a close one


def write_search_report(workdir: Path, sizes: Iterable[Size], train_command: str) -> Path:
    """Draws the pictures of a search and writes its report.md and report.html; returns the latter.

    `sizes` are those of networks made of the cells found, `train_command` trains one. Raises
    ValueError, in one line, where a file is missing or is not what a search writes.
    """
    workdir = Path(workdir)
    found = artifacts.read_genotype(workdir / artifacts.GENOTYPE)
    columns = [SEARCH_COLUMNS, *COUNT_COLUMNS.values()]
    epochs = _read_metrics(workdir, *columns)
    probs, operations, edges = artifacts.read_architecture(workdir / artifacts.ARCHITECTURE)
    facts = _facts(workdir, epochs)
    told = None  # the history of a search that asked for cells
    if facts.get("Strategy", "gradient") == "gradient":
        facts["Supernet accuracy"] = f"{epochs[-1]['embedding_accuracy']:.2%}"
    else:
        told = artifacts.read_history(workdir / artifacts.HISTORY)
        facts |= strategy_report.facts(told)

    probabilities = []
    for c, cell_type in enumerate(CELL_TYPES):
        stem = f"probabilities_{cell_type}"
        pairs, _ = found.cell(cell_type)
        figure = report_curves.probabilities_figure(probs[:, c], operations, edges, pairs)
        draw.save(figure, workdir / stem)
        alt = f"Probability of each operation over the epochs, on each edge of the {cell_type} cell"
        caption = f"The {cell_type} cell: probabilities P over the epochs, a panel for each edge. "
        caption += "Kept edges are titled with their operation, which has the thick line."
        probabilities.append(Picture(stem, alt, caption))
    tables = [_epoch_table(epochs, SEARCH_COLUMNS)]
    for cell_type, counts in COUNT_COLUMNS.items():
        tables.append(Text(f"Operations of the {cell_type} cell that leads at the epoch's end:"))
        tables.append(_epoch_table(epochs, {"Epoch": COMMON_COLUMNS["Epoch"], **counts}))
    cautions = [Caution(text) for text in search_warnings(found, epochs, by_gradient=told is None)]
    sections = [
        Section("Cells", [*cautions, *_cell_blocks(workdir, found)]),
        *([] if told is None else [strategy_report.section(workdir, told)]),
        Section("Train it", [Text("Trains the cells from scratch:"), Code(train_command)]),
        Section("Sizes", [_size_table(sizes)]),
        Section("Curves", [_curves_picture(workdir, epochs, SEARCH_CURVES)]),
        Section("Probabilities", probabilities),
        Section("Epochs", tables),
    ]
    return _write(workdir, "Architecture search", facts, sections)


def write_train_report(
    workdir: Path,
    sizes: Iterable[Size],
    *,
    title: str = "Training",
    results: Mapping[str, str] | None = None,
    first: Sequence[Section] = (),
) -> Path:
    """Writes the report of a training; the cells are drawn where genotype.json is there.

    `results` go into the headline, `first` are sections before all others. Returns report.html.
    Raises ValueError, in one line, where a file is missing or is not what a training writes.
    """
    workdir = Path(workdir)
    epochs = _read_metrics(workdir, TRAIN_COLUMNS)
    facts = _facts(workdir, epochs)
    last = epochs[-1]
    if "test_accuracy" in last:
        facts["Test accuracy"] = f"{last['test_accuracy']:.2%} of {last['test_examples']:,} images"
    facts |= results or {}
    sections = [
        Section("Curves", [_curves_picture(workdir, epochs, TRAIN_CURVES)]),
        Section("Sizes", [_size_table(sizes)]),
        Section("Epochs", [_epoch_table(epochs, TRAIN_COLUMNS)]),
    ]
    if (workdir / artifacts.GENOTYPE).exists():
        found = artifacts.read_genotype(workdir / artifacts.GENOTYPE)
        sections.insert(1, Section("Cells", _cell_blocks(workdir, found)))
    return _write(workdir, title, facts, [*first, *sections])


def search_warnings(found: Genotype, epochs: EpochRows, *, by_gradient: bool = True) -> list[str]:
    """What a reader should know before trusting the cells found; only the gradient's are derived from P."""
    warnings = []
    for cell_type in CELL_TYPES:
        edges = len(found.cell(cell_type)[0])
        skips = operation_counts(found, cell_type)["skip_connect"]
        if 2 * skips >= edges:
            half = [2 * epoch[f"skip_connect_{cell_type}"] >= edges for epoch in epochs]
            run = len(list(itertools.takewhile(bool, reversed(half))))
            since = f"; half or more since epoch {epochs[-run]['epoch']}" if run else ""
            warnings.append(
                f"skip_connect takes {skips} of the {edges} edges of the {cell_type} cell{since}. "
                "Such cells do well in the supernet and often worse when trained from scratch."
            )
        entropy, largest = epochs[-1][f"entropy_{cell_type}"], math.log(len(OPERATIONS))
        if by_gradient and entropy > NEAR_UNIFORM * largest:
            warnings.append(
                f"The probabilities of the {cell_type} cell are still close to equal (entropy "
                f"{entropy:.3f} of at most {largest:.3f} nats): small differences chose the cell."
            )
    return warnings


def _read_metrics(workdir: Path, *columns: Columns) -> EpochRows:
    keys = [key for column in columns for key, _ in column.values()]
    return artifacts.read_metrics(workdir / artifacts.METRICS, keys)


def _facts(workdir: Path, epochs: EpochRows) -> dict[str, str]:
    config = config_checks.flatten(artifacts.read_json(workdir / artifacts.CONFIG))
    device = artifacts.read_json(workdir / artifacts.ENVIRONMENT, ("device_kind", "device_count"))
    minutes, seconds = divmod(round(sum(epoch["seconds"] for epoch in epochs)), 60)
    hours, minutes = divmod(minutes, 60)
    return {name: _show(config[key]) for name, key in FACTS.items() if key in config} | {
        "Device": f"{device['device_count']} × {device['device_kind']}",
        "Epochs": str(epochs[-1]["epoch"]),
        "Duration": f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s",
    }


def _cell_blocks(workdir: Path, found: Genotype) -> list[Block]:
    blocks = []
    for cell_type in CELL_TYPES:
        pairs, concat = found.cell(cell_type)
        draw.save(draw.cell_figure(pairs, concat), workdir / f"cell_{cell_type}")
        edges = [
            f"{_node_name(i)} to {_node_name(NUM_INPUTS + j // 2)} {operation}"
            for j, (operation, i) in enumerate(pairs)
        ]
        output = ", ".join(map(_node_name, concat))
        alt = f"The {cell_type} cell: {'; '.join(edges)}; cₖ concatenates {output}"
        caption = f"The {cell_type} cell, from the two cells before it, cₖ₋₂ and cₖ₋₁, to cₖ."
        blocks.append(Picture(f"cell_{cell_type}", alt, caption))
    return [*blocks, Code(to_json(found))]


def _node_name(node: int) -> str:
    return ("cₖ₋₂", "cₖ₋₁")[node] if node < NUM_INPUTS else str(node - NUM_INPUTS)


def _curves_picture(workdir: Path, epochs: EpochRows, curves: Curves) -> Picture:
    panels = {
        title: {name: [epoch[key] for epoch in epochs] for name, key in series.items()}
        for title, series in curves.items()
    }
    draw.save(
        report_curves.curves_figure([epoch["epoch"] for epoch in epochs], panels),
        workdir / "curves",
    )
    return Picture("curves", f"{', '.join(panels)} over the epochs", "After each epoch.")


def _epoch_table(epochs: EpochRows, columns: Columns) -> Table:
    rows = [[format(epoch[key], form) for key, form in columns.values()] for epoch in epochs]
    return Table(list(columns), rows)


def _size_table(sizes: Iterable[Size]) -> Table:
    header = ("Network", "Parameters", "Multiply-adds an image")
    return Table(header, [(name, f"{count:,}", f"{adds:,}") for name, count, adds in sizes])


def _write(
    workdir: Path, subtitle: str, facts: Mapping[str, str], sections: Sequence[Section]
) -> Path:
    sections = list(sections)
    for title, file in (("Settings", artifacts.CONFIG), ("Environment", artifacts.ENVIRONMENT)):
        values = config_checks.flatten(artifacts.read_json(workdir / file))
        rows = [(key, _show(value)) for key, value in values.items()]
        sections.append(Section(title, [Table(("Key", "Value"), rows)], folded=True))
    document = Document(workdir.resolve().name, subtitle, list(facts.items()), sections)
    (workdir / artifacts.REPORT_MARKDOWN).write_text(to_markdown(document), encoding="utf-8")
    path = workdir / artifacts.REPORT
    path.write_text(to_html(document, workdir), encoding="utf-8")
    return path


def _show(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
