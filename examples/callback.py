"""A callback of one's own: it stops a search whose validation accuracy no longer grows.

    nge search search_digits:gradient run.callbacks=callback.py:early_stop

The state is saved, and the exit code is 75. The same command goes on with the search. The callback also watches
`search_digits`, which trains one cell after another, and trainings with held-out images. These want more patience.
"""

import nge_jax as nge

PATIENCE = 3  # epochs
# The accuracy on images that validate, as rows of a search by a supernet and of trainings name it.
ACCURACIES = ("embedding_accuracy", "validation_accuracy")


class EarlyStop:
    """Asks a run to stop after some epochs without a better accuracy."""

    def __init__(self, patience):
        self.patience, self.best, self.epoch = patience, 0.0, 0

    def on_begin(self, workdir, settings):
        """Shows where the run is, and which seed it has."""
        print(f"watching {workdir}, seed {settings['seed']}")

    def on_epoch(self, row, state):
        """Returns True to stop. `row` is a line of metrics.jsonl, and `state` holds all arrays of the run."""
        accuracy = next(row[name] for name in ACCURACIES if name in row)
        if accuracy > self.best:
            self.best, self.epoch = accuracy, row["epoch"]
        return row["epoch"] - self.epoch >= self.patience

    def on_end(self, result):
        """Shows the result, which is what `nge.search.run` returns."""
        print(f"best accuracy {self.best:.1%} after epoch {self.epoch}; {result}")


early_stop = EarlyStop(PATIENCE)

if __name__ == "__main__":
    config = nge.load_config("search_digits", "gradient,smoke")
    nge.search.run(config, "runs/watched", callbacks=[EarlyStop(patience=1)])
