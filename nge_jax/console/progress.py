"""What a run shows and records while it goes: a bar or plain lines, a table of epochs, metrics on disk.

Results go to stdout, speed to stderr, so that either can be kept without the other.
"""

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Self, TextIO

from tqdm import tqdm

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
    """Of the table of epochs.

    title: its lines joined by newlines.
    form: what stands below it, of a row's metrics: "{train_loss:.3f}".
    width: characters that the values usually take.
    """

    title: str
    form: str
    width: int = 8


Columns = Sequence[Column]


class Progress:
    """How far a run is, its rate, and the time it will still take.

    On a terminal one bar, drawn anew every second; elsewhere (a log file) a line every half minute.

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
        self._line_done, self._line_time = done, 0.0  # at the last line
        self._bar = self._ticker = None
        if done >= total:
            self.print("nothing left to compute", self._stream)

    def begin(self, note: str) -> None:
        """Starts the clock; `note` says where the run is, "epoch 3/25" say."""
        self._line_time = self._clock()
        if self._stream.isatty():
            columns, lines = shutil.get_terminal_size()  # 80 x 24 where the terminal gives 0 x 0
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
        """Counts `images` more; `note` says where the run is, "epoch 3/25, weights" say."""
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
    def waiting(self, what: str) -> Iterator[None]:
        """Shows what is waited for, as `Waiting` does; where there is a bar, in it."""
        if self._bar is not None:
            self._bar.set_description_str(what)
            yield
            return
        with Waiting(what, stream=self._stream):
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


def waiting(what: str) -> Waiting:
    """Makes a context in which the first process shows what the run waits for, before the loop or behind it."""
    return Waiting(what, stream=sys.stderr if distributed.is_first() else sys.stdout, at_once=False)


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
        self._stream = sys.stderr if first else sys.stdout
        self._progress = Progress(images, done, self._stream)
        self._workdir, self._step = workdir, step
        self._metrics = MetricsLog(workdir, step) if first else None
        self._of_parts: dict[str, MetricsLog] = {}
        self._columns = columns
        self._notes: Sequence[str] = ()  # of the epoch before
        self._epoch: int | None = None
        self._began, self._images = time.monotonic(), 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self._progress.close()
        for log in (self._metrics, *self._of_parts.values()):
            if log is not None:
                log.close()

    def begin_epoch(self, epoch: int) -> None:
        """Starts the clock of an epoch, or of what is left of it, unless it runs."""
        if epoch == self._epoch:
            return
        if self._epoch is None:
            self._progress.print(table_header(self._columns))
            self._progress.begin(f"epoch {epoch}")
        self._epoch = epoch
        self._began, self._images = time.monotonic(), 0

    def resumed(self, step: int, total: int, per_epoch: int) -> None:
        """Says where the run goes on from: of `total` steps `step` are done."""
        done, epochs = -(-step // per_epoch), -(-total // per_epoch)
        where = "within" if step % per_epoch else "from"
        self._progress.print(
            f"resumed {where} epoch {done} of {epochs} (step {step:,} of {total:,})"
        )

    @contextlib.contextmanager
    def compiling(self, programs: int, key: str) -> Iterator[None]:
        """Shows that so many programs are compiled, and for how long, beside the last time's; see `program_key`."""
        what = "a program" if programs == 1 else f"{programs} programs"
        usual, stream = usual_seconds(key), self._stream
        with Waiting(f"compiling {what}", usual, stream=stream, ended=f"compiled {what}") as line:
            yield
        if self._metrics is not None:
            remember_seconds(key, line.seconds())

    def waiting(self, what: str) -> AbstractContextManager[None]:
        """Shows what is waited for, until the context ends."""
        return self._progress.waiting(what)

    def advance(self, images: int, note: str) -> None:
        """Counts `images` more; `note` says where the run is."""
        self._images += images
        self._progress.advance(images, note)

    def speed(self) -> dict[str, float]:
        """Returns the seconds since the epoch's clock started, and the images of one of them."""
        seconds = time.monotonic() - self._began
        return {"seconds": seconds, "images_per_second": self._images / seconds}

    def show(
        self, row: Mapping[str, Any], notes: Sequence[str] = (), *, last: bool = False
    ) -> None:
        """Adds the row to the table on the screen, and notes below it: the new ones, below the last row all."""
        new = [note for note in notes if last or note not in self._notes]
        self._notes = notes
        for line in (table_row(self._columns, row), *new):
            self._progress.print(line)

    def write(self, row: Mapping[str, Any], arrays: Mapping[str, Any], part: str = "") -> None:
        """Adds the row to metrics.jsonl, and it and pictures of the arrays [H, W] to what TensorBoard shows.

        `part`: a folder within the workdir, to whose files they are added instead.
        """
        if self._metrics is None:
            return
        log = self._metrics
        if part:
            if part not in self._of_parts:
                self._of_parts[part] = MetricsLog(self._workdir / part, self._step)
            log = self._of_parts[part]
        log.write(row, arrays)


def table_header(columns: Columns) -> str:
    """Returns the header over `table_row`s, as many lines as the longest title has."""
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
