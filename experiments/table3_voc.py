"""The paper's Table 3: mean IoU on PASCAL VOC 2012 of cells as DeepLabv3's backbone.

  python experiments/table3_voc.py --data_dir=DIR --devkit=VOCdevkit                  scaled down, on a CPU
  python experiments/table3_voc.py --data_dir=DIR --devkit=VOCdevkit --scale=smoke    does it run?
  python experiments/table3_voc.py --data_dir=DIR --devkit=VOCdevkit --scale=paper    for GPUs
  python experiments/table3_voc.py --table_only                                       of the runs finished so far

The cells of Table 2, each begun with the backbone that Table 2's training with the same seed has left: what is missing
of those is run first. Runs what is missing; stopped, it goes on when started again. Writes OUT/table3.md, .html and
pictures. The prepared data go to --data_dir, which must be writable the first time.
"""

from pathlib import Path

import plan
import runs
import table2_imagenet
import tables
from runs import Run

from nge_jax import cost
from nge_jax.data import spec as dataset_spec
from nge_jax.report.document import Picture, Section, Table, Text
from nge_jax.runtime import artifacts
from nge_jax.train import model as train_model

SEEDS = {"smoke": [0], "small": [0], "paper": [0]}
PAPER, PAPER_SIZE = 75.96, "10.31 M"  # mean IoU in percent, parameters


def size(run: Run) -> str:
    """Parameters, as trained."""
    if not runs.is_finished(run):
        return tables.ABSENT
    spec = dataset_spec.read(run.workdir)
    found = artifacts.read_genotype(run.workdir / artifacts.GENOTYPE)
    model = train_model.make_segmentation_network(runs.configuration(run), found)
    return f"{cost.model_cost(model, spec.shape).parameters / 1e6:.2f} M"


def main(options: plan.Options) -> None:
    search = plan.search(options, "nge", options.seeds[0])
    plan.complete(options, [search])
    cells = table2_imagenet.cells(options, search)
    backbones = {
        name: [plan.training(options, "imagenet", cell, seed) for seed in options.seeds]
        for name, cell in cells.items()
    }
    plan.complete(options, [run for of_row in backbones.values() for run in of_row])
    settings = {"data.devkit": str(options.devkit.absolute())} if options.devkit else {}
    trainings = {
        name: [
            plan.training(
                options, "voc", cell, seed, init_from=runs.spelled(backbone.workdir), **settings
            )
            for seed, backbone in zip(options.seeds, backbones[name], strict=True)
        ]
        for name, cell in cells.items()
    }
    plan.complete(options, [run for of_row in trainings.values() for run in of_row])

    label = "mean IoU, %"
    ious = {
        name: tables.percent(tables.results(of_row, "test_mean_iou"))
        for name, of_row in trainings.items()
    }
    rows = [
        (name, tables.spread(values), str(len(values)), size(trainings[name][0]))
        for name, values in ious.items()
    ]
    rows.append((f"NGE, {tables.PAPER}", f"{PAPER:.2f}", tables.ABSENT, PAPER_SIZE))
    header = ("backbone", label, "trainings", "parameters, as trained")
    picture = Picture("table3_iou", label, "Mean IoU on the validation images.")
    note = "Mean ± sd over seeds."
    sections = [Section("Backbones", [Text(note), Table(header, rows), picture])]
    figure = tables.spread_figure(label, ious, {table2_imagenet.OURS: PAPER})
    title = "Table 3", "cells as DeepLabv3's backbone on PASCAL VOC 2012"
    tables.write(options, "table3", title, sections, iou=figure)


if __name__ == "__main__":
    flags = plan.parser(__doc__)
    flags.add_argument("--devkit", type=Path, help="VOCdevkit folder, needed the first time")
    plan.start(main, flags, SEEDS)
