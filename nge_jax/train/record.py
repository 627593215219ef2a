"""What a training shows and records of its epochs; of several processes the first one does."""

import sys
import time
from pathlib import Path

from nge_jax.runtime import distributed
from nge_jax.runtime.artifacts import MetricsLog
from nge_jax.runtime.progress import Progress, table_header, table_row
from nge_jax.train.step import TrainState

COLUMNS = {
    "epoch": ("epoch", "d"),
    "train_loss": ("loss", ".4f"),
    "train_accuracy": ("accuracy", ".2%"),
    "learning_rate": ("rate", ".3g"),
    "images_per_second": ("images/s", ".1f"),
    "seconds": ("seconds", ".1f"),
}
VALIDATION_COLUMN = {"validation_accuracy": ("validated", ".2%")}


class Journal:
    """Progress, the table of epochs, metrics.jsonl. Use as a context manager.

    `step`: that of the checkpoint which the run goes on from; `images`: of the whole training, `done` of them are.
    """

    def __init__(self, path: Path, step: int, images: int, done: int, *, validates: bool):
        self._columns = COLUMNS | (VALIDATION_COLUMN if validates else {})
        first = distributed.is_first()
        # The stdout of the other processes leads nowhere, see `distributed`.
        progress_stream = sys.stderr if first else sys.stdout
        self._metrics = MetricsLog(path, step) if first else None
        self._progress = Progress(images, done, progress_stream)
        self._header_printed = False
        self._began, self._images = time.monotonic(), 0

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_) -> None:
        self._progress.close()
        if self._metrics is not None:
            self._metrics.close()

    def begin_epoch(self) -> None:
        """Starts the epoch's clock, or what is left of the epoch."""
        if not self._header_printed:
            self._progress.print(table_header(self._columns))
            self._header_printed = True
        self._began, self._images = time.monotonic(), 0

    def advance(self, images: int, note: str) -> None:
        """`images` more have been trained on."""
        self._images += images
        self._progress.advance(images, note)

    def epoch_row(self, epoch: int, step: int, state: TrainState, learning_rate: float) -> dict:
        """The epoch's metrics, up to now."""
        seconds = time.monotonic() - self._began
        return {
            "epoch": epoch,
            "step": step,
            "seconds": seconds,
            "images_per_second": self._images / seconds,
            "train_loss": float(state.sums.loss / state.sums.count),
            "train_accuracy": float(state.sums.correct / state.sums.count),
            "learning_rate": learning_rate,
        }

    def show(self, row: dict) -> None:
        """Adds the row to the table on the screen."""
        self._progress.print(table_row(self._columns, row))

    def write(self, row: dict) -> None:
        """Adds the row to metrics.jsonl."""
        if self._metrics is not None:
            self._metrics.write(row)
