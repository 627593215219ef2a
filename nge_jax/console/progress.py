"""The progress of a run: a bar or plain lines, a table of epochs, and metrics on disk.

Results go to stdout and speed goes to stderr, so that either can be kept without the other.
"""

import contextlib
import itertools
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Self, TextIO

from tqdm import tqdm

from nge_jax.console.banner import wrapped
from nge_jax.console.waiting import (
    SECONDS_BETWEEN_LINES,
    Ticker,
    Waiting,
    say,
)
from nge_jax.devices import distributed
from nge_jax.devices.compile_times import remember_seconds, usual_seconds
from nge_jax.workdir.metrics_log import MetricsLog


class Column(NamedTuple):
    """A column of the table of epochs.

    Attributes:
      title: the title's lines, joined by newlines.
      form: the format of a row's metrics, such as "{train_loss:.3f}".
      width: how many characters the values usually take.
    """

    title: str
    form: str
    width: int = 8


Columns = Sequence[Column]


class Progress:
    """Shows a run's progress, its rate, and the time that is left.

    On a terminal it is a bar, drawn anew every second. Elsewhere, such as in a log file, it is a line every half
    minute.

    Args:
      total: the images that the whole run processes.
      done: the images that were processed before a resume; they count as done, but not for the rate.
      stream: shows the progress; `stream.isatty()` decides on bar or lines.
      clock: returns monotonic seconds.
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
        self._line_done, self._line_time = done, 0.0  # images and time at the last line
        self._bar = self._ticker = None
        if done >= total:
            self.print("nothing left to compute", self._stream)

    def begin(self, note: str) -> None:
        """Starts the clock; `note` says where the run is, such as "epoch 3/25"."""
        self._line_time = self._clock()
        if self._stream.isatty():
            columns, lines = shutil.get_terminal_size()  # 80 x 24 if the terminal reports 0 x 0
            self._bar = tqdm(
                total=self._total,
                initial=self._done,
                file=self._stream,
                unit=" images",
                unit_scale=True,
                ncols=columns,
                nrows=lines,
                desc=note,
            )
            self._ticker = Ticker(self._bar.refresh, 1)

    def advance(self, images: int, note: str) -> None:
        """Counts `images` more; `note` says where the run is, such as "epoch 3/25, weights"."""
        self._done += images
        if self._bar is not None:
            self._bar.set_description_str(note, refresh=False)
            self._bar.update(images)
            return
        now = self._clock()
        seconds = now - self._line_time
        if seconds >= SECONDS_BETWEEN_LINES:
            rate = (self._done - self._line_done) / seconds
            left = tqdm.format_interval((self._total - self._done) / rate)
            percent = 100 * self._done / self._total
            line = f"{note}: {percent:.1f} % done, {rate:,.0f} images/s, {left} left"
            self.print(line, self._stream)
            self._line_done, self._line_time = self._done, now

    @contextlib.contextmanager
    def waiting(self, activity: str) -> Iterator[None]:
        """Shows an activity that the run waits for: in the bar, or without a bar as `Waiting` does."""
        if self._bar is not None:
            self._bar.set_description_str(activity)
            yield
            return
        with Waiting(activity, stream=self._stream):
            yield

    def print(self, line: str, file: TextIO | None = None) -> None:
        """Prints a line (to stdout, or `file`) without breaking the bar."""
        say(line, file)

    def close(self) -> None:
        """Leaves the bar as it is and the cursor below it."""
        if self._ticker is not None:
            self._ticker.stop()
        if self._bar is not None:
            self._bar.close()


def waiting(activity: str) -> Waiting:
    """Makes a context in which the first process shows an activity before or after the loop."""
    stream = sys.stderr if distributed.is_first() else sys.stdout
    return Waiting(activity, stream=stream, at_once=False)


class EpochLog:
    """Progress, the table of epochs and metrics.jsonl of a run. Use it as a context manager.

    All processes of a run call it. Only the first process shows and writes.

    Args:
      workdir: the run's directory.
      columns: the columns of the table.
      step: the step of the checkpoint from which the run resumes; 0 without a checkpoint.
      images: the images that the whole run processes.
      done: the images that were processed before.
    """

    def __init__(self, workdir: Path, columns: Columns, step: int, images: int, done: int):
        first = distributed.is_first()
        # The other processes' stdout is discarded, see `distributed`.
        self._stream = sys.stderr if first else sys.stdout
        self._progress = Progress(images, done, self._stream)
        self._workdir, self._step = workdir, step
        self._metrics = MetricsLog(workdir, step) if first else None
        self._member_metrics: dict[str, MetricsLog] = {}
        self._columns = columns
        self._notes: Sequence[str] = ()  # the notes of the epoch before
        self._epoch: int | None = None
        self._began, self._images = time.monotonic(), 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._progress.close()
        for log in (self._metrics, *self._member_metrics.values()):
            if log is not None:
                log.close()

    def begin_epoch(self, epoch: int) -> None:
        """Starts the clock of an epoch, unless it runs already."""
        if epoch == self._epoch:
            return
        if self._epoch is None:
            self._progress.print(table_header(self._columns))
            self._progress.begin(f"epoch {epoch}")
        self._epoch = epoch
        self._began, self._images = time.monotonic(), 0

    def resumed(self, step: int, total: int, per_epoch: int) -> None:
        """Says that the run resumes after `step` of `total` steps."""
        done, epochs = -(-step // per_epoch), -(-total // per_epoch)
        where = "within" if step % per_epoch else "from"
        self._progress.print(
            f"resumed {where} epoch {done} of {epochs} (step {step:,} of {total:,})"
        )

    @contextlib.contextmanager
    def compiling(self, programs: int, key: str) -> Iterator[None]:
        """Shows how long compiling takes, and how long it took the last time; for `key` see `program_key`."""
        count = "a program" if programs == 1 else f"{programs} programs"
        usual, stream = usual_seconds(key), self._stream
        with Waiting(f"compiling {count}", usual, stream=stream, ended=f"compiled {count}") as line:
            yield
        if self._metrics is not None:
            remember_seconds(key, line.seconds())

    def waiting(self, activity: str) -> AbstractContextManager[None]:
        """Shows an activity that the run waits for, until the context ends."""
        return self._progress.waiting(activity)

    def advance(self, images: int, note: str) -> None:
        """Counts `images` more; `note` says where the run is."""
        self._images += images
        self._progress.advance(images, note)

    def speed(self) -> dict[str, float]:
        """Returns the seconds since the epoch's clock started, and the images per second."""
        seconds = time.monotonic() - self._began
        return {"seconds": seconds, "images_per_second": self._images / seconds}

    def show(
        self, row: Mapping[str, Any], notes: Sequence[str] = (), *, last: bool = False
    ) -> None:
        """Shows the row as the table's next row, and new notes below it, wrapped; below the last row all notes."""
        new = [note for note in notes if last or note not in self._notes]
        self._notes = notes
        for line in (table_row(self._columns, row), *itertools.chain(*map(wrapped, new))):
            self._progress.print(line)

    def write(self, row: Mapping[str, Any], arrays: Mapping[str, Any], folder: str = "") -> None:
        """Adds the row to metrics.jsonl, and adds the row and pictures of the arrays [H, W] to TensorBoard's file.

        With `folder`, a member's folder within the workdir, it adds to the files there instead.
        """
        if self._metrics is None:
            return
        log = self._metrics
        if folder:
            if folder not in self._member_metrics:
                self._member_metrics[folder] = MetricsLog(self._workdir / folder, self._step)
            log = self._member_metrics[folder]
        log.write(row, arrays)


def table_header(columns: Columns) -> str:
    """Returns the table's header, which has as many lines as the longest title."""
    titles = [column.title.split("\n") for column in columns]
    height = max(map(len, titles))
    titles = [[""] * (height - len(lines)) + lines for lines in titles]
    return "\n".join(
        "  ".join(text.rjust(_width(c)) for text, c in zip(line, columns, strict=True)).rstrip()
        for line in zip(*titles, strict=True)
    )


def table_row(columns: Columns, row: Mapping[str, Any]) -> str:
    """Returns one epoch's metrics below `table_header`."""
    return "  ".join(column.form.format(**row).rjust(_width(column)) for column in columns)


def _width(column: Column) -> int:
    return max(column.width, *map(len, column.title.split("\n")))
