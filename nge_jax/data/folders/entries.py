"""The entries of a folder that may be data: neither what systems leave behind, nor what this program has written."""

import os
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple, NoReturn

from nge_jax import files
from nge_jax.data import spec as dataset_spec
from nge_jax.data.photographs import pixels
from nge_jax.errors import InputError
from nge_jax.workdir import artifacts
from nge_jax.workdir import folder as workdir
from nge_jax.workdir.lock import RUN_LOCK
from nge_jax.workdir.names import listed

LITTER = {"__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db", "lost+found", "@eadir"}


class Contents(NamedTuple):
    """All that is found under a folder, however deep.

    Attributes:
      images: their files, in the order of their names.
      others: numbers of the other files, by their endings.
      runs: folders that this program has written; nothing in them is counted.
    """

    images: list[Path]
    others: Counter[str]
    runs: list[Path]


class Inside(NamedTuple):
    """The entries of a folder itself.

    Attributes:
      folders: names of its folders that may hold data, in their order.
      files: names of its files, in their order.
      runs: folders that this program has written, where they are all that a folder in it holds.
    """

    folders: list[str]
    files: list[str]
    runs: list[Path]

    @property
    def images(self) -> list[str]:
        """The files that are images by their endings."""
        return [name for name in self.files if is_image(name)]


def walk(root: Path) -> Contents:
    """Finds all images under a folder.

    Raises:
      InputError: a folder cannot be read: what is in it would be left out without a word.
    """
    images, others, runs = [], Counter(), []
    for place, folders, names in _places(root):
        if place != root and _is_output(place, names):
            runs.append(place)
            folders.clear()
            continue
        images += [place / name for name in names if is_image(name)]
        others += count_endings(name for name in names if not is_image(name))
    return Contents(sorted(images), others, runs)


def look_into(folder: Path) -> Inside:
    """Lists a folder; errors as of `walk`."""
    there = _list(folder)
    runs = {name: _runs_alone(folder / name) for name, is_folder in there.items() if is_folder}
    return Inside(
        folders=sorted(name for name, found in runs.items() if not found),
        files=sorted(name for name, is_folder in there.items() if not is_folder),
        runs=[run for found in runs.values() for run in found],
    )


def holds_image(folder: Path) -> bool:
    """Whether an image lies under a folder, however deep; errors as of `walk`."""
    return _first_image(folder)[0]


def is_image(name: str) -> bool:
    """Whether a file is read as an image, by the ending of its name."""
    return os.path.splitext(name)[1].lower() in pixels.FORMATS


def is_hidden(name: str) -> bool:
    """Whether an entry of this name is no data, but what an editor or a system keeps there."""
    return name.startswith(".") or name.lower() in LITTER


def count_endings(names: Iterable[str]) -> Counter[str]:
    """Counts files by the endings of their names."""
    return Counter(os.path.splitext(name)[1].lower() or "without an ending" for name in names)


def describe_left_out(
    others: Counter[str], folders: Collection[str] = (), runs: Collection[str] = ()
) -> str:
    """Says what is no data: "3 .txt, 1 without an ending, the folder drafts, the runs of nge_jax runs/a, runs/b"."""
    parts = [f"{count:,} {ending}" for ending, count in sorted(others.items())]
    for what, names in (("folder", folders), ("run of nge_jax", runs)):
        if names:
            many = what.replace("folder", "folders").replace("run ", "runs ")
            parts.append(f"the {many if len(names) > 1 else what} {listed(sorted(names))}")
    return ", ".join(parts)


def refuse_closed(error: OSError) -> NoReturn:
    """Raises the refusal of a folder that cannot be read."""
    raise InputError(
        f"{error.filename}: {files.reason(error)}, expected a folder that can be read"
    ) from error


def _places(root):
    """Yields (folder, names of folders in it, names of files in it) from `root` down, without what is hidden."""
    seen = set()
    # Links to folders are followed: data sets are made of them. `seen` ends a circle.
    for place, folders, names in os.walk(root, followlinks=True, onerror=refuse_closed):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield Path(place), folders, [name for name in names if not is_hidden(name)]


def _list(folder):
    """Returns {name: whether it is a folder} of what lies in a folder and is not hidden."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.is_dir() for entry in entries if not is_hidden(entry.name)}
    except OSError as error:
        refuse_closed(error)


def _runs_alone(folder):
    """Returns the outputs of this program under a folder if it is one, or holds them and no image; else none."""
    found, runs = _first_image(folder)
    return [] if found else runs


def _first_image(folder):
    """Looks for an image under a folder: (whether there is one, the program's outputs seen before it)."""
    runs = []
    for place, folders, names in _places(folder):
        if _is_output(place, names):
            runs.append(place)
            folders.clear()
        elif any(map(is_image, names)):
            return True, runs
    return False, runs


def _is_output(folder, names):
    """Whether a folder with files of these names is a run's, or a network that was exported."""
    if RUN_LOCK in names or (artifacts.ENVIRONMENT in names and workdir.is_ours(folder)):
        return True
    if artifacts.DATASET not in names:
        return False
    try:
        dataset_spec.read(folder)
    except InputError:
        return False
    return True
