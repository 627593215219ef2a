"""A line that shows an activity whose progress is unknown, above all compiling, and how long it has taken.

`compile_times` remembers how long compiling took, and the line shows it the next time.
"""

import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import Self, TextIO

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 30


class Ticker:
    """Calls a function again and again from a thread, until it is stopped."""

    def __init__(self, call: Callable[[], None], seconds: float):
        self._call, self._seconds = call, seconds
        self._stopped = threading.Event()
        # A daemon thread does not keep the process alive.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stops the calls, and waits for a call that is running."""
        self._stopped.set()
        self._thread.join()

    def _run(self):
        while not self._stopped.wait(self._seconds):
            self._call()


class Waiting:
    """A line with an activity that the run waits for, and the time since it began. Use it as a context manager.

    On a terminal the line changes every second and disappears at the end. Elsewhere, such as in a log file, it is
    printed every half minute.

    Args:
      activity: the activity, such as "compiling 2 programs".
      usual: the seconds that the activity took the last time, if known.
      stream: shows the line; `stream.isatty()` decides how.
      ended: a line for the end, such as "compiled 2 programs", to which the time is added; empty: no such line.
      at_once: prints a line in the beginning, too, if the stream is no terminal.
      clock: returns monotonic seconds.
    """

    def __init__(
        self,
        activity: str,
        usual: float | None = None,
        *,
        stream: TextIO | None = None,
        ended: str = "",
        at_once: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._activity, self._usual = activity, usual
        self._ended, self._at_once = ended, at_once
        self._stream, self._clock = stream or sys.stderr, clock
        self._began = clock()
        self._line = self._ticker = None

    def __enter__(self) -> Self:
        self._began = self._clock()
        if self._stream.isatty():
            columns, _ = shutil.get_terminal_size()
            self._line = tqdm(
                bar_format="{desc}",
                desc=self.text(),
                file=self._stream,
                ncols=columns,
                leave=False,
            )
        elif self._at_once:
            self.tick()
        self._ticker = Ticker(self.tick, 1 if self._line is not None else SECONDS_BETWEEN_LINES)
        return self

    def __exit__(self, error: type[BaseException] | None, *_) -> None:
        if self._ticker is not None:
            self._ticker.stop()
        if self._line is not None:
            self._line.close()
        if self._ended and error is None:
            took = f"{self._ended} in {duration(self.seconds())}"
            print(took, file=self._stream, flush=True)

    def tick(self) -> None:
        """Shows the line as it is now."""
        if self._line is not None:
            self._line.set_description_str(self.text())
        else:
            print(self.text(), file=self._stream, flush=True)

    def text(self) -> str:
        """Returns the line: "compiling 2 programs: 23 s of about 48 s (the last time)"."""
        seconds, usual = self.seconds(), self._usual
        if usual is None:
            return self._activity if seconds < 1 else f"{self._activity}: {duration(seconds)}"
        last = f"about {duration(usual)} (the last time)"
        if seconds < 1:
            return f"{self._activity}: {last}"
        if seconds > usual:
            return f"{self._activity}: {duration(seconds)} ({duration(usual)} the last time)"
        return f"{self._activity}: {duration(seconds)} of {last}"

    def seconds(self) -> float:
        """Returns the seconds since the activity began."""
        return self._clock() - self._began


def say(line: str, file: TextIO | None = None) -> None:
    """Prints a line (to stdout, or `file`) above a bar or a changing line."""
    tqdm.write(line, file=file or sys.stdout)
    (file or sys.stdout).flush()


def duration(seconds: float) -> str:
    """Returns a duration such as "0.2 s", "48 s" or, from two minutes on, "2 min 5 s"."""
    if seconds < 1:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60} s"
