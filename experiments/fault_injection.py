"""Kills, stops and starves runs, resumes each run, and compares the results with an undisturbed run.

  python experiments/fault_injection.py                    a minute: some of each fault, on a training
  python experiments/fault_injection.py --kills=200 --stops=20 --tasks=all --minutes=600 --folder=DIR

Every run is a separate process, forked from this process, with a network of one or two cells. The seed draws the moment
of a fault. A moment is any time, the write of a checkpoint, a rename, or the opening of a file in the workdir. After a
fault, the same command is given again until the run ends.

A run survives a fault if the results equal the undisturbed run's: the arrays, the rows of metrics and the cell. Arrays
are compared by type, shape and CRC-32, as recorded in the checkpoint's manifest. The fault must not lose a checkpoint.
Exit code 1 means that a run did not survive a fault.

--folder keeps the trials in DIR/tried.jsonl. The same command then continues an earlier one, and the table counts both.
The tasks take turns, so that an interrupted command has tried all tasks.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
# Compiling and loading such tiny programs takes nearly all the time.
os.environ["XLA_FLAGS"] = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

from faults import trials
from faults.damage import DAMAGE
from faults.process import preload
from faults.tasks import TASKS
from faults.trials import Tally, Trial

KINDS = ("two", "kill", "stop", "interrupt", "data", "damage", "disk")
Wanted = dict[str, tuple[int, Trial]]  # fault in the table -> (trials wanted, trial)


def plan(kinds: Sequence[str], damages: Sequence[str], kills: int, stops: int) -> Wanted:
    """Returns the trials wanted of a task."""
    wanted: Wanted = {}
    if "two" in kinds:
        wanted["two runs at once"] = 1, trials.two_at_once
    for kind, count, sent in (
        ("kill", kills, signal.SIGKILL),
        ("stop", stops, signal.SIGTERM),
        ("interrupt", stops, signal.SIGINT),
    ):
        if kind in kinds:
            wanted[sent.name] = count, trials.hit(sent)
    if "data" in kinds:
        wanted["data folder removed"] = 2, trials.data_gone
    if "damage" in kinds:
        wanted |= {name: (1, trials.damaged(name)) for name in damages}
    if "disk" in kinds:
        wanted["disk full"] = len(trials.ROOMS), trials.disk_full
    return wanted


def inject(
    tasks: Sequence[str],
    wanted: Wanted,
    earlier: Sequence[Tally],
    folder: Path,
    minutes: float,
    seed: int,
) -> Iterator[Tally]:
    """Yields the result of each trial until there are as many as wanted, or the time is over."""
    deadline = time.monotonic() + 60 * minutes
    rng = random.Random(f"{seed} {len(earlier)}")  # draws other faults than earlier commands
    tried = {(task, fault): 0 for task in tasks for fault in wanted}
    for tally in earlier:
        if (tally.task, tally.fault) in tried:
            tried[tally.task, tally.fault] += tally.tried
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder / "cache")
    preload()
    subjects = {}
    left = True
    while left:
        left = False
        for task in tasks:
            for fault, (count, trial) in wanted.items():
                missing = count - tried[task, fault]
                if missing <= 0:
                    continue
                if time.monotonic() > deadline:
                    return
                place = folder / task.replace(" ", "_")
                if task not in subjects:
                    place.mkdir(exist_ok=True)
                    subjects[task] = trials.untouched(task, TASKS[task](place), place)
                subject, began = subjects[task], time.monotonic()
                tally = trial(subject, missing, rng)
                # A trial ends with a whole run. Only the undisturbed run had to compile.
                seconds = min(subject.seconds, time.monotonic() - began)
                subjects[task] = subject._replace(seconds=seconds)
                tried[task, fault] += count if tally is None else tally.tried
                left = True
                if tally is not None and (tally.tried or tally.lost):
                    yield tally


def table(tallies: Sequence[Tally]) -> str:
    """Returns the trials as a Markdown table with a row for each task and fault."""
    rows: dict[tuple[str, str], tuple[int, int]] = {}
    for tally in tallies:
        tried, lost = rows.get(tally[:2], (0, 0))
        rows[tally[:2]] = tried + tally.tried, lost + len(tally.lost)
    order = list(TASKS)
    ordered = sorted(rows.items(), key=lambda row: order.index(row[0][0]))
    total = tuple(sum(counts) for counts in zip(*rows.values(), strict=True)) or (0, 0)
    lines = ["| task | fault | tried | survived | lost |", "|---|---|---|---|---|"]
    for (task, fault), (tried, lost) in [*ordered, (("all", ""), total)]:
        lines.append(f"| {task} | {fault} | {tried} | {tried - lost} | {lost} |")
    return "\n".join(lines)


def read_record(file: Path) -> list[Tally]:
    """Reads the earlier trials, without a line that was cut off."""
    tallies = []
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            tallies.append(Tally(**json.loads(line)))
        except ValueError:
            continue
    return tallies


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tasks", default="train", help=f"all, or some of {', '.join(TASKS)}")
    parser.add_argument(
        "--kinds", default="all", help=f"kinds of faults: all, or some of {', '.join(KINDS)}"
    )
    parser.add_argument(
        "--damages", type=int, default=len(DAMAGE), help="how many kinds of damage to try, in turn"
    )
    parser.add_argument("--kills", type=int, default=6, help="SIGKILLs in all")
    parser.add_argument(
        "--stops", type=int, default=2, help="SIGTERMs, and as many SIGINTs, in all"
    )
    parser.add_argument(
        "--minutes", type=float, default=5.0, help="no trial starts after these minutes"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder", type=Path, help="keeps the trials, and the workdirs of lost runs"
    )
    given = parser.parse_args(arguments)
    chosen = {}
    for name, known in (("tasks", TASKS), ("kinds", KINDS)):
        text = getattr(given, name)
        chosen[name] = list(known) if text == "all" else text.split(",")
        if unknown := [word for word in chosen[name] if word not in known]:
            parser.error(
                f"--{name}: found {unknown[0]!r}, expected all or some of {', '.join(known)}"
            )
    # The tasks share the kills and stops.
    shared = (-(-count // len(chosen["tasks"])) for count in (given.kills, given.stops))
    wanted = plan(chosen["kinds"], list(DAMAGE)[: given.damages], *shared)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (given.folder or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        record = folder / "tried.jsonl"
        tallies = read_record(record)
        for tally in inject(
            chosen["tasks"], wanted, tallies.copy(), folder, given.minutes, given.seed
        ):
            tallies.append(tally)
            with record.open("a") as file:
                file.write(json.dumps(tally._asdict()) + "\n")
            survived = tally.tried - len(tally.lost)
            print(f"{tally.task}: {tally.fault}: {survived} of {tally.tried}", flush=True)
            for problem in tally.lost:
                print(f"  lost: {problem}", flush=True)
    print(f"\n{table(tallies)}\n\n{time.monotonic() - began:.0f} seconds, seed {given.seed}")
    return int(any(tally.lost for tally in tallies))


if __name__ == "__main__":
    sys.exit(run())
