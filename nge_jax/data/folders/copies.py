"""Images that two splits have in common, the same by their bytes: a test on them tells what a network remembers."""

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np

from nge_jax.data.folders.inventory import file_size, map_files, name_image
from nge_jax.data.npz import Arrays
from nge_jax.data.photographs import pixels
from nge_jax.data.photographs.folder import TEST, TRAIN, VALIDATION
from nge_jax.data.photographs.split import Split

PAIRS = ((TEST, TRAIN), (VALIDATION, TRAIN), (TEST, VALIDATION))
# Beyond these numbers of files or bytes only every second file is compared, or every fourth, ...
MOST_FILES, MOST_BYTES = 100_000, 2 * 10**9


def warnings(
    parts: Mapping[str, Split | Arrays], titles: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Yields a line for each two splits that have images in common.

    Args:
      parts: of a user's own files, by the splits' names.
      titles: what the user calls a split, where it has another name.
    """
    titles = {TRAIN: TRAIN, VALIDATION: VALIDATION, TEST: TEST} | dict(titles or {})
    for one, other in PAIRS:
        if one not in parts or other not in parts:
            continue
        here, there = (i.tolist() for i in _comparable(parts[one], parts[other]))
        seen = dict(zip(_digests(parts[other], there), there, strict=True))
        seen.pop(b"", None)
        digests = zip(here, _digests(parts[one], here), strict=True)
        found = [(index, seen[digest]) for index, digest in digests if digest in seen]
        if not found:
            continue
        first, second = found[0]
        example = f"{name_image(parts[one], first)} and {name_image(parts[other], second)}"
        images = "1 image" if len(found) == 1 else f"{len(found):,} images"
        verb = "is" if len(found) == 1 else "are"
        yield (
            f"warning: {images} of {titles[one]} {verb} in {titles[other]} too, the same by the bytes, "
            f"such as {example}"
        )


def _comparable(one, other):
    """Chooses the images of two splits that may be the same: of files those of a size that both have."""
    if isinstance(one, Arrays):
        return np.arange(len(one.labels)), np.arange(len(other.labels))
    sizes, others = _sizes(one), _sizes(other)
    same = np.flatnonzero(np.isin(sizes, others))
    for step in range(len(same).bit_length()):
        here = same[:: 1 << step]
        there = np.flatnonzero(np.isin(others, sizes[here]))
        if (
            len(here) + len(there) <= MOST_FILES
            and sizes[here].sum() + others[there].sum() <= MOST_BYTES
        ):
            return here, there
    return same[:0], same[:0]


def _sizes(split):
    return np.array(map_files(file_size, _paths(split)), np.int64)


def _paths(split):
    return [split.records.paths[i] for i in split.records.file]


def _digests(part, indices):
    """Makes a digest of each image's bytes; an empty one of a file that cannot be read, which is said later."""
    if isinstance(part, Arrays):
        return [_digest(part.images[index].tobytes()) for index in indices]
    paths = _paths(part)
    return map_files(_digest_file, [paths[index] for index in indices])


def _digest_file(path):
    try:
        return _digest(pixels.read_bytes(path))
    except OSError:
        return b""


def _digest(data):
    return hashlib.blake2b(data, digest_size=16).digest()
