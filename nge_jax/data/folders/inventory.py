"""The inventory that recognizes a user's images: how many each class has, and a checksum of all of them.

Counts alone miss an exchanged image, and two images that have changed places between classes.
"""

import hashlib
import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from nge_jax.data.npz import Arrays
from nge_jax.data.photographs import record_index
from nge_jax.data.photographs.split import Split
from nge_jax.data.spec import Inventory

T = TypeVar("T")
AT_ONCE = 256  # files that a thread takes at once
DIGITS = 32  # hexadecimal, of a checksum


def take(
    root: str, parts: Mapping[str, Split | Arrays], class_names: Iterable[str]
) -> Inventory | None:
    """Takes the inventory of a user's own images; None of a set of TFDS, whose files nobody edits.

    Args:
      root: the folder; "" where the images are in no folder.
      parts: by the splits' names.
      class_names: all of them.
    """
    classes = len([*class_names])
    if all(isinstance(part, Arrays) for part in parts.values()):
        entries = [_digest(split, part) for split, part in parts.items()]
    elif root:
        entries = [line for part in parts.values() for line in _lines(root, part)]
    else:
        return None
    counts = {
        split: tuple(np.bincount(part.labels, minlength=classes).tolist())
        for split, part in parts.items()
        if part.labels is not None  # as of a set of TFDS alone
    }
    return Inventory(counts, checksum(entries))


def checksum(entries: Iterable[bytes]) -> str:
    """Makes a checksum of entries, whatever their order."""
    digest = hashlib.sha256()
    for entry in sorted(entries):
        digest.update(len(entry).to_bytes(8, "little") + entry)
    return digest.hexdigest()[:DIGITS]


def _lines(root, part):
    """Describes each file by a line; a file system may give its name in another Unicode form than the last one did."""
    paths = [part.records.paths[i] for i in part.records.file]
    above = os.path.join(Path(root), "") if Path(root) != Path() else ""
    for path, label, size in zip(paths, part.labels, map_files(file_size, paths), strict=True):
        name = unicodedata.normalize("NFC", path.removeprefix(above))
        yield os.fsencode(f"{name}\0{label}\0{size}")


def map_files(function: Callable[[str], T], paths: Sequence[str]) -> list[T]:
    """Applies a function to files, many at a time: it waits for the disk, or for a file server."""
    parts = [paths[start : start + AT_ONCE] for start in range(0, len(paths), AT_ONCE)]
    with ThreadPoolExecutor(record_index.THREADS) as pool:
        return [found for part in pool.map(lambda p: [*map(function, p)], parts) for found in part]


def name_image(part: Split | Arrays, index: int) -> str:
    """Names an image of a split for a line: its file, or its number."""
    if isinstance(part, Arrays):
        return f"image {index}"
    return record_index.name(part.records, index)


def file_size(path: str | Path) -> int:
    """Returns the bytes of a file; -1 where there is none."""
    try:
        return os.stat(path).st_size
    except OSError:  # a link that leads nowhere, refused when it is read
        return -1


def _digest(split, part):
    digest = hashlib.sha256(f"{split}\0{part.images.shape}\0".encode())
    for array in part:
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
