"""Searches of several seeds in one workdir: their values and cells side by side, their means and spreads."""

import json
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nge_jax.report import compare, figure
from nge_jax.report import run as report_run
from nge_jax.report.compare import Run, curves_figure, operations
from nge_jax.report.document import Code, Picture, Section, Table, Text
from nge_jax.runtime import artifacts
from nge_jax.space import found

# Of the last row of metrics: titles, keys.
METRICS = {
    "Training loss": "weight_loss",
    "Training accuracy": "weight_accuracy",
    "Validation loss": "embedding_loss",
    "Validation accuracy": "embedding_accuracy",
}
CELL, RANDOM_CELLS = "cell_accuracy", "random_cells_accuracy"  # in the search's weights
TEST = "test_accuracy"  # of NAS-Bench-201's cell on CIFAR-10, by its table
COLUMNS = 80


def spread(values: Sequence[float]) -> float:
    """Returns the standard deviation of a sample (of n values over n - 1); 0 of a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def write_seeds_report(workdir: Path) -> Path:
    """Writes seeds.json, and of the searches in the workdir one report.md and report.html with their pictures.

    Raises:
      InputError, GenotypeError: a file is missing or is not what a search writes.

    Returns:
      The path of report.html.
    """
    runs = _read_runs(workdir)
    summary = _summarize(workdir, runs)
    artifacts.write_json(workdir / artifacts.SEEDS, summary)
    epochs = artifacts.read_metrics(workdir / artifacts.METRICS, ())
    facts = {title: _mean(summary, key, ".2%") for title, key in METRICS.items() if "acc" in key}
    if CELL in summary["mean"]:
        facts["Cell in its weights"] = _mean(summary, CELL, ".2%")
        facts["Random cells"] = _mean(summary, RANDOM_CELLS, ".2%")
    if TEST in summary["mean"]:
        facts["CIFAR-10 test"] = _mean(summary, TEST, ".2%")
    told = report_run.run_facts(workdir, epochs)
    told = {
        "Seeds" if k == "Seed" else k: ", ".join(runs) if k == "Seed" else v
        for k, v in told.items()
    }
    sections = [
        Section("Seeds", [Text(_explanation(summary)), _table(summary)]),
        _cells_section(workdir, runs),
        _curves_section(workdir, runs),
    ]
    return report_run.write(
        workdir, "Architecture searches of several seeds", facts | told, sections
    )


def to_text(workdir: Path) -> str:
    """Returns for a terminal the table of `write_seeds_report`, and what each cell is made of."""
    summary = artifacts.read_json(workdir / artifacts.SEEDS, ("seeds", "mean", "sd"))
    lines = [compare.to_text(_table(summary))]
    for seed, run in _read_runs(workdir).items():
        assert run.cell is not None, "their summary has been written"
        for kind in found.space_of(run.cell).cell_types:
            line = f"seed {seed}, {kind} cell: {operations(run.cell, kind)}"
            lines += textwrap.wrap(line, COLUMNS, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines)


def _read_runs(workdir: Path) -> dict[str, Run]:
    seeds = artifacts.read_seeds(workdir)
    runs = compare.read_runs([workdir / artifacts.of_seed(seed) for seed in seeds])
    return dict(zip(map(str, seeds), runs, strict=True))


def _summarize(workdir: Path, runs: Mapping[str, Run]) -> dict[str, Any]:
    """Returns what seeds.json holds: of each seed its folder, its cell and its numbers, their means and spreads."""
    seeds = {}
    for seed, run in runs.items():
        folder = artifacts.of_seed(int(seed))
        # Once more, since here it has to be there.
        cell = artifacts.read_found(workdir / folder / artifacts.GENOTYPE)
        values = _values(workdir / folder, run, cell)
        seeds[seed] = {"folder": folder, "cell": json.loads(found.to_json(cell)), "values": values}
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


def _values(folder: Path, run: Run, cell: found.Found) -> dict[str, float]:
    kinds = found.space_of(cell).cell_types
    keys = [*METRICS.values(), *(f"entropy_{kind}" for kind in kinds)]
    (*_, last) = artifacts.read_metrics(folder / artifacts.METRICS, keys)
    values = {key: float(last[key]) for key in keys}
    for kind in kinds:
        values[f"skip_connect_{kind}"] = found.operation_counts(cell, kind)["skip_connect"]
    if run.beside is not None:
        values[CELL], values[RANDOM_CELLS] = run.beside
    if (file := folder / artifacts.ACCURACIES).is_file():
        test = artifacts.read_json(file, ("found",))["found"]["CIFAR-10"]["test"]
        values |= {} if test is None else {TEST: test / 100}
    return values


def _table(summary: Mapping[str, Any]) -> Table:
    """Makes a row for each seed, and one each for the mean and the standard deviation."""
    mean = summary["mean"]
    kinds = [key.removeprefix("entropy_") for key in mean if key.startswith("entropy_")]
    below = f" {'/'.join(kind[0] for kind in kinds)}" if len(kinds) > 1 else ""
    columns = {
        "Train acc.": (("weight_accuracy",), ".2%"),
        "Valid acc.": (("embedding_accuracy",), ".2%"),
        f"Entropy{below}": ([f"entropy_{kind}" for kind in kinds], ".3f"),
        f"Skips{below}": ([f"skip_connect_{kind}" for kind in kinds], ".3g"),
        "Cell acc.": ((CELL,), ".2%"),
        "Random": ((RANDOM_CELLS,), ".2%"),
        "Test acc.": ((TEST,), ".2%"),
    }
    columns = {t: (keys, form) for t, (keys, form) in columns.items() if set(keys) <= mean.keys()}
    rows = [
        (
            name,
            *(
                "/".join(format(values[key], form) for key in keys)
                for keys, form in columns.values()
            ),
        )
        for name, values in (
            *((seed, of["values"]) for seed, of in summary["seeds"].items()),
            ("mean", mean),
            ("sd", summary["sd"]),
        )
    ]
    return Table(["Seed", *columns], rows)


def _explanation(summary: Mapping[str, Any]) -> str:
    text = (
        "After the last epoch: accuracies of the supernet on both halves of the training images, the entropy of P in "
        "nats, skip connections of the cell found"
    )
    if CELL in summary["mean"]:
        text += "; the cell's accuracy in the search's weights, and the mean of random cells there"
    return f"{text}. The standard deviation is that of a sample."


def _mean(summary: Mapping[str, Any], key: str, form: str) -> str:
    return f"{summary['mean'][key]:{form}} ± {summary['sd'][key]:{form}}"


def _cells_section(workdir: Path, runs: Mapping[str, Run]) -> Section:
    several = [*runs.values()]
    first = several[0].cell
    assert first is not None, "they have been read"
    pictures = [
        compare.cell_pictures(several, kind, workdir, figure.save)
        for kind in found.space_of(first).cell_types
    ]
    cells = [
        Code(found.to_json(run.cell), summary=f"{run.name}/{artifacts.GENOTYPE}")
        for run in several
        if run.cell is not None
    ]
    return Section("Cells", [compare.operations_table(several), *pictures, *cells])


def _curves_section(workdir: Path, runs: Mapping[str, Run]) -> Section:
    several = [*runs.values()]
    figure.save(curves_figure(several), workdir / "curves")
    figure.save_svg(curves_figure(several, downwards=True), workdir / "curves_narrow")
    alt = f"Loss and accuracy of both halves over the epochs, of {len(several)} seeds"
    caption = "After each epoch; losses on a logarithmic scale."
    return Section("Curves", [Picture("curves", alt, caption, narrow_stem="curves_narrow")])
