"""Runs a measurement in a separate process. The process prints a line of JSON when ready, then times steps on demand.

A separate process inherits no caches, memory or threads of another measurement. A process that exceeds the limit of
memory or time can be killed, and the kill is reported.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[1]
ROOT = BENCHMARKS.parents[1]
PATH = os.pathsep.join(map(str, (BENCHMARKS, ROOT)))  # where a process finds its modules


class Killed(Exception):
    """A process exceeded a limit. The message tells the memory and the time at which it was killed."""


class Process:
    """A process to measure. As a context manager, it waits until the process is ready, and ends the process.

    The attribute `ready` is the report of the process.

    Args:
        command: the command line; the flags `options` follow it.
        env: variables to add to the environment.
        limit_gb, limit_s: the resident memory, and the time until ready, above which the process is killed.
    """

    def __init__(
        self, command: list[str], *, env: dict, limit_gb: float, limit_s: float, **options
    ):
        command = [*command, *(f"--{name}={value}" for name, value in options.items())]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": PATH, "TF_CPP_MIN_LOG_LEVEL": "3"} | env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._limits = limit_gb, limit_s
        self._reason = ""
        self._peak = 0.0
        self._begin = time.monotonic()
        self._idle = False
        threading.Thread(target=self._watch, daemon=True).start()

    def __enter__(self):
        try:
            self.ready = json.loads(self._line())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()

    def seconds(self, steps: int) -> float:
        """Times a step in one dispatch of `steps` steps.

        Raises:
            Killed: the process exceeded a limit.
        """
        self._begin = time.monotonic()
        print(steps, file=self._process.stdin, flush=True)
        return float(self._line())

    def _line(self):
        self._idle = False
        line = self._process.stdout.readline()
        self._idle = True
        if line:
            return line
        self._process.wait()
        if self._reason:
            raise Killed(self._reason)
        raise RuntimeError(f"{self._process.args} ended with {self._process.returncode}")

    def _watch(self):
        limit_gb, limit_s = self._limits
        while self._process.poll() is None:
            resident, seconds = _resident_gb(self._process.pid), time.monotonic() - self._begin
            if resident > limit_gb or (seconds > limit_s and not self._idle):
                self._reason = f"killed at {resident:.1f} GB after {seconds:.0f} s"
                self._process.kill()
            time.sleep(0.2)


def serve(ready: dict, run: Callable[[int], None]) -> None:
    """Runs in the measured process: prints `ready`, then times `run(N)`, N steps, for every number N on stdin."""
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        steps = int(line)
        begin = time.monotonic()
        run(steps)
        print((time.monotonic() - begin) / steps, flush=True)


def take_turns(processes: Sequence[Process], steps: int, rounds: int) -> list[list[float]]:
    """Times a step of each process in each round. The processes take turns with a dispatch of `steps` steps."""
    for process in processes:
        process.seconds(steps)  # the first dispatch allocates memory that later dispatches reuse
    turns = [[process.seconds(steps) for process in processes] for _ in range(rounds)]
    return [list(seconds) for seconds in zip(*turns, strict=True)]


def _resident_gb(pid):
    """Reads the resident memory. It is 0 if the process has ended or the system does not report memory."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGESIZE") / 1e9
