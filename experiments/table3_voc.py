"""Makes the paper's Table 3: mean IoU on PASCAL VOC 2012 of cells as DeepLabv3's backbone.

  python experiments/table3_voc.py --data_dir=DIR --devkit=VOCdevkit                  scaled down, on a CPU
  python experiments/table3_voc.py --data_dir=DIR --devkit=VOCdevkit --scale=smoke    does it run?
  python experiments/table3_voc.py --data_dir=DIR --devkit=VOCdevkit --scale=paper    for GPUs
  python experiments/table3_voc.py --table_only                                       only the runs finished so far

The rows are the cells of Table 2. Each training starts with the backbone of Table 2's training of the same cell and
seed. The command runs the missing runs, Table 2's trainings first, and continues when started again. It writes
OUT/table3.md, .html and pictures. The prepared data go to --data_dir, which must be writable the first time.
"""

from pathlib import Path

import table2_imagenet
from nge_jax import cost
from nge_jax.data import spec as dataset_spec
from nge_jax.data.spec import MASKS
from nge_jax.report.document import Picture, Section, Table, Text
from nge_jax.train import model as train_model
from nge_jax.workdir import artifacts
from paper import plan, runs, surrogate, tables
from paper.runs import Run

SEEDS = {"smoke": [0], "small": [0], "paper": [0]}
PAPER, PAPER_SIZE = 75.96, "10.31 M"  # mean IoU in percent, parameters


def size(training: Run) -> str:
    """Counts the parameters of the trained network."""
    if not runs.is_finished(training):
        return tables.ABSENT
    spec = dataset_spec.read(training.workdir)
    genotype = artifacts.read_genotype(training.workdir / artifacts.GENOTYPE)
    config = runs.configuration(training)
    model = train_model.make_network(config, genotype, MASKS, len(spec.labels))
    return f"{cost.model_cost(model, spec.shape).parameters / 1e6:.2f} M"


def main(options: plan.Options) -> None:
    cells = table2_imagenet.cells(options)
    backbones = plan.trainings(options, "imagenet", cells)
    plan.complete(options, *backbones.values())
    settings = {"data.devkit": str(options.devkit.absolute())} if options.devkit else {}
    trainings = {
        name: [
            plan.training(
                options,
                "voc",
                cell,
                seed,
                init_from=runs.path_argument(backbone.workdir),
                **settings,
            )
            for seed, backbone in zip(options.seeds, backbones[name], strict=True)
        ]
        for name, cell in cells.items()
    }
    plan.complete(options, *trainings.values())

    label = "mean IoU, %"
    ious = {
        name: tables.percent(tables.results(row, "test_mean_iou"))
        for name, row in trainings.items()
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
    sections += surrogate.sections(options, {name: [cell] for name, cell in cells.items()})
    figure = tables.spread_figure(label, ious, {table2_imagenet.OURS: PAPER})
    title = "Table 3", "cells as DeepLabv3's backbone on PASCAL VOC 2012"
    tables.write(options, "table3", title, sections, iou=figure)


if __name__ == "__main__":
    flags = plan.parser(__doc__)
    flags.add_argument("--devkit", type=Path, help="VOCdevkit folder, needed the first time")
    plan.start(main, flags, SEEDS)
