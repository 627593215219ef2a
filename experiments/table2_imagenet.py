"""The paper's Table 2: error on ImageNet's mobile setting, parameters and multiply-adds of cells.

  python experiments/table2_imagenet.py --data_dir=DIR                  scaled down, two seeds, on a CPU
  python experiments/table2_imagenet.py --data_dir=DIR --scale=smoke    does it run?
  python experiments/table2_imagenet.py --data_dir=DIR --scale=paper    ImageNet, for several GPUs
  python experiments/table2_imagenet.py --data_dir=DIR --table_only     of the runs finished so far

The cell found by our search with the first seed, DARTS_V2 and a random cell, each trained with every seed. At the
scales smoke and small imagenette, ten classes, stands in for ImageNet. Runs what is missing; stopped, it goes on when
started again. Writes OUT/table2.md, .html and pictures.
"""

from collections.abc import Sequence

import plan
import runs
import tables
from runs import Run

from nge_jax import cost
from nge_jax.report.document import Picture, Section, Table, Text
from nge_jax.runtime import artifacts

SEEDS = {"smoke": [0], "small": [0, 1], "paper": [0]}
OURS = "nge (our search)"
PAPER = (
    "25.3",
    "7.9",
    "5.0 M",
    "563 M",
)  # top-1 and top-5 error in percent, and the size of its cell
KEYS = {"top-1 error, %": "test_accuracy", "top-5 error, %": "test_top5_accuracy"}


def cells(options: plan.Options, search: Run) -> dict[str, plan.Cell]:
    """The rows; those of Table 3 too."""
    names = ("DARTS_V2", "random:0")
    return {OURS: plan.found(search)} | {name: plan.known(name) for name in names}


def sizes(wanted: Sequence[Run]) -> tuple[str, str]:
    """Parameters and multiply-adds at the paper's size; all runs are of the same cell."""
    finished = [run.workdir for run in wanted if runs.is_finished(run)]
    if not finished:
        return tables.ABSENT, tables.ABSENT
    size = cost.imagenet_cost(artifacts.read_genotype(finished[0] / artifacts.GENOTYPE))
    return tuple(f"{count / 1e6:.1f} M" for count in size)


def main(options: plan.Options) -> None:
    search = plan.search(options, "nge", options.seeds[0])
    plan.complete(options, [search])
    trainings = {
        name: [plan.training(options, "imagenet", cell, seed) for seed in options.seeds]
        for name, cell in cells(options, search).items()
    }
    plan.complete(options, [run for of_row in trainings.values() for run in of_row])

    errors = {
        name: [tables.errors(tables.results(of_row, key)) for key in KEYS.values()]
        for name, of_row in trainings.items()
    }
    size = "parameters, 14 cells of 48 channels", "multiply-adds, likewise"
    header = ("cell", *KEYS, "trainings", *size)
    rows = [
        (name, *map(tables.spread, values), str(len(values[0])), *sizes(trainings[name]))
        for name, values in errors.items()
    ]
    top1, top5, *paper_size = PAPER
    rows.append((f"NGE, {tables.PAPER}, on ImageNet", top1, top5, tables.ABSENT, *paper_size))
    stand_in = options.scale != "paper"
    dataset = "imagenette (ten classes), which stands in for ImageNet" if stand_in else "ImageNet"
    label = "top-1 error, %"
    picture = Picture("table2_errors", label, f"{label}, on {dataset}.")
    note = f"Mean ± sd over seeds, on {dataset}."
    sections = [Section("Cells", [Text(note), Table(header, rows), picture])]
    first = {name: top1 for name, (top1, _) in errors.items()}
    figure = tables.spread_figure(label, first, {OURS: float(PAPER[0])})
    title = "Table 2", "cells trained from scratch on photographs"
    tables.write(options, "table2", title, sections, errors=figure)


if __name__ == "__main__":
    plan.start(main, plan.parser(__doc__), SEEDS)
