"""An Optuna study over the settings of a search, with pruning: pip install optuna

    python optuna_study.py sqlite:///study.db 20

The same command adds trials. Trials that do worse than the median of the others at the same epoch are pruned.
"""

import sys

import optuna

import nge_jax as nge
from nge_jax.errors import Preempted

CONFIG = ("search_digits", "gradient,smoke")


def objective(trial):
    """Searches with the trial's settings; returns the last validation accuracy in the supernet."""
    config, accuracies = nge.load_config(*CONFIG), []
    config.embedding.learning_rate = trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    config.search.edge_model = trial.suggest_categorical("edge_model", ["nge", "alpha"])

    def on_epoch(row, state):
        accuracies.append(row["embedding_accuracy"])
        trial.report(accuracies[-1], row["epoch"])
        return trial.should_prune()

    path = f"runs/{trial.study.study_name}/{trial.number}"
    try:
        nge.search.run(config, path, overwrite=True, callbacks=[nge.Callback(on_epoch=on_epoch)])
    except Preempted:
        raise optuna.TrialPruned from None
    return accuracies[-1]


if __name__ == "__main__":
    storage, trials = sys.argv[1], int(sys.argv[2])
    study = optuna.create_study(
        storage=storage, study_name="digits", direction="maximize", load_if_exists=True
    )
    study.optimize(objective, n_trials=trials)
    print(f"best of {len(study.trials)} trials: {study.best_value:.1%} by {study.best_params}")
