"""What a run shows and records while it goes: a bar or plain lines, a table of epochs, metrics on disk.

Results go to stdout, speed to stderr, so that either can be kept without the other.
"""

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from tqdm import tqdm

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
            rate = (self._done - self._line_done) / seconds
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


def table_header(columns: Mapping[str, tuple[str, str]]) -> str:
    """The header over `table_row`s. `columns` maps a metric to its title and format: {"loss": ("loss", ".3f")}."""
    return "  ".join(title.rjust(_width(title)) for title, _ in columns.values())


def table_row(columns: Mapping[str, tuple[str, str]], metrics: Mapping[str, float | str]) -> str:
    """One epoch's metrics below `table_header`; strings need an empty format."""
    return "  ".join(
        format(metrics[key], form).rjust(_width(title)) for key, (title, form) in columns.items()
    )


def _width(title):
    return max(len(title), 8)
