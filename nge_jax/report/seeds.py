"""Several searches in one workdir: their values and cells side by side, means and spreads over the seeds.

Searches of several edge models are grouped by model, and searches that pay differently for parameters by weight. Each
group has a mean and a spread.
"""

import json
import statistics
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nge_jax.report import compare, figure
from nge_jax.report import run as report_run
from nge_jax.report.compare import Run, curves_figure, operations
from nge_jax.report.document import Code, Picture, Section, Table, Text
from nge_jax.report.pareto import cells as cells_by_size
from nge_jax.report.parts import read
from nge_jax.space.cell import Cell
from nge_jax.workdir import artifacts
from nge_jax.workdir.artifacts import EpochRows, Member

# Titles, and keys in the last row of metrics.
METRICS = {
    "Training loss": "weight_loss",
    "Training accuracy": "weight_accuracy",
    "Validation loss": "embedding_loss",
    "Validation accuracy": "embedding_accuracy",
}
CELL, RANDOM_CELLS = "cell_accuracy", "random_cells_accuracy"  # in the search's weights
TEST = "test_accuracy"  # the table's accuracy of the NAS-Bench-201 cell on CIFAR-10
COLUMNS = 80

Groups = dict[str, Any]  # `_summarize` makes them: {edge model, or weight: group}
MODELS, WEIGHTS = "edge_models", "cost_weights"  # the names of several groups in seeds.json


def spread(values: Sequence[float]) -> float:
    """Returns the standard deviation of a sample (of n values over n - 1); 0 of a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def write_seeds_report(workdir: Path, commands: Mapping[str, str] = MappingProxyType({})) -> Path:
    """Writes seeds.json, and one report.md and report.html with pictures on all searches in the workdir.

    Args:
      workdir: the folder of all searches.
      commands: train the searches' cells, by folder, for searches that pay differently for parameters.

    Raises:
      InputError, GenotypeError: a file is missing or is not what a search writes.

    Returns:
      The path of report.html.
    """
    runs = _read_runs(workdir)
    groups = _summarize(workdir, runs)
    by = WEIGHTS if any(m.cost_weight is not None for m in runs) else MODELS
    # Where only seeds differ, the only group is the file's content.
    content = groups.get("", {by: groups})
    artifacts.write_json(workdir / artifacts.SEEDS, content)
    epochs = artifacts.read_metrics(workdir / artifacts.METRICS, ())
    titles = {title: key for title, key in METRICS.items() if "acc" in key}
    titles |= {"Cell in its weights": CELL, "Random cells": RANDOM_CELLS, "CIFAR-10 test": TEST}
    known = _common(groups)
    # A weight beside an accuracy would read as a second number. The table has both in columns.
    shown = {} if by == WEIGHTS else titles
    facts = {title: _means(groups, key) for title, key in shown.items() if key in known}
    told = _told(workdir, epochs, runs)
    differ = "seeds" if "" in groups else by.replace("_", " ")
    sections = [
        Section(differ.capitalize(), [Text(_explanation(known)), _table(groups, by)]),
        *cells_by_size.of_searches(workdir, commands),
        _cells_section(workdir, runs),
        _curves_section(workdir, runs),
    ]
    return report_run.write(
        workdir, f"Architecture searches of several {differ}", facts | told, sections
    )


def _told(workdir: Path, epochs: EpochRows, runs: Iterable[Member]) -> dict[str, str]:
    """Returns the facts that all searches have in common, and the lists in which the searches differ."""
    several = {
        "Edge model": ("Edge models", dict.fromkeys(m.edge_model for m in runs if m.edge_model)),
        "Seed": ("Seeds", dict.fromkeys(str(member.seed) for member in runs)),
    }
    told = {}
    for name, value in report_run.run_facts(workdir, epochs).items():
        title, values = several.get(name, (name, ()))
        told |= {title: ", ".join(values)} if values else {name: value}
    if weights := dict.fromkeys(m.group for m in runs if m.cost_weight is not None):
        told["Cost weights"] = ", ".join(weights)
    return told


def to_text(workdir: Path) -> str:
    """Returns the table of `write_seeds_report` for a terminal, and the operations of each cell."""
    summary, runs = artifacts.read_json(workdir / artifacts.SEEDS), _read_runs(workdir)
    by = WEIGHTS if WEIGHTS in summary else MODELS
    lines = [compare.to_text(_table(summary.get(by, {"": summary}), by))]
    for member, run in runs.items():
        assert run.cell is not None, "their summary has been written"
        for kind in run.cell.space.cell_types:
            line = f"{member}, {kind} cell: {operations(run.cell, kind)}"
            lines += textwrap.wrap(line, COLUMNS, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines)


def _read_runs(workdir: Path) -> dict[Member, Run]:
    members = artifacts.read_members(workdir)
    runs = read.read_runs([workdir / member.folder for member in members])
    return dict(zip(members, runs, strict=True))


def _summarize(workdir: Path, runs: Mapping[Member, Run]) -> Groups:
    """Returns the groups of seeds.json by edge model or by weight, or by "" where only seeds differ.

    A group has the folder, the cell and the numbers of each seed, and the numbers' means and spreads.
    """
    groups: Groups = {}
    for member, run in runs.items():
        folder = workdir / member.folder
        # Read once more, since here the file has to be there.
        cell = artifacts.read_cell(folder / artifacts.GENOTYPE)
        of = {
            "folder": member.folder,
            "cell": json.loads(cell.to_json()),
            "values": _values(folder, run, cell),
        }
        groups.setdefault(member.group, {})[str(member.seed)] = of
    return {model: _with_means(seeds) for model, seeds in groups.items()}


def _with_means(seeds: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    common = set.intersection(*(set(of["values"]) for of in seeds.values()))
    numbers = {
        key: [of["values"][key] for of in seeds.values()]
        for key in next(iter(seeds.values()))["values"]
        if key in common
    }
    return {
        "seeds": seeds,
        "mean": {key: statistics.fmean(values) for key, values in numbers.items()},
        "sd": {key: spread(values) for key, values in numbers.items()},
    }


def _values(folder: Path, run: Run, cell: Cell) -> dict[str, float]:
    kinds = cell.space.cell_types
    (*_, last) = artifacts.read_metrics(folder / artifacts.METRICS, [*METRICS.values()])
    keys = [*METRICS.values(), *(f"entropy_{kind}" for kind in kinds if f"entropy_{kind}" in last)]
    values = {key: float(last[key]) for key in keys}
    for kind in kinds:
        values[f"skip_connect_{kind}"] = cell.operation_counts(kind)["skip_connect"]
    if run.beside is not None:
        values[CELL], values[RANDOM_CELLS] = run.beside
    if (file := folder / artifacts.ACCURACIES).is_file():
        test = artifacts.read_json(file, ("found",))["found"]["CIFAR-10"]["test"]
        values |= {} if test is None else {TEST: test / 100}
    return values


def _common(groups: Groups) -> list[str]:
    """Returns the names of the numbers that all searches have."""
    first, *others = [group["mean"] for group in groups.values()]
    return [key for key in first if all(key in mean for mean in others)]


def _table(groups: Groups, by: str) -> Table:
    """Makes a row for each seed of each group, and a row each for the mean and the standard deviation."""
    first = {MODELS: "Search", WEIGHTS: "Weight"}[by]
    known = _common(groups)
    skips = "skip_connect_"
    kinds = [key.removeprefix(skips) for key in known if key.startswith(skips)]
    below = f" {'/'.join(kind[0] for kind in kinds)}" if len(kinds) > 1 else ""
    columns = {
        "Train acc.": (("weight_accuracy",), ".2%"),
        "Valid acc.": (("embedding_accuracy",), ".2%"),
        f"Entropy{below}": ([f"entropy_{kind}" for kind in kinds], ".3f"),
        f"Skips{below}": ([f"{skips}{kind}" for kind in kinds], ".3g"),
        "Cell acc.": ((CELL,), ".2%"),
        "Random": ((RANDOM_CELLS,), ".2%"),
        "Test acc.": ((TEST,), ".2%"),
    }
    columns = {t: (keys, form) for t, (keys, form) in columns.items() if {*keys} <= {*known}}
    rows = [
        (
            f"{model} {name}".strip(),
            *(
                "/".join(format(values[key], form) for key in keys)
                for keys, form in columns.values()
            ),
        )
        for model, group in groups.items()
        for name, values in _rows(group, by)
    ]
    return Table(["Seed" if "" in groups else first, *columns], rows)


def _rows(group: Mapping[str, Any], by: str) -> list[tuple[str, Mapping[str, float]]]:
    """Returns the names and values of a group's rows; a weight with one seed has one row, without a name."""
    rows = [(seed, of["values"]) for seed, of in group["seeds"].items()]
    if by == WEIGHTS and len(rows) == 1:
        return [("", rows[0][1])]
    return [*rows, ("mean", group["mean"]), ("sd", group["sd"])]


