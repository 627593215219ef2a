"""Damage that a workdir may suffer while no run uses the workdir."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from faults.process import steps


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 3, len(data), max(1, len(data) // 7)):
        data[at] ^= 0xFF
    path.write_bytes(data)


def each_file(change: Callable[[Path], None]) -> Callable[[Path], None]:
    def damage(workdir):
        newest = workdir / "checkpoints" / str(steps(workdir)[-1])
        for file in [p for p in newest.rglob("*") if p.is_file() and p.stat().st_size]:
            change(file)

    return damage


def without_metadata(workdir: Path) -> None:
    newest = workdir / "checkpoints" / str(steps(workdir)[-1])
    for file in (newest / "_CHECKPOINT_METADATA", newest / "state" / "_METADATA"):
        file.unlink(missing_ok=True)


def by_a_file(workdir: Path) -> None:
    newest = workdir / "checkpoints" / str(steps(workdir)[-1])
    shutil.rmtree(newest)
    newest.write_text("")


def cut_metrics(workdir: Path) -> None:
    with (workdir / "metrics.jsonl").open("ab") as file:
        file.write(b'{"epoch": 2, "st\xc3')


DAMAGE: dict[str, Callable[[Path], None]] = {
    "newest checkpoint truncated": each_file(truncate),
    "newest checkpoint emptied": each_file(lambda path: os.truncate(path, 0)),
    "newest checkpoint's bytes flipped": each_file(flip),
    "newest checkpoint without metadata": without_metadata,
    "a file in the newest checkpoint's place": by_a_file,
    "metrics.jsonl cut in mid-line": cut_metrics,
}
