"""A process that is measured: it says a line of JSON when it is ready, then times steps on demand.

Each measurement has a process of its own, so that none inherits another's caches, memory or threads, and so
that one which wants more memory or time than allowed can be ended and that reported.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
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


def serve(ready: dict, run: Callable[[int], None]) -> None:
    """The other side: says `ready`, then for every number N that comes, times `run(N)`, N steps."""
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        steps = int(line)
        begin = time.monotonic()
        run(steps)
        print((time.monotonic() - begin) / steps, flush=True)


def take_turns(processes: Sequence[Process], steps: int, rounds: int) -> list[list[float]]:
    """Seconds of a step of each process in each round, a dispatch of `steps` from one after the other."""
    for process in processes:
        process.seconds(steps)  # the first touches memory that the others find in place
    turns = [[process.seconds(steps) for process in processes] for _ in range(rounds)]
    return [list(seconds) for seconds in zip(*turns, strict=True)]


COMPARISON = (
    "PyTorch s (median; fastest)",
    "ours s (median; fastest)",
    "ours / PyTorch (median; fastest; turn by turn)",
)


def compare(torch: Process, ours: Process, steps: int, rounds: int) -> tuple[str, str, str]:
    """Cells of a table under the headings `COMPARISON`.

    Raises:
        RuntimeError: the networks differ in their number of parameters.
    """
    sizes = torch.ready["parameters"], ours.ready["parameters"]
    if sizes[0] != sizes[1]:
        raise RuntimeError("PyTorch has {:,} parameters, ours {:,}".format(*sizes))
    both = take_turns((torch, ours), steps, rounds)
    middle, fastest = map(statistics.median, both), map(min, both)
    (theirs, mine), (their_best, my_best) = middle, fastest
    ratios = [b / a for a, b in zip(*both, strict=True)]
    return (
        f"{theirs:.3g}; {their_best:.3g}",
        f"{mine:.3g}; {my_best:.3g}",
        f"{mine / theirs:.2f}; {my_best / their_best:.2f}; {min(ratios):.2f} to {max(ratios):.2f}",
    )


def row(*cells: str) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def processor() -> str:
    """The processor's name, and how many of its threads this process may use."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(os.sched_getaffinity(0))} x {names[0]}" if names else platform.machine()


def _resident_gb(pid):
    """Resident memory; 0 for a process that has ended or where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGESIZE") / 1e9
