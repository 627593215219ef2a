"""An Optuna study over the settings of a search, with pruning: pip install optuna

    python optuna_study.py sqlite:///study.db 20

The same command adds trials. Trials that do worse than the median of the others at the same epoch are pruned.
experiments/sweep.py takes the settings from the command line, goes on with lost trials, and has Ray's workers.
"""

import sys

import optuna

import nge_jax as nge
from nge_jax.errors import Preempted


class Pruning:
    """A callback that reports a metric of each epoch to a trial, and stops the run where the pruner says so."""

    def __init__(self, trial, metric):
        self.trial, self.metric, self.last, self.pruned = trial, metric, None, False

    def on_epoch(self, row, state):
        self.last = row[self.metric]
        self.trial.report(self.last, row["epoch"])
        self.pruned = self.trial.should_prune()
        return self.pruned


def objective(trial):
    """Searches with the trial's settings; returns the last validation accuracy in the supernet."""
    config = nge.load_config("search_digits", "gradient,smoke")
    pruning = Pruning(trial, "embedding_accuracy")
    config.embedding.learning_rate = trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    config.search.edge_model = trial.suggest_categorical("edge_model", ["nge", "alpha"])
    path = f"runs/{trial.study.study_name}/{trial.number}"
    try:
        nge.search.run(config, path, overwrite=True, callbacks=[pruning])
    except Preempted as stopped:  # by the pruner, or by SIGTERM
        raise optuna.TrialPruned if pruning.pruned else stopped from None
    return pruning.last


if __name__ == "__main__":
    study = optuna.create_study(
        storage=sys.argv[1], study_name="digits", direction="maximize", load_if_exists=True
    )
    study.optimize(objective, n_trials=int(sys.argv[2]))
    print(f"best of {len(study.trials)} trials: {study.best_value:.1%} by {study.best_params}")
