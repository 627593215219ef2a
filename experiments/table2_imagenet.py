"""Makes the paper's Table 2: error on ImageNet's mobile setting, parameters and multiply-adds of cells.

  python experiments/table2_imagenet.py --data_dir=DIR                  scaled down, two seeds, on a CPU
  python experiments/table2_imagenet.py --data_dir=DIR --scale=smoke    does it run?
  python experiments/table2_imagenet.py --data_dir=DIR --scale=paper    ImageNet, for several GPUs
  python experiments/table2_imagenet.py --data_dir=DIR --table_only     only the runs finished so far

The rows are the cell of our search with the first seed, DARTS_V2 and a random cell. Each cell is trained with every
seed. At the scales smoke and small, imagenette (ten classes) replaces ImageNet. The command runs the missing runs, and
continues when started again. It writes OUT/table2.md, .html and pictures.
"""

from collections.abc import Sequence

from nge_jax import cost
from nge_jax.report.document import Picture, Section, Table, Text
from nge_jax.workdir import artifacts
from paper import plan, runs, surrogate, tables
from paper.runs import Run

SEEDS = {"smoke": [0], "small": [0, 1], "paper": [0]}
OURS = "nge (our search)"
# The paper's errors in percent, and the size of the paper's cell.
PAPER = {"top1": "25.3", "top5": "7.9", "parameters": "5.0 M", "multiply_adds": "563 M"}
KEYS = {"top-1 error, %": "test_accuracy", "top-5 error, %": "test_top5_accuracy"}


def cells(options: plan.Options) -> dict[str, plan.Cell]:
    """Names the cell of each row, here and in Table 3. Runs our search first if it is missing."""
    search = plan.search(options, "nge", options.seeds[0])
    plan.complete(options, [search])
    names = ("DARTS_V2", "random:0")
    return {OURS: plan.derived_cell(search)} | {name: plan.named_cell(name) for name in names}


def sizes(trainings: Sequence[Run]) -> tuple[str, str]:
    """Counts parameters and multiply-adds at the paper's size. All trainings train the same cell."""
    finished = runs.first_finished(trainings)
    if finished is None:
        return tables.ABSENT, tables.ABSENT
    size = cost.imagenet_cost(artifacts.read_genotype(finished.workdir / artifacts.GENOTYPE))
    return f"{size.parameters / 1e6:.1f} M", f"{size.multiply_adds / 1e6:.1f} M"


def main(options: plan.Options) -> None:
    row_cells = cells(options)
    trainings = plan.trainings(options, "imagenet", row_cells)
    plan.complete(options, *trainings.values())

    errors = {
        name: [tables.errors(tables.results(row, key)) for key in KEYS.values()]
        for name, row in trainings.items()
    }
    size = "parameters, 14 cells of 48 channels", "multiply-adds, likewise"
    header = ("cell", *KEYS, "trainings", *size)
    rows = [
        (name, *map(tables.spread, values), str(len(values[0])), *sizes(trainings[name]))
        for name, values in errors.items()
    ]
    paper_errors = PAPER["top1"], PAPER["top5"]
    paper_size = PAPER["parameters"], PAPER["multiply_adds"]
    rows.append((f"NGE, {tables.PAPER}, on ImageNet", *paper_errors, tables.ABSENT, *paper_size))
    stand_in = options.scale != "paper"
    dataset = "imagenette (ten classes), which stands in for ImageNet" if stand_in else "ImageNet"
    label = "top-1 error, %"
    picture = Picture("table2_errors", label, f"{label}, on {dataset}.")
    note = f"Mean ± sd over seeds, on {dataset}."
    sections = [Section("Cells", [Text(note), Table(header, rows), picture])]
    sections += surrogate.sections(options, {name: [cell] for name, cell in row_cells.items()})
    first = {name: top1 for name, (top1, _) in errors.items()}
    figure = tables.spread_figure(label, first, {OURS: float(PAPER["top1"])})
    title = "Table 2", "cells trained from scratch on photographs"
    tables.write(options, "table2", title, sections, errors=figure)


if __name__ == "__main__":
    plan.start(main, plan.parser(__doc__), SEEDS)
