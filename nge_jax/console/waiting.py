"""What a run shows while it waits for something of which it cannot tell how far it is, compilers above all.

How long compiling took is kept beside the compiled programs, and told the next time.
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
        # A daemon: whatever ends the process need not wait for it.
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when it calls no more."""
        self._stopped.set()
        self._thread.join()

    def _run(self):
        while not self._stopped.wait(self._seconds):
            self._call()


class Waiting:
    """A line that says what the run waits for, and for how long by now. Use as a context manager.

    On a terminal it ticks every second and goes away in the end; elsewhere (a log file) it comes again every half
    minute.

    Args:
      what: "compiling 2 programs", say.
      usual: seconds that it took the last time, if that is known.
      stream: where to show it; its `isatty` decides how.
      ended: "compiled 2 programs", say: what is said in the end, with the time that it took; nothing where it is empty.
      at_once: elsewhere than on a terminal, whether a line comes in the beginning, too.
      clock: seconds, monotonic.
    """

    def __init__(
        self,
        what: str,
        usual: float | None = None,
        *,
        stream: TextIO | None = None,
        ended: str = "",
        at_once: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._what, self._usual, self._ended, self._at_once = what, usual, ended, at_once
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
            return self._what if seconds < 1 else f"{self._what}: {duration(seconds)}"
        last = f"about {duration(usual)} (the last time)"
        if seconds < 1:
            return f"{self._what}: {last}"
        if seconds > usual:
            return f"{self._what}: {duration(seconds)} ({duration(usual)} the last time)"
        return f"{self._what}: {duration(seconds)} of {last}"

    def seconds(self) -> float:
        """Returns for how long it has been waited."""
        return self._clock() - self._began


def say(line: str, file: TextIO | None = None) -> None:
    """Prints a line (to stdout, or `file`), above whatever bar or ticking line is there."""
    tqdm.write(line, file=file or sys.stdout)
    (file or sys.stdout).flush()


def duration(seconds: float) -> str:
    """Returns "0.2 s", "48 s" or, of two minutes and more, "2 min 5 s"."""
    if seconds < 1:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60} s"
