"""A folder of images as a data set: its classes, its splits, and what in it is no data.

    DIR/CLASS/*                          flat: a part of each class is held out, drawn by a seed
    DIR/train/CLASS/*, DIR/val/CLASS/*   what is held out lies apart: val (valid, validation), or test, or both

Images may lie in folders below that of their class. Entries that begin with a dot, and those that systems leave behind,
are no data. The labels are the numbers of the classes in the order of their names, over all splits.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from nge_jax import files
from nge_jax.data.photographs import pixels
from nge_jax.errors import ArgumentError, InputError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = {TRAIN: (TRAIN,), VALIDATION: ("val", "valid", VALIDATION), TEST: (TEST,)}  # their folders
LITTER = {"__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db", "lost+found", "@eadir"}


class Part(NamedTuple):
    """The images of a split.

    Attributes:
      paths: N files.
      labels: int32 [N].
    """

    paths: tuple[str, ...]
    labels: np.ndarray


class Listing(NamedTuple):
    """What a folder holds.

    Attributes:
      names: of the classes.
      splits: TRAIN, what is tested at the end (TEST), and perhaps VALIDATION, which chooses the best checkpoint.
      held_out: of a flat folder the files of TEST, relative to it, else empty.
      notes: lines for the user: what is used, what is left out; warnings.
    """

    names: tuple[str, ...]
    splits: dict[str, Part]
    held_out: tuple[str, ...]
    notes: tuple[str, ...]


def walk(root: Path) -> tuple[list[Path], Counter[str]]:
    """Finds the images under a folder, in the order of their names, and counts the other files by their endings.

    Raises:
      InputError: a folder cannot be read: what is in it would be left out without a word.
    """
    images, others, seen = [], Counter(), set()
    # Links to folders are followed: data sets are made of them. `seen` ends a circle.
    for place, folders, names in os.walk(root, followlinks=True, onerror=_refuse_closed):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not is_hidden(name)]
        for name in names:
            ending = os.path.splitext(name)[1].lower()
            if is_hidden(name):
                continue
            if ending in pixels.FORMATS:
                images.append(Path(place, name))
            else:
                others[ending or "without an ending"] += 1
    return sorted(images), others


def is_images(root: str | Path) -> bool:
    """Whether a folder is one of images alone: all folders in it, or in its train, hold some.

    These are two at least: a folder that keeps other things beside some pictures is none. No image is read.
    """
    root = Path(root).expanduser()
    try:
        place = root / TRAIN if (root / TRAIN).is_dir() else root
        classes = _subfolders(place) if place.is_dir() else []
        return len(classes) > 1 and all(_holds_image(place / name) for name in classes)
    except (OSError, InputError):  # closed to this user
        return False


def _holds_image(folder):
    return any(entry.suffix.lower() in pixels.FORMATS for entry in _entries(folder))


def _entries(folder):
    """Lists what lies in a folder and may be data."""
    try:
        return [entry for entry in folder.iterdir() if not is_hidden(entry.name)]
    except OSError as error:
        _refuse_closed(error)


def _refuse_closed(error: OSError) -> NoReturn:
    raise InputError(
        f"{error.filename}: {files.reason(error)}, expected a folder that can be read"
    ) from error


def is_hidden(name: str) -> bool:
    """Whether an entry of this name is no data, but what an editor or a system keeps there."""
    return name.startswith(".") or name.lower() in LITTER


def describe_left_out(others: Counter[str]) -> str:
    """Says how many files were left out: "3 .txt, 1 without an ending"."""
    return ", ".join(f"{count} {ending}" for ending, count in sorted(others.items()))


def scan(
    root: str | Path,
    *,
    seed: int = 0,
    test_fraction: float = 0.2,
    names: Sequence[str] | None = None,
) -> Listing:
    """Lists a folder's images; reads none of them.

    Args:
      root: the folder; "~" expands.
      seed: of a flat folder; it decides which images are held out.
      test_fraction: of a flat folder, the part of each class that is held out.
      names: the classes, where they are known from elsewhere: the folder's must be among them, and labels are numbers
        of these.

    Raises:
      ArgumentError: no such folder, no classes, no image in a split, or a class that is not one of `names`.
      InputError: a folder in it cannot be read.
    """
    if not str(root):  # the current one has a name, too
        raise ArgumentError(
            "name",
            "found folder: without a folder, expected folder:DIR (or --data DIR of train_folder and search_folder)",
        )
    root = Path(root).expanduser()
    if not root.is_dir():
        raise ArgumentError("name", f"found no folder {root}, expected folder:DIR")
    found = _split_folders(root)
    folders = found or {TRAIN: root}
    own = {name for folder in folders.values() for name in _subfolders(folder)}
    known = tuple(sorted(own)) if names is None else tuple(names)
    if not own and not found:
        raise ArgumentError(
            "name",
            f"found no folder of a class in {root}, expected DIR/CLASS/* or DIR/train/CLASS/*",
        )
    if extra := sorted(own - set(known)):
        raise ArgumentError(
            "name", f"{root} has the class {extra[0]}, expected one of {', '.join(known)}"
        )
    others: Counter[str] = Counter()
    splits = {}
    for split, folder in folders.items():
        paths, labels = [], []
        for label, name in enumerate(known):
            images, left = walk(folder / name) if (folder / name).is_dir() else ([], Counter())
            paths += map(str, images)
            labels += [label] * len(images)
            others += left
        others += _loose(folder)
        if not paths:
            why = f" ({describe_left_out(others)} cannot be read as images)" if others else ""
            raise ArgumentError("name", f"found no image in {folder}{why}")
        splits[split] = Part(tuple(paths), np.array(labels, np.int32))
    held_out = ()
    if not found:
        splits, held_out = _hold_out(root, splits[TRAIN], seed, test_fraction)
    notes = [_describe(root, known, folders, splits, held_out, others), *warnings(known, splits)]
    if TEST not in splits:  # ImageNet's way: what is held out is what the network is tested on
        splits[TEST] = splits.pop(VALIDATION)
    return Listing(known, splits, held_out, tuple(notes))


def _split_folders(root):
    """Finds the folders of the splits; none where the classes themselves lie in `root`."""
    there = set(_subfolders(root))
    # A class may be called so, of trains say: then it holds images.
    if TRAIN not in there:
        held_out = [name for split in SPLITS.values() for name in split if name in there]
        if others := [name for name in held_out if _holds_classes(root / name)]:
            raise ArgumentError(
                "name",
                f"found {' and '.join(others)} in {root} without train, expected train beside it, or the classes "
                "themselves",
            )
        return {}
    if not _subfolders(root / TRAIN) and _loose(root / TRAIN):
        return {}
    folders = {}
    for split, choices in SPLITS.items():
        present = [name for name in choices if name in there]
        if len(present) > 1:
            raise ArgumentError("name", f"{root} has {' and '.join(present)}, expected one of them")
        if present:
            folders[split] = root / present[0]
    if len(folders) < 2:
        expected = ", ".join((*SPLITS[VALIDATION], TEST))
        raise ArgumentError(
            "name",
            f"found the splits train in {root}, expected train and one of {expected}, or the classes themselves "
            f"(folder:{root / TRAIN} holds a part of each out)",
        )
    return folders


def _holds_classes(folder):
    return bool(_subfolders(folder)) and not _holds_image(folder)


def _subfolders(folder):
    return [entry.name for entry in _entries(folder) if entry.is_dir()]


def _loose(folder):
    """Counts files beside the folders of the classes: images have no class there."""
    loose = [entry for entry in _entries(folder) if entry.is_file()]
    endings = [file.suffix.lower() or "without an ending" for file in loose]
    return Counter(
        f"{ending} outside of the classes' folders" if ending in pixels.FORMATS else ending
        for ending in endings
    )


def _hold_out(root, part, seed, fraction):
    """Divides a flat folder's images: (splits, the files held out). Of every class with two images one is held out."""
    if not 0 < fraction < 1:
        raise ArgumentError("test_fraction", f"found {fraction}, expected more than 0, less than 1")
    chosen = hold_out(part.labels, seed, fraction)
    if not chosen.any():
        raise ArgumentError("name", f"found no class with two images in {root}")
    splits = {
        split: Part(
            tuple(path for path, taken in zip(part.paths, mask, strict=True) if taken),
            part.labels[mask],
        )
        for split, mask in ((TRAIN, ~chosen), (TEST, chosen))
    }
    return splits, tuple(os.path.relpath(path, root) for path in splits[TEST].paths)


