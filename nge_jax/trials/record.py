"""The record of a search by trials: the row of each unit of a cell's training, and the table that shows it."""

import math
from typing import Any

import numpy as np

from nge_jax.console.progress import Column, Columns
from nge_jax.train.step import TrainState
from nge_jax.trials.ledger import Halving, Job, Ledger

COLUMNS: Columns = (
    Column("cell", "{cell}", 5),
    Column("seed", "{train_seed}", 4),
    Column("epochs", "{trained_epochs}/{rung_epochs}", 7),
    Column("train\nloss", "{train_loss:.4f}", 6),
    Column("train\nacc.", "{train_accuracy:.1%}", 6),
    Column("valid\nacc.", "{validation_accuracy:.1%}", 6),
    Column("best at\nits rung", "{best_accuracy:.1%}", 8),
    Column("time\n(s)", "{seconds:.1f}", 6),
)
# Stands for the loss of a training with NaN or infinity. Such a cell gets the rating 0.
DIVERGED_LOSS = 1000.0


def diverged_line(job: Job) -> str:
    """Returns the note on a training with NaN or infinity."""
    return f"cell {job.trial} has diverged and is rated 0"


def make_row(
    ledger: Ledger, job: Job, halving: Halving, trial: TrainState, accuracy: float
) -> dict[str, Any]:
    """Returns the row of a unit that has ended.

    Args:
      ledger: the ledger after the unit; a job that has ended is rated.
      job: the job.
      halving: the rules.
      trial: the training.
      accuracy: the accuracy on the validation half.
    """
    loss = float(trial.sums.loss / trial.sums.count)
    ratings = ledger.again[:, job.seed - 1] if job.seed else ledger.ratings[:, job.rung]
    rated = ratings[~np.isnan(ratings)]
    return {
        "cell": job.trial,
        "train_seed": job.seed,
        "rung_epochs": halving.rungs[job.rung],
        "trained_epochs": job.begin(halving) + int(ledger.units) * halving.unit,
        "train_loss": loss if math.isfinite(loss) else DIVERGED_LOSS,
        "train_accuracy": float(trial.sums.correct / trial.sums.count),
        "validation_accuracy": accuracy,
        "best_accuracy": float(rated.max()) if len(rated) else accuracy,
        "cells": int(ledger.count),
    }
