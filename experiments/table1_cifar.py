"""Makes the paper's Table 1: test error on CIFAR-10 and CIFAR-100, parameters and search cost of cells.

  python experiments/table1_cifar.py --data_dir=DIR                  scaled down, two seeds, hours on a CPU
  python experiments/table1_cifar.py --data_dir=DIR --scale=smoke    does it run?
  python experiments/table1_cifar.py --data_dir=DIR --rates          both learning rates, for DARTS_V2
  python experiments/table1_cifar.py --data_dir=DIR --sets=cifar10,cifar10_fast    a second recipe, too
  python experiments/table1_cifar.py --data_dir=DIR --table_only     only the runs finished so far

The rows are the cell of our search with the first seed, DARTS_V2 and three random cells. The scale's recipe trains
each cell with every seed. The command runs the missing runs, and continues when started again. It writes
OUT/table1.md, .html and pictures.
"""

import functools
from collections.abc import Mapping, Sequence

from nge_jax import cost
from nge_jax.data import spec as dataset_spec
from nge_jax.report.document import Picture, Section, Table, Text
from nge_jax.space.genotype import Genotype
from nge_jax.workdir import artifacts
from paper import plan, runs, surrogate, tables
from paper.runs import Run

SEEDS = {"smoke": [0], "small": [0, 1], "paper": [0, 1, 2, 3]}
SETS = {"smoke": ["cifar10"], "small": ["cifar10"], "paper": ["cifar10", "cifar100"]}
OURS, PUBLISHED, RANDOM = "nge (our search)", "DARTS_V2", 3
RATES = 0.25, 0.025  # as printed in the paper; as in DARTS, PC-DARTS and P-DARTS
PAPER = {"cifar10": 2.60, "cifar100": 16.53}  # test error, percent
COLUMNS = *PAPER, "cifar10_fast"  # the last: the recipe `fast`, or the scaled-down `fast`
PAPER_SIZE = "3.5 M"
PAPER_NETWORK = {"cells": 20, "channels": 36}
PAPER_COST = "0.1 device-days (V100)"
STANDARD_RANDOM = "3.05 ± 0.23"  # error of 214 random cells on CIFAR-10, by the standard recipe
SECONDS_A_DAY = 86_400


def row_cells(search: Run) -> dict[str, plan.Cell]:
    """Names the cell of each row."""
    names = [PUBLISHED, *(f"random:{n}" for n in range(RANDOM))]
    return {OURS: plan.derived_cell(search)} | {name: plan.named_cell(name) for name in names}


def row_trainings(options: plan.Options, search: Run, dataset: str) -> dict[str, list[Run]]:
    """Plans the trainings of each row."""
    cells = row_cells(search)
    trainings = plan.trainings(options, dataset, cells)
    if options.rates:
        for rate in RATES:
            trainings[f"{PUBLISHED}, learning rate {rate}"] = [
                plan.training(options, dataset, cells[PUBLISHED], seed, rate)
                for seed in options.seeds
            ]
    return trainings


def sizes(trainings: Sequence[Run]) -> tuple[str, str]:
    """Counts parameters as trained and at the paper's size. All trainings train the same cell."""
    finished = runs.first_finished(trainings)
    if finished is None:
        return tables.ABSENT, tables.ABSENT
    cell = artifacts.read_genotype(finished.workdir / artifacts.GENOTYPE)
    spec = dataset_spec.read(finished.workdir)
    network = artifacts.read_json(finished.workdir / artifacts.CONFIG, ("network",))["network"]
    images = {"classes": len(spec.labels), "image_shape": spec.shape}
    trained = parameters(cell, cells=network["cells"], channels=network["channels"], **images)
    return f"{trained:,}", f"{parameters(cell, **PAPER_NETWORK, **images) / 1e6:.2f} M"


@functools.cache
def parameters(cell: Genotype, **size) -> int:
    """Counts the parameters of a cell's network. `size` goes to `cost.cifar_cost`."""
    return cost.cifar_cost(cell, **size).parameters


