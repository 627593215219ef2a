"""Makes Table 4 on NAS-Bench-201, a benchmark whose table holds the true accuracy of every cell.

  python experiments/table4_nas_bench_201.py --table=nas_bench_201.npz --data_dir=DIR               hours on a CPU
  python experiments/table4_nas_bench_201.py --table=nas_bench_201.npz --scale=smoke                does it run?
  python experiments/table4_nas_bench_201.py --table=nas_bench_201.npz --scale=paper --jobs=4       on a GPU
  python experiments/table4_nas_bench_201.py --table=nas_bench_201.npz --models=nge,alpha --alternations=epoch,batch
  python experiments/table4_nas_bench_201.py --table=nas_bench_201.npz --table_only                 the finished runs

Each seed, edge model, relaxation and alternation has a search. No cell is trained, because the benchmark's table holds
the accuracy of every trained cell. Random cells of the table are the baseline. The command runs the missing searches,
and continues when started again. It writes OUT/table4_nas_bench_201.md, .html and pictures.
"""

import argparse
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from nge_jax.errors import InputError
from nge_jax.report.document import Picture, Section, Table, Text
from nge_jax.report.figure import STYLE, new_figure
from nge_jax.settings.configs import find_config, load_module
from nge_jax.space import nas_bench_201
from nge_jax.space.cell import derive
from nge_jax.space.nas_bench_201 import TESTS, AccuracyTable, BenchCell
from nge_jax.workdir import artifacts
from paper import plan, runs, tables
from paper.runs import Run

CONFIG = "configs/search_nas_bench_201.py"
SEEDS = {"smoke": [0], "small": [0, 1, 2, 3, 4], "paper": [0, 1, 2, 3, 4]}
ALTERNATIONS = ("epoch", "batch")
RANDOM, BEST = "random cells of the table", "best of the table"
# The benchmark's authors report these test accuracies of other searches: CIFAR-10, CIFAR-100, ImageNet16-120.
# GDAS's is by the form with the scalars of all operations (`gumbel.all_scalars`), which no row here has.
PUBLISHED = {
    "DARTS, published": ("54.30", "15.61", "16.32"),
    "GDAS with all scalars, published": ("93.61", "", ""),
}


class Row(NamedTuple):
    """A row of the table: the settings that the row's searches share. The row has a search for each seed."""

    model: str
    relaxation: str
    alternation: str

    @property
    def name(self) -> str:
        """Joins the settings that differ from the paper's search."""
        others = [self.relaxation] * (self.relaxation != "softmax")
        others += [self.alternation] * (self.alternation != "epoch")
        return "_".join((self.model, *others))


def relaxations() -> list[str]:
    """Lists the relaxations that the config has words for."""
    variants = load_module(find_config(CONFIG)).VARIANTS
    tables_of_words = [words for words in variants if "softmax" in words]
    return [word for words in tables_of_words for word in words] or ["softmax"]


def search(options: plan.Options, row: Row, seed: int) -> Run:
    """Plans a search."""
    edge_model, adjacency = plan.MODELS[row.model]
    words = [row.relaxation] * (row.relaxation != "softmax")
    words += [edge_model, plan.SIZES[options.scale]]
    settings = {
        "seed": seed,
        **plan.adjacency_setting(adjacency),
        "search.alternation": row.alternation,
        "data.table": str(options.table.absolute()),
    }
    config = ":".join((CONFIG, ",".join(filter(None, words))))
    path = options.out / "nas_bench_201" / f"{row.name}-{seed}"
    return Run(path, config, settings | plan.data(options))


def cell_found(run: Run) -> BenchCell:
    """Reads the cell of a finished search."""
    path = run.workdir / artifacts.GENOTYPE
    cell = artifacts.read_cell(path)
    if not isinstance(cell, BenchCell):
        raise InputError(f"{path}: expected a cell of NAS-Bench-201, found one of another space")
    return cell


def tests_of(table: AccuracyTable, searches: Sequence[Run]) -> np.ndarray:
    """Looks up the test accuracies [searches, 3] of the cells found, in percent."""
    cells = [cell_found(run).operations[None] for run in searches]
    if not cells:
        return np.zeros((0, len(TESTS)))
    return nas_bench_201.test_accuracies(table, np.stack(cells))


def table_row(name: str, tests: np.ndarray, searches: Sequence[Run]) -> tuple[str, ...]:
    """Makes a row of the table. `tests` has the shape [n, 3]."""
    spreads = [tables.spread([v for v in column if np.isfinite(v)]) for column in tests.T.tolist()]
    entropies = tables.results(searches, "entropy_normal")
    return name, *spreads, str(len(tests)), tables.spread(entropies, ".3f")


