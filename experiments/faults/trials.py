"""A trial of each kind: a fault hits a run, the run resumes, and the results are compared with an undisturbed run."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from faults.damage import DAMAGE
from faults.process import DISK, MOMENTS, Fault, last_line, log_of, outcome, start, steps, wait
from faults.tasks import DATA

# Until the run installs a handler, SIGTERM ends the process.
CODES = {
    signal.SIGKILL: (-signal.SIGKILL,),
    signal.SIGTERM: (75, -signal.SIGTERM),
    signal.SIGINT: (130,),
}
CHECKPOINT = 4  # folders made for each checkpoint
CHAIN = 8  # most faults of one run
ROOMS = (0, 2**12, 2**15, 2**17)  # bytes left on the disk, for the small files or half a checkpoint


class Subject(NamedTuple):
    """A task and the task's undisturbed run.

    Attributes:
      name: name of the task.
      config: config of the task.
      folder: holds the workdirs.
      expected: results of the undisturbed run.
      seconds: the best known time of a run.
    """

    name: str
    config: Any
    folder: Path
    expected: dict[str, Any]
    seconds: float


class Tally(NamedTuple):
    """The trials of a kind of fault, and the losses."""

    task: str
    fault: str
    tried: int
    lost: list[str]


# (subject, trials still wanted, generator) -> tally, or None if this user cannot make such a fault.
Trial = Callable[[Subject, int, random.Random], Tally | None]


def untouched(name: str, config: Any, folder: Path) -> Subject:
    """Runs a task undisturbed."""
    workdir = folder / "whole"
    shutil.rmtree(workdir, ignore_errors=True)
    began = time.monotonic()
    code = wait(start(config, workdir))
    assert code == 0, f"{name} by itself: exit code {code}: {last_line(workdir)}"
    return Subject(name, config, folder, outcome(workdir), time.monotonic() - began)


def draw_faults(rng: random.Random, sent: int, seconds: float) -> Iterator[Fault]:
    """Yields faults forever. The moments take turns; the number of passed moments and the delay are random."""
    begin = rng.randrange(len(MOMENTS))
    while True:
        for moment in MOMENTS[begin:] + MOMENTS[:begin]:
            number = rng.randrange({"any": 1, "in a checkpoint": 5}.get(moment, 20))
            delay = {
                "any": rng.uniform(0.2, 1.0) * seconds,
                "in a checkpoint": rng.uniform(0, 0.03),
            }
            yield Fault(sent, moment, number, delay.get(moment, 0.0))


def hit(sent: signal.Signals) -> Trial:
    """Makes the trial that sends a run this signal again and again until it ends."""

    def trial(subject, wanted, rng):
        workdir, tried, lost, newest, code = subject.folder / "hit", 0, [], 0, None
        shutil.rmtree(workdir, ignore_errors=True)
        faults = draw_faults(rng, sent, subject.seconds)
        for fault in (next(faults) for _ in range(min(wanted, CHAIN))):
            code = wait(start(subject.config, workdir, fault))
            now = max(steps(workdir), default=0)
            if code == 0:
                break
            tried += 1
            if code not in CODES[sent]:
                lost.append(f"{fault}: exit code {code}: {last_line(workdir)}")
            elif now < newest:
                lost.append(
                    f"{fault}: the checkpoint of step {newest} is gone, {now} is the newest"
                )
            newest = now
        lost += [] if code == 0 and is_as_expected(subject, workdir) else go_on(subject, workdir)
        return Tally(subject.name, sent.name, tried, lost)

    return trial


def is_as_expected(subject: Subject, workdir: Path) -> bool:
    """Tells whether a run's results equal the undisturbed run's. If they do, deletes the workdir."""
    if outcome(workdir) != subject.expected:
        return False
    shutil.rmtree(workdir)
    return True


def go_on(subject: Subject, workdir: Path) -> list[str]:
    """Runs the command once more and returns the losses. After a loss, the workdir is kept."""
    code = wait(start(subject.config, workdir))
    if code == 0 and is_as_expected(subject, workdir):
        return []
    kept = workdir.with_name(f"lost{time.time_ns()}")
    line = last_line(workdir)
    if workdir.parent.name != DISK:
        workdir.rename(kept)
    return [f"the run ends differently (exit code {code}, {line}), see {kept.name}"]


def begun(subject: Subject, workdir: Path, checkpoints: int) -> None:
    """Starts a run and kills it when it has saved `checkpoints` checkpoints."""
    shutil.rmtree(workdir, ignore_errors=True)
    fault = Fault(signal.SIGKILL, "in a checkpoint", CHECKPOINT * checkpoints, 0.0)
    wait(start(subject.config, workdir, fault))
    assert len(steps(workdir)) > 1, f"{subject.name}: found the checkpoints {steps(workdir)}"


def damaged(name: str) -> Trial:
    """Makes the trial that damages the workdir of a killed run in one way."""

    def trial(subject, wanted, rng):
        workdir = subject.folder / "damaged"
        begun(subject, workdir, rng.randrange(3, 8))
        DAMAGE[name](workdir)
        return Tally(subject.name, name, 1, go_on(subject, workdir))

    return trial


def two_at_once(subject: Subject, wanted: int, rng: random.Random) -> Tally:
    """Starts two runs in one workdir. One run must finish, and the other must be refused."""
    workdir = subject.folder / "two"
    shutil.rmtree(workdir, ignore_errors=True)
    first, second = start(subject.config, workdir), start(subject.config, workdir)
    codes = sorted((wait(first), wait(second)), key=str)
    is_right = codes == [0, 2] and is_as_expected(subject, workdir)
    return Tally(subject.name, "two runs at once", 1, [] if is_right else [f"exit codes {codes}"])


def data_gone(subject: Subject, wanted: int, rng: random.Random) -> Tally | None:
    """Moves the data away while a run reads them, then back. Returns None for a task that reads all data first."""
    if subject.name not in DATA:
        return None
    workdir, data = subject.folder / "gone", subject.folder / DATA[subject.name]
    away = data.with_name("away")
    shutil.rmtree(workdir, ignore_errors=True)
    moment = "in a checkpoint", CHECKPOINT * rng.randrange(1, 4), 0.0
    code = wait(start(subject.config, workdir, Fault(0, *moment, moves=(data, away))))
    text, lost = log_of(workdir).read_text(errors="replace"), []
    if code != 2 or "Traceback" in text or not steps(workdir):
        lost.append(f"exit code {code}, checkpoints {steps(workdir)}: {last_line(workdir)}")
    if away.exists():
        away.rename(data)
    lost += go_on(subject, workdir)
    return Tally(subject.name, "data folder removed", 1, lost[:1])


def disk_full(subject: Subject, wanted: int, rng: random.Random) -> Tally | None:
    """Fills a small disk while the run goes, then makes room. Returns None if this user may not mount a disk."""
    disk, room = subject.folder / DISK, ROOMS[wanted % len(ROOMS)]
    disk.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True).returncode:
        disk.rmdir()
        return None
    try:
        workdir, lost = disk / "w", []
        begun(subject, workdir, rng.randrange(2, 6))
        before = max(steps(workdir))
        with (disk / "filling").open("wb") as file:
            free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
            file.write(bytes(max(0, free - room)))
        code, line = wait(start(subject.config, workdir)), last_line(workdir)
        traceback = "Traceback" in log_of(workdir).read_text(errors="replace")
        (disk / "filling").unlink()
        is_kept = max(steps(workdir), default=0) >= before
        if code != 2 or traceback or not is_kept:
            seen = "a traceback" if traceback else "nothing lost" if is_kept else "a step lost"
            lost.append(f"room for {room}: exit code {code}, {seen}: {line}")
        lost += go_on(subject, workdir)
    finally:
        subprocess.run(["umount", disk], check=True)
        disk.rmdir()
    return Tally(subject.name, "disk full", 1, lost[:1])
