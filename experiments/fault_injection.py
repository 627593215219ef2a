"""Kills, stops and starves runs, goes on with each, and compares what they end with to a run that nobody has touched.

  python experiments/fault_injection.py                    a minute: some of each fault, on a search and a training
  python experiments/fault_injection.py --kills=200 --stops=20 --tasks=all --minutes=60

Every run is a process of its own, forked from this one, on a network of one or two cells. It is killed at a moment
drawn by the seed: any; while a checkpoint is being written; before a checkpoint or a small file is renamed; before a
file of the workdir is opened. After a fault the same command is given again until the run ends. A fault is survived if
the run then ends with the same arrays (type, shape and CRC-32 of each, as the checkpoint's manifest has them), the same
rows of metrics and the same cell, and no fault has taken a checkpoint away. Exit code 1 if one was not survived.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ["JAX_PLATFORMS"] = "cpu"
# Tiny programs: to compile and to load them is all the time that they take.
os.environ["XLA_FLAGS"] = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

from faults.damage import DAMAGE
from faults.process import DISK, MOMENTS, Fault, last_line, log_of, outcome, start, steps, wait
from faults.tasks import TASKS
from nge_jax import main
from nge_jax.search import runner as search_runner  # noqa: F401 (the children need not import it)
from nge_jax.segment import runner as segment_runner  # noqa: F401
from nge_jax.train import runner as train_runner  # noqa: F401

KILLED, TERMINATED, INTERRUPTED = -signal.SIGKILL, 75, 130
CHECKPOINT = 4  # folders that are made for each
KINDS = ("two", "damage", "disk", "kill", "stop")


class Tally(NamedTuple):
    """What became of a kind of fault: a row of the table."""

    task: str
    fault: str
    tried: int
    lost: list[str]


def hit_until_done(
    config: Any, workdir: Path, faults: Iterator[Fault], allowed: Sequence[int]
) -> Iterator[str]:
    """Runs the command with fault after fault until it ends; yields of every fault that hit what was lost, or ""."""
    newest = 0
    for fault in faults:
        code = wait(start(config, workdir, fault))
        now = max(steps(workdir), default=0)
        if code == 0:
            return
        if code not in allowed:
            yield f"exit code {code}: {last_line(workdir)}"
        elif now < newest:
            yield f"the checkpoint of step {newest} is gone, {now} is the newest"
        else:
            yield ""
        newest = now


def draw_faults(rng: random.Random, sent: int, seconds: float) -> Iterator[Fault]:
    """Yields faults without an end: moments in turn, how many pass and how long after by chance."""
    while True:
        for moment in MOMENTS:
            number = rng.randrange({"any": 1, "in a checkpoint": 5}.get(moment, 20))
            delay = {
                "any": rng.uniform(0.3, 1.0) * seconds,
                "in a checkpoint": rng.uniform(0, 0.03),
            }
            yield Fault(sent, moment, number, delay.get(moment, 0.0))


def hit_often(task: str, config: Any, folder: Path, expected: dict, wanted: int, sent: int,
              allowed: Sequence[int], seconds: float, rng: random.Random, deadline: float) -> Tally:  # fmt: skip
    """Hits runs until there were as many faults as wanted, or the time is over."""
    tried, lost, faults, number = 0, [], draw_faults(rng, sent, seconds), 0
    while tried < wanted and time.monotonic() < deadline:
        number += 1
        workdir = folder / f"hit{number}"
        left = wanted - tried
        for problem in hit_until_done(
            config, workdir, (next(faults) for _ in range(left)), allowed
        ):
            tried += 1
            lost += [problem] if problem else []
            if time.monotonic() > deadline:
                break
        code = wait(start(config, workdir))
        if code != 0 or outcome(workdir) != expected:
            lost.append(f"the run ends differently ({code}: {last_line(workdir)})")
        shutil.rmtree(workdir)
    return Tally(task, signal.Signals(sent).name, tried, lost)


def damage_once(
    task: str, config: Any, folder: Path, expected: dict, damages: Sequence[str], seed: int
) -> Iterator[Tally]:
    """Kills a run after some checkpoints, damages its workdir in each way, and goes on."""
    for name in damages:
        workdir = folder / "damaged"
        wait(
            start(
                config,
                workdir,
                Fault(signal.SIGKILL, "in a checkpoint", 4 * CHECKPOINT + seed % 3, 0.0),
            )
        )
        assert len(steps(workdir)) > 1, f"{task}: found the checkpoints {steps(workdir)}"
        DAMAGE[name](workdir)
        code = wait(start(config, workdir))
        fits = code == 0 and outcome(workdir) == expected
        yield Tally(task, name, 1, [] if fits else [f"exit code {code}: {last_line(workdir)}"])
        shutil.rmtree(workdir)


def two_at_once(task: str, config: Any, folder: Path, expected: dict) -> Tally:
    """Starts two runs in one workdir: one does all, the other is refused."""
    workdir, lost = folder / "two", []
    first, second = start(config, workdir), start(config, workdir)
    codes = sorted((wait(first), wait(second)), key=str)
    if codes != [0, 2] or outcome(workdir) != expected:
        lost = [f"exit codes {codes}"]
    shutil.rmtree(workdir)
    return Tally(task, "two runs at once", 1, lost)


def disk_full(
    task: str, config: Any, folder: Path, expected: dict, rng: random.Random
) -> Tally | None:
    """Fills a small disk while the run goes, then makes room; None where this user may mount none."""
    disk, tried, lost = folder / DISK, 0, []
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], capture_output=True
    ).returncode:
        disk.rmdir()
        return None
    try:
        for room in (
            0,
            2**12,
            2**15,
            2**17,
        ):  # bytes that are left, for the small files or half a checkpoint
            workdir = disk / "w"
            wait(
                start(
                    config,
                    workdir,
                    Fault(
                        signal.SIGKILL,
                        "in a checkpoint",
                        rng.randrange(CHECKPOINT, 4 * CHECKPOINT),
                        0.0,
                    ),
                )
            )
            before = steps(workdir)
            with (disk / "filling").open("wb") as file:
                free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
                file.write(bytes(max(0, free - room)))
            code, line = wait(start(config, workdir)), last_line(workdir)
            traceback = "Traceback" in log_of(workdir).read_text()
            (disk / "filling").unlink()
            kept = max(steps(workdir), default=0) >= max(before, default=0)
            again = wait(start(config, workdir))
            tried += 1
            if code != 2 or traceback or not kept or again != 0 or outcome(workdir) != expected:
                seen = "a traceback" if traceback else "no checkpoint lost" if kept else "one lost"
                lost.append(f"room for {room}: exit codes {code}, {again}, {seen}: {line}")
            shutil.rmtree(workdir, ignore_errors=True)
    finally:
        subprocess.run(["umount", disk], check=True)
        disk.rmdir()
    return Tally(task, "disk full", tried, lost)


def table(tallies: Sequence[Tally]) -> str:
    """Returns the table of what was tried, as Markdown."""
    lines = ["| task | fault | tried | survived | lost |", "|---|---|---|---|---|"]
    for t in tallies:
        lines.append(
            f"| {t.task} | {t.fault} | {t.tried} | {t.tried - len(t.lost)} | {len(t.lost)} |"
        )
    tried, lost = sum(t.tried for t in tallies), sum(len(t.lost) for t in tallies)
    return "\n".join([*lines, f"| all | | {tried} | {tried - lost} | {lost} |"])


def inject(
    tasks: Sequence[str],
    kinds: Sequence[str],
    damages: Sequence[str],
    kills: int,
    stops: int,
    minutes: float,
    seed: int,
) -> Iterator[Tally]:
    """Yields a row for each task and fault; kills and stops are shared among the tasks, and so is their time."""
    deadline, rng = time.monotonic() + 60 * minutes, random.Random(seed)
    shared = -(-kills // len(tasks)), -(-stops // len(tasks))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder / "cache")
        main.jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        for number, task in enumerate(tasks):
            # What is left is for this task and those to come.
            until = time.monotonic() + (deadline - time.monotonic()) / (len(tasks) - number)
            config, whole = TASKS[task](folder), folder / "whole"
            shutil.rmtree(whole, ignore_errors=True)
            began = time.monotonic()
            code = wait(start(config, whole))
            assert code == 0, f"{task} by itself: exit code {code}: {last_line(whole)}"
            seconds, expected = time.monotonic() - began, outcome(whole)
            given = (task, config, folder, expected)
            for wanted, sent, codes in (
                (shared[0] * ("kill" in kinds), signal.SIGKILL, (KILLED,)),
                # Before the run listens SIGTERM ends it as it ends any process.
                (shared[1] * ("stop" in kinds), signal.SIGTERM, (TERMINATED, -signal.SIGTERM)),
                (shared[1] * ("stop" in kinds), signal.SIGINT, (INTERRUPTED,)),
            ):
                if wanted:
                    yield hit_often(*given, wanted, sent, codes, seconds, rng, until)
            if "two" in kinds:
                yield two_at_once(*given)
            if "damage" in kinds:
                yield from damage_once(*given, damages, seed)
            if "disk" in kinds and (full := disk_full(*given, rng)) is not None:
                yield full


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tasks", default="train", help=f"all, or some of {', '.join(TASKS)}")
    parser.add_argument(
        "--kinds", default="all", help=f"of faults: all, or some of {', '.join(KINDS)}"
    )
    parser.add_argument("--damages", type=int, default=len(DAMAGE), help="kinds of damage, in turn")
    parser.add_argument("--kills", type=int, default=6, help="SIGKILLs in all")
    parser.add_argument(
        "--stops", type=int, default=2, help="SIGTERMs, and as many SIGINTs, in all"
    )
    parser.add_argument("--minutes", type=float, default=5.0, help="after which no kill is begun")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    chosen = {}
    for name, known in (("tasks", TASKS), ("kinds", KINDS)):
        text = getattr(given, name)
        chosen[name] = list(known) if text == "all" else text.split(",")
        if unknown := [word for word in chosen[name] if word not in known]:
            parser.error(
                f"--{name}: found {unknown[0]!r}, expected all or some of {', '.join(known)}"
            )
    began, tallies = time.monotonic(), []
    damages = list(DAMAGE)[: given.damages]
    options = (damages, given.kills, given.stops, given.minutes, given.seed)
    for tally in inject(*chosen.values(), *options):
        tallies.append(tally)
        print(
            f"{tally.task}: {tally.fault}: {tally.tried - len(tally.lost)} of {tally.tried}",
            flush=True,
        )
        for problem in tally.lost:
            print(f"  lost: {problem}", flush=True)
    print(f"\n{table(tallies)}\n\n{time.monotonic() - began:.0f} seconds, seed {given.seed}")
    return int(any(tally.lost for tally in tallies))


if __name__ == "__main__":
    sys.exit(run())