def search_row(table: AccuracyTable, run: Run) -> tuple[str, ...]:
    """Makes a row that tells what a finished search found."""
    cell = cell_found(run)
    counts = cell.operation_counts("normal")
    accuracy = nas_bench_201.accuracies(table, cell)["CIFAR-10"]
    shown = [
        tables.ABSENT if value is None else f"{value:.2f}"
        for value in (accuracy["validation"], accuracy["test"])
    ]
    last = artifacts.read_metrics(run.workdir / artifacts.METRICS, ("embedding_accuracy",))[-1]
    supernet = f"{100 * last['embedding_accuracy']:.2f}"
    skips, nones = counts["skip_connect"], counts["none"]
    return run.workdir.name, supernet, *shown, str(skips), str(nones), cell.cell


def curves(table: AccuracyTable, searches: Mapping[str, Sequence[Run]]) -> Figure:
    """Draws the CIFAR-10 test accuracy of P's most probable cell over the epochs: a line a search, a color a row."""
    with rc_context(STYLE):
        figure = new_figure(6.4, 3.2)
        axes = figure.subplots()
        for number, (name, row_searches) in enumerate(searches.items()):
            for index, run in enumerate(row_searches):
                probs, space = artifacts.read_architecture(run.workdir / artifacts.ARCHITECTURE)
                cells = [derive(p, space) for p in probs]
                operations = [c.operations[None] for c in cells if isinstance(c, BenchCell)]
                tests = nas_bench_201.test_accuracies(table, np.stack(operations))[:, 0]
                label = None if index else name
                axes.plot(tests, color=f"C{number % 10}", linewidth=1.1, alpha=0.8, label=label)
        axes.set_xlabel("epoch")
        axes.set_title("CIFAR-10 test accuracy of the cell that P favors, %")
        if axes.lines:
            axes.legend(fontsize=7)
        figure.tight_layout(pad=0.6)
        figure.draw_without_rendering()
    return figure


def main(options: plan.Options) -> None:
    table = nas_bench_201.load(options.table)
    rows = itertools.product(options.models, options.relaxations, options.alternations)
    rows = [Row(*row) for row in rows]
    searches = {row.name: [search(options, row, seed) for seed in options.seeds] for row in rows}
    plan.complete(options, *searches.values())
    finished = {name: list(filter(runs.is_finished, row)) for name, row in searches.items()}

    tests = {name: tests_of(table, row) for name, row in finished.items()}
    header = ("search", *(f"{name} test, %" for name in TESTS), "searches", "entropy of P, nats")
    lines = [table_row(name, row_tests, finished[name]) for name, row_tests in tests.items()]
    known = [column[np.isfinite(column)] for column in table.tests.T]
    drawn = [tables.spread(column.tolist()) for column in known]
    lines.append((RANDOM, *drawn, f"all {len(table.tests):,} cells", tables.ABSENT))
    best = [f"{column.max():.2f}" if len(column) else tables.ABSENT for column in known]
    lines.append((BEST, *best, tables.ABSENT, tables.ABSENT))
    for name, values in PUBLISHED.items():
        lines.append((name, *(v or tables.ABSENT for v in values), tables.ABSENT, tables.ABSENT))
    search_rows = [search_row(table, run) for row in finished.values() for run in row]
    columns = (
        "search",
        "supernet's validation accuracy, %",
        "true validation, %",
        "true test, %",
        "skip_connect",
        "none",
        "cell",
    )
    note = (
        "Mean ± sd over seeds of the benchmark's test accuracies after 200 epochs, which no search has seen. The first "
        "row's search is the paper's, with nodes that hear later ones (Eq. 6 as printed); a cell drawn at random is "
        "what a search has to beat."
    )
    label = "CIFAR-10 test accuracy of the cell found, %"
    title = "table4_nas_bench_201"
    sections = [
        Section(
            "Searches of NAS-Bench-201",
            [Text(note), Table(header, lines), Picture(f"{title}_tests", label, f"{label}.")],
        ),
        Section(
            "Each search",
            [
                Table(columns, search_rows),
                Picture(f"{title}_curves", "Accuracies over the epochs", "A line a search."),
            ],
        ),
    ]
    dots = {name: row_tests[:, 0].tolist() for name, row_tests in tests.items()}
    figure = tables.spread_figure(label, dots, {})
    titles = "NAS-Bench-201", "searches whose cells' true accuracies are known"
    tables.write(options, title, titles, sections, tests=figure, curves=curves(table, finished))


def parser() -> argparse.ArgumentParser:
    """Makes the parser of this table's flags."""
    flags = plan.parser(__doc__)
    flags.add_argument("--table", type=Path, required=True, help="table of NAS-Bench-201, an .npz")
    several = {
        "models": (list(plan.MODELS), ["nge", "alpha", "plain", "rnn"]),
        "relaxations": (relaxations(), ["softmax"]),
        "alternations": (ALTERNATIONS, ["epoch"]),
    }
    for name, (known, default) in several.items():
        text = f"some of {','.join(known)}; default: {','.join(default)}"
        flags.add_argument(f"--{name}", type=plan.some_of(known), default=default, help=text)
    return flags


if __name__ == "__main__":
    plan.start(main, parser(), SEEDS)
