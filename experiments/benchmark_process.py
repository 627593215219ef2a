"""A process that is measured: it says a line of JSON when it is ready, then times steps on demand.

Each measurement has a process of its own, so that none inherits another's caches, memory or threads, and so
that one which wants more memory or time than allowed can be ended and that reported.
"""

import json
import os
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Killed(Exception):
    """What was measured wanted more than its limits; the message says at which size or time it was ended."""


class Process:
    """A context; `ready` is what the process reported, `seconds(n)` times a step in a dispatch of n.

    Args:
        command: what to run; flags by name follow.
        env: added to the environment.
        limit_gb, limit_s: resident memory and time until it is ready, after which it is killed.
    """

    def __init__(
        self, command: list[str], *, env: dict, limit_gb: float, limit_s: float, **options
    ):
        command = [*command, *(f"--{name}={value}" for name, value in options.items())]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"} | env,
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
        """Seconds of a step, in one dispatch of `steps`.

        Raises:
            Killed: it went over a limit.
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


def _resident_gb(pid):
    """Resident memory; 0 for a process that has ended or where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGESIZE") / 1e9