def search_cost(search: Run) -> str:
    """Formats the time of a search on the search's devices, without compilation."""
    if not runs.is_finished(search):
        return tables.ABSENT
    rows = artifacts.read_metrics(search.workdir / artifacts.METRICS, ("seconds",))
    keys = ("device_kind", "device_count")
    kind, count = (
        artifacts.read_json(search.workdir / artifacts.ENVIRONMENT, keys)[key] for key in keys
    )
    days = count * sum(row["seconds"] for row in rows) / SECONDS_A_DAY
    return f"{days:.4f} device-days ({kind})"


def table(trainings: Mapping[str, Mapping[str, Sequence[Run]]], search: Run) -> Table:
    """Makes the table. `trainings` maps each data set to the trainings of each row."""
    first = next(iter(trainings.values()))
    random = [f"random:{n}" for n in range(RANDOM)]
    together = [[run for name in random for run in rows[name]] for rows in trainings.values()]
    header = [f"{dataset}: test error, %" for dataset in trainings]
    rows = [
        (
            name,
            *(tables.spread(test_errors(rows[name])) for rows in trainings.values()),
            str(len(test_errors(first[name]))),
            *sizes(first[name]),
            search_cost(search) if name == OURS else tables.ABSENT,
        )
        for name in first
    ]
    absent = [tables.ABSENT] * 4
    errors = [tables.spread(test_errors(cells)) for cells in together]
    count = str(len(test_errors(together[0])))
    rows.append(("the random cells together", *errors, count, *absent[1:]))
    paper = [f"{PAPER[d]:.2f}" if d in PAPER else tables.ABSENT for d in trainings]
    rows.append(
        (f"NGE, {tables.PAPER}", *paper, tables.ABSENT, tables.ABSENT, PAPER_SIZE, PAPER_COST)
    )
    standard = [STANDARD_RANDOM if dataset == "cifar10" else tables.ABSENT for dataset in trainings]
    rows.append(("214 random cells, standard recipe, published", *standard, *absent))
    size = "parameters, 20 cells of 36 channels"
    return Table(("cell", *header, "trainings", "parameters, as trained", size, "search"), rows)


def test_errors(trainings: Sequence[Run]) -> list[float]:
    """Reads the test errors of the finished trainings, in percent."""
    return tables.errors(tables.results(trainings, "test_accuracy"))


def main(options: plan.Options) -> None:
    search = plan.search(options, "nge", options.seeds[0])
    plan.complete(options, [search])
    trainings = {
        dataset: row_trainings(options, search, dataset)
        for dataset in options.sets or SETS[options.scale]
    }
    plan.complete(options, *(row for rows in trainings.values() for row in rows.values()))
    figures, pictures = {}, []
    for dataset, rows in trainings.items():
        label = f"test error on {dataset}, %"
        paper = {OURS: PAPER[dataset]} if dataset in PAPER else {}
        errors = {name: test_errors(row) for name, row in rows.items()}
        figures[dataset] = tables.spread_figure(label, errors, paper)
        pictures.append(Picture(f"table1_{dataset}", label, f"{label}."))
    note = "Mean ± sd over seeds. Parameters are counted without the auxiliary head."
    sections = [Section("Cells", [Text(note), table(trainings, search), *pictures])]
    rated = {name: [cell] for name, cell in row_cells(search).items()}
    sections += surrogate.sections(options, rated)
    title = "Table 1", "cells trained from scratch on CIFAR"
    tables.write(options, "table1", title, sections, **figures)


if __name__ == "__main__":
    flags = plan.parser(__doc__)
    flags.add_argument(
        "--sets",
        type=plan.some_of(COLUMNS),
        help="some of cifar10, cifar100, cifar10_fast; default: the first two at scale paper, else cifar10",
    )
    flags.add_argument("--rates", action="store_true", help="DARTS_V2 with both learning rates too")
    plan.start(main, flags, SEEDS)
