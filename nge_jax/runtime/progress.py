"""What a run shows and records while it goes: a bar or plain lines, a table of epochs, metrics on disk.

Results go to stdout, speed to stderr, so that either can be kept without the other.
"""

import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TextIO

from tqdm import tqdm

from nge_jax.runtime import distributed
from nge_jax.runtime.metrics_log import MetricsLog

# Titles of a table's columns and what stands below them, of a row's metrics: ("loss", "{train_loss:.3f}").
Columns = Sequence[tuple[str, str]]
SECONDS_BETWEEN_LINES = 30


class Progress:
    """How far a run is, its rate, and the time it will still take.

    On a terminal one bar that moves; elsewhere (a log file) a line every half minute. The first
    call compiles, so that its images count as done but not for the rate.

    Args:
      total: images that the whole run will process.
      done: images that were processed before a resume; they count as done, not for the rate.
      stream: where to show it; its `isatty` decides how.
      clock: seconds, monotonic.
    """

    def __init__(
        self,
        total: int,
        done: int = 0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._total, self._done = total, done
        self._stream, self._clock = stream or sys.stderr, clock
        self._line_done: int | None = None  # at the last line; None before the first call
        self._line_time = 0.0
        self._bar = None
        note = "compiling" if done < total else "nothing left to compute"
        if self._stream.isatty():
            columns, lines = shutil.get_terminal_size()  # 80 x 24 where the terminal gives 0 x 0
            self._bar = tqdm(
                total=total,
                initial=done,
                file=self._stream,
                unit=" images",
                unit_scale=True,
                ncols=columns,
                nrows=lines,
                desc=note,
            )
        else:
            self.print(note, self._stream)

    def advance(self, images: int, note: str) -> None:
        """Counts `images` more; `note` says where the run is, "epoch 3/25, weights" say."""
        self._done += images
        first = self._line_done is None
        if first:
            self._line_done, self._line_time = self._done, self._clock()
        if self._bar is not None:
            self._bar.set_description_str(note, refresh=False)
            if first:
                self._bar.n = self._bar.initial = self._bar.last_print_n = self._done
                self._bar.unpause()
                self._bar.refresh()
            else:
                self._bar.update(images)
            return
        now = self._clock()
        seconds = now - self._line_time
        if seconds >= SECONDS_BETWEEN_LINES:
            rate = (self._done - (self._line_done or 0)) / seconds
            left = tqdm.format_interval((self._total - self._done) / rate)
            percent = 100 * self._done / self._total
            line = f"{note}: {percent:.1f} % done, {rate:,.0f} images/s, {left} left"
            self.print(line, self._stream)
            self._line_done, self._line_time = self._done, now

    def print(self, line: str, file: TextIO | None = None) -> None:
        """Prints a line (to stdout, or `file`) without breaking the bar."""
        tqdm.write(line, file=file or sys.stdout)
        (file or sys.stdout).flush()

    def close(self) -> None:
        """Leaves the bar as it is and the cursor below it."""
        if self._bar is not None:
            self._bar.close()


class EpochLog:
    """Progress, the table of epochs and metrics.jsonl of a run. Use as a context manager.

    Of several processes all call it, and the first one's shows and writes.

    Args:
      workdir: the run's directory.
      columns: of the table.
      step: that of the checkpoint which the run goes on from, 0 for none.
      images: that the whole run will process.
      done: those of them that were processed before.
    """

    def __init__(self, workdir: Path, columns: Columns, step: int, images: int, done: int):
        first = distributed.is_first()
        # The stdout of the other processes leads nowhere, see `distributed`.
        self._progress = Progress(images, done, sys.stderr if first else sys.stdout)
        self._metrics = MetricsLog(workdir, step) if first else None
        self._columns = columns
        self._epoch: int | None = None
        self._began, self._images = time.monotonic(), 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._progress.close()
        if self._metrics is not None:
            self._metrics.close()

    def begin_epoch(self, epoch: int) -> None:
        """Starts the clock of an epoch, or of what is left of it, unless it runs."""
        if epoch == self._epoch:
            return
        if self._epoch is None:
            self._progress.print(table_header(self._columns))
        self._epoch = epoch
        self._began, self._images = time.monotonic(), 0

    def advance(self, images: int, note: str) -> None:
        """Counts `images` more; `note` says where the run is."""
        self._images += images
        self._progress.advance(images, note)

    def speed(self) -> dict[str, float]:
        """Returns the seconds since the epoch's clock started, and the images of one of them."""
        seconds = time.monotonic() - self._began
        return {"seconds": seconds, "images_per_second": self._images / seconds}

    def show(self, row: Mapping[str, Any], notes: Sequence[str] = ()) -> None:
        """Adds the row to the table on the screen, and lines below it."""
        for line in (table_row(self._columns, row), *notes):
            self._progress.print(line)

    def write(self, row: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        """Adds the row to metrics.jsonl, and it and pictures of the arrays [H, W] to what TensorBoard shows."""
        if self._metrics is not None:
            self._metrics.write(row, arrays)


def table_header(columns: Columns) -> str:
    """Returns the header over `table_row`s."""
    return "  ".join(title.rjust(_width(title)) for title, _ in columns)


def table_row(columns: Columns, row: Mapping[str, Any]) -> str:
    """Returns one epoch's metrics below `table_header`."""
    return "  ".join(form.format(**row).rjust(_width(title)) for title, form in columns)


def _width(title):
    return max(len(title), 8)
