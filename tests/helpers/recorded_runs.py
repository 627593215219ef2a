"""Workdirs of trainings that have ended, as a report and a comparison read them."""

import json

from nge_jax.space import genotype

ENVIRONMENT = {"program": "nge_jax", "device_kind": "cpu", "device_count": 1, "versions": {}}


def write_run(path, *, accuracy, cell="DARTS_V2", report=True, **settings):
    """Writes the workdir of a training of one epoch.

    Args:
      path: the folder.
      accuracy: the test accuracy.
      cell: the published cell that it trains.
      report: whether the run has ended with its report.
      **settings: of the config.
    """
    path.mkdir(parents=True)
    config = {"task": "train", "seed": 0, "genotype": cell, "data": {"name": "cifar10"}, **settings}
    (path / "config.json").write_text(json.dumps(config))
    (path / "environment.json").write_text(json.dumps(ENVIRONMENT))
    row = {"epoch": 1, "step": 9, "train_loss": 1 - accuracy, "train_accuracy": accuracy}
    row |= {"seconds": 2.0, "images_per_second": 9.0, "learning_rate": 0.1}
    row |= {"test_accuracy": accuracy, "test_examples": 40}
    (path / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    (path / "genotype.json").write_text(genotype.to_json(genotype.load(cell)))
    if report:
        (path / "report.html").write_text("a report")
    return path