def hold_out(labels: np.ndarray, seed: int, fraction: float, *, leave: int = 1) -> np.ndarray:
    """Chooses examples to hold out, the same part of each class, at least one of two: bool [N] by the labels [N].

    Args:
      labels: integers [N].
      seed: decides which.
      fraction: the part of each class, rounded.
      leave: how many of each class are not chosen, at least.
    """
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(fraction * len(members))), len(members) - leave)
        # RandomState, because numpy promises its stream for good.
        order = np.random.RandomState((seed, int(label))).permutation(len(members))
        chosen[members[order[:count]]] = True
    return chosen


def _describe(root, names, folders, splits, held_out, others):
    counts = {split: len(part.paths) for split, part in splits.items()}
    parts = [f"{counts[TRAIN]:,} to train"]
    if held_out:
        parts.append(
            f"{counts[TEST]:,} held out by the seed, a part of each class, tested at the end"
        )
    elif TEST in splits:
        if VALIDATION in splits:
            name = folders[VALIDATION].name
            parts.append(f"{counts[VALIDATION]:,} of {name} choose the best checkpoint")
        parts.append(f"{counts[TEST]:,} of test are read once, at the end")
    else:
        parts.append(f"{counts[VALIDATION]:,} of {folders[VALIDATION].name}, tested at the end")
    left = f"; left out: {describe_left_out(others)}" if others else ""
    total = sum(counts.values())
    return f"data: {total:,} images of {len(names)} classes in {root}: {', '.join(parts)}{left}"


def warnings(names: Sequence[str], splits: Mapping[str, Any]) -> Iterator[str]:
    """Yields a line for each kind of class that a network cannot learn.

    Args:
      names: of the classes.
      splits: TRAIN and others, with `labels` each.
    """
    train = np.bincount(splits[TRAIN].labels, minlength=len(names))
    held_out = sum(np.bincount(p.labels, minlength=len(names)) for p in splits.values()) - train
    for what, which in (
        ("only in what is held out", (train == 0) & (held_out > 0)),
        ("no image at all", (train == 0) & (held_out == 0)),
        ("one image to train on", train == 1),
    ):
        chosen = [name for name, is_such in zip(names, which, strict=True) if is_such]
        if chosen:
            shown = ", ".join(chosen[:8]) + (
                f" and {len(chosen) - 8} more" if len(chosen) > 8 else ""
            )
            verb = "are" if what.startswith("only") else "have"
            if len(chosen) == 1:
                verb = {"are": "is", "have": "has"}[verb]
            word = "class" if len(chosen) == 1 else "classes"
            yield f"warning: the {word} {shown} {verb} {what}"