def _explanation(known: Sequence[str]) -> str:
    text = (
        "After the last epoch: accuracies of the supernet on both halves of the training images, the entropy of P in "
        "nats, skip connections of the cell found"
    )
    if CELL in known:
        text += "; the cell's accuracy in the search's weights, and the mean of random cells there"
    return f"{text}. The standard deviation is that of a sample."


def _means(groups: Groups, key: str) -> str:
    """Writes mean and standard deviation of an accuracy, "51.20% ± 1.02%"; several edge models each by name."""
    return ", ".join(
        f"{model} {group['mean'][key]:.2%} ± {group['sd'][key]:.2%}".lstrip()
        for model, group in groups.items()
    )


def _cells_section(workdir: Path, runs: Mapping[Member, Run]) -> Section:
    several = [*runs.values()]
    first = several[0].cell
    assert first is not None, "they have been read"
    pictures = [
        compare.cell_pictures(several, kind, workdir, figure.save)
        for kind in first.space.cell_types
    ]
    cells = [
        Code(run.cell.to_json(), summary=f"{run.name}/{artifacts.GENOTYPE}")
        for run in several
        if run.cell is not None
    ]
    return Section("Cells", [compare.operations_table(several), *pictures, *cells])


def _curves_section(workdir: Path, runs: Mapping[Member, Run]) -> Section:
    several = [*runs.values()]
    figure.save(curves_figure(several), workdir / "curves")
    figure.save_svg(curves_figure(several, downwards=True), workdir / "curves_narrow")
    alt = f"Loss and accuracy of both halves over the epochs, of {len(several)} searches"
    caption = "After each epoch; losses on a logarithmic scale."
    return Section("Curves", [Picture("curves", alt, caption, narrow_stem="curves_narrow")])
