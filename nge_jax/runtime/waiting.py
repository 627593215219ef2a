"""What a run shows while it waits for something of which it cannot tell how far it is, compilers above all.

How long compiling took is kept beside the compiled programs, and told the next time.
"""

import contextlib
import hashlib
import json
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TextIO

import jax
from tqdm import tqdm

from nge_jax import __version__
from nge_jax.runtime.artifacts import write_atomically
from nge_jax.runtime.config import flatten
from nge_jax.runtime.workdir import HARMLESS

SECONDS_BETWEEN_LINES = 30
COMPILE_SECONDS = "nge_jax_compile_seconds.json"  # in the folder of compiled programs
MOST_KEPT = 500
# Settings that change no program: what none sees, and numbers that are arguments, see `search/numbers.py` and
# `train/numbers.py`. Whether there is such an argument at all is told by the arguments themselves.
INDIFFERENT = (
    *HARMLESS,
    "seed",
    "init_from",
    "embedding.learning_rate",
    "embedding.weight_decay",
    "evolution.learning_rate",
    "evolution.rank_scale",
    "gumbel.",
    "reinforce.learning_rate",
    "search.entropy_weight",
    "search.epochs",
    "search.skip_dropout",
    "search.warmup",
    "train.drop_path",
    "train.epochs",
    "train.images_per_epoch",
    "train.steps",
    "train.warmup_epochs",
    "weights.clip_norm",
    "weights.learning_rate",
    "weights.momentum",
    "weights.weight_decay",
)


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


def program_key(settings: Mapping[str, Any], arguments: Any) -> str:
    """Returns a name for a run's programs, by all that decides on them and a little more.

    Args:
      settings: of the run.
      arguments: a tree of arrays, or of their types, that the programs are given; shapes count, and where None is.
    """
    devices = jax.devices()
    about = [
        {k: v for k, v in flatten(settings).items() if not k.startswith(INDIFFERENT)},
        str(jax.tree.map(lambda leaf: str(jax.typeof(leaf)), arguments)),
        [devices[0].device_kind, len(devices), jax.__version__, __version__],
    ]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]


def usual_seconds(key: str) -> float | None:
    """Returns how long compiling the programs of this key took the last time; None where nobody knows."""
    seconds = _read().get(key)
    return seconds if isinstance(seconds, int | float) and 0 <= seconds < 1e6 else None


def remember_seconds(key: str, seconds: float) -> None:
    """Keeps for the next run how long compiling took; where that cannot be written, nothing happens."""
    file = _file()
    if file is None:
        return
    kept = {k: v for k, v in _read().items() if k != key} | {key: round(seconds, 1)}
    with contextlib.suppress(OSError):
        write_atomically(file, json.dumps(dict([*kept.items()][-MOST_KEPT:]), indent=0) + "\n")


def _file() -> Path | None:
    folder: str | None = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    return None if not folder or "://" in folder else Path(folder) / COMPILE_SECONDS


def _read() -> dict[str, Any]:
    file = _file()
    try:
        found = json.loads(file.read_text()) if file is not None else {}
    except (OSError, ValueError, RecursionError):  # of a cache: broken is as good as none
        return {}
    return found if isinstance(found, dict) else {}
