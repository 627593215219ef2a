"""A folder of images as a data set: its classes, its splits, and what in it is no data.

    DIR/CLASS/*                          flat: a part of each class is held out, drawn by a seed
    DIR/train/CLASS/*, DIR/val/CLASS/*   what is held out lies apart: val (valid, validation), or test, or both

`folders.layout` says which other forms are read. Images may lie in folders below the folder of their class. Three kinds
of entries are no data: names with a leading dot, files that systems leave behind, and runs of this program. The labels
number the classes in the order of their names, over all splits.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nge_jax.data.folders import entries, spellings
from nge_jax.data.folders import layout as layouts
from nge_jax.data.folders.layout import Layout
from nge_jax.data.folders.split_names import TEST, TRAIN, VALIDATION
from nge_jax.errors import ArgumentError, InputError
from nge_jax.workdir.names import listed, printable


class Part(NamedTuple):
    """The images of a split.

    Attributes:
      paths: N files.
      labels: int32 [N].
    """

    paths: tuple[str, ...]
    labels: np.ndarray


class Listing(NamedTuple):
    """The images of a folder.

    Attributes:
      names: of the classes.
      splits: TRAIN, what is tested at the end (TEST), and perhaps VALIDATION, which chooses the best checkpoint.
      held_out: of a flat folder the files of TEST, relative to it, else empty.
      notes: lines for the user: what is used, what is left out; warnings.
      titles: what a split is called by the folder it lies in.
    """

    names: tuple[str, ...]
    splits: dict[str, Part]
    held_out: tuple[str, ...]
    notes: tuple[str, ...]
    titles: dict[str, str]


def is_images(root: str | Path) -> bool:
    """Whether a folder holds only images: every folder in it, or in its train folder, holds some.

    At least two such folders are needed, since other folders may keep some pictures, too. No image is read.
    """
    root = Path(root).expanduser()
    try:
        if not root.is_dir():
            return False
        classes = layouts.find(root).places[TRAIN].values()
        return len(classes) > 1 and all(entries.look_into(place).images for place in classes)
    except (OSError, InputError):  # closed to this user
        return False


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
      ArgumentError: no such folder, no classes, no image in a split, a class that is not one of `names`, or names of
        splits that are not laid out as such.
      InputError: a folder in it cannot be read.
    """
    root = _expand(root)
    layout = layouts.find(root)
    places, spelled = spellings.unify(layout.places, names)
    layout = layout._replace(places=places)
    known, held_out = _classes(root, layout, names), ()
    splits, layout = _list_splits(root, layout, known)
    if not layout.titles:
        splits, held_out = _hold_out(root, splits[TRAIN], seed, test_fraction)
    notes = [_describe(root, known, layout, splits), *spelled, *warnings(known, splits)]
    titles = layout.titles or {TEST: "what is held out"}
    if TEST not in splits:  # ImageNet's way: what is held out is what the network is tested on
        splits[TEST] = splits.pop(VALIDATION)
        titles[TEST] = titles.pop(VALIDATION)
    return Listing(known, splits, held_out, tuple(notes), titles)


def _expand(root: str | Path) -> Path:
    if not str(root):  # the current one has a name, too
        raise ArgumentError(
            "name",
            "found folder: without a folder, expected folder:DIR (or --data DIR of train_folder and search_folder)",
        )
    root = Path(root).expanduser()
    if not root.is_dir():
        raise ArgumentError("name", f"found no folder {root}, expected folder:DIR")
    return root


def _classes(root, layout, names):
    """Returns the names of the classes, in the order of their numbers."""
    found = {name for folders in layout.places.values() for name in folders}
    if not found and not layout.titles:
        raise ArgumentError(
            "name",
            f"found no folder of a class in {root}, expected DIR/CLASS/* or DIR/train/CLASS/*",
        )
    known = tuple(sorted(found)) if names is None else tuple(names)
    if extra := sorted(found - set(known)):
        raise ArgumentError(
            "name",
            f"{root} has the class {printable(extra[0])}, expected one of {', '.join(known)}",
        )
    return known


def _list_splits(
    root: Path, layout: Layout, known: Sequence[str]
) -> tuple[dict[str, Part], Layout]:
    """Lists the images of all splits; returns the layout with everything that is left out."""
    splits, runs = {}, [*layout.runs]
    for split, folders in layout.places.items():
        splits[split] = _list_images(known, folders, layout.others, runs)
        if not splits[split].paths:
            place = root / layout.titles[split] if layout.titles else root
            left = entries.describe_left_out(layout.others)
            why = f" ({left} cannot be read as images)" if left else ""
            raise ArgumentError("name", f"found no image in {place}{why}")
    return splits, layout._replace(runs=tuple(runs))


def _list_images(known, folders, others, runs):
    """Lists the images of a split; adds what is left out to `others` and to `runs`."""
    paths, labels = [], []
    for label, name in enumerate(known):
        if name not in folders:
            continue
        contents = entries.walk(folders[name])
        paths += map(str, contents.images)
        labels += [label] * len(contents.images)
        others += contents.others
        runs += contents.runs
    return Part(tuple(paths), np.array(labels, np.int32))


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


def _describe(root: Path, names: Sequence[str], layout: Layout, splits: Mapping[str, Part]) -> str:
    """Says what is used and what is left out, and names the classes: by them a wrong folder is recognized."""
    counts = {split: len(part.paths) for split, part in splits.items()}
    parts = [f"{counts[TRAIN]:,} to train"]
    if not layout.titles:
        parts.append(
            f"{counts[TEST]:,} held out by the seed, a part of each class, tested at the end"
        )
    elif TEST in splits:
        if VALIDATION in splits:
            name = layout.titles[VALIDATION]
            parts.append(f"{counts[VALIDATION]:,} of {name} choose the best checkpoint")
        parts.append(f"{counts[TEST]:,} of {layout.titles[TEST]} are read once, at the end")
    else:
        parts.append(f"{counts[VALIDATION]:,} of {layout.titles[VALIDATION]}, tested at the end")
    runs = [os.path.relpath(run, root) for run in layout.runs]
    left = entries.describe_left_out(layout.others, layout.left_out, runs)
    total = sum(counts.values())
    return (
        f"data: {total:,} images of {len(names)} classes ({listed(names)}) in {root}: {', '.join(parts)}"
        + (f"; left out: {left}" if left else "")
    )


def warnings(names: Sequence[str], splits: Mapping[str, Any]) -> Iterator[str]:
    """Yields a line for each kind of class that a network cannot learn, or that the test cannot measure.

    Args:
      names: of the classes.
      splits: TRAIN and others, with `labels` each.
    """
    train = np.bincount(splits[TRAIN].labels, minlength=len(names))
    held_out = sum(np.bincount(p.labels, minlength=len(names)) for p in splits.values()) - train
    tested = np.bincount(splits.get(TEST, splits.get(VALIDATION)).labels, minlength=len(names))
    for what, which in (
        ("only in what is held out", (train == 0) & (held_out > 0)),
        ("no image at all", (train == 0) & (held_out == 0)),
        ("one image to train on", train == 1),
        ("not tested", (train > 0) & (tested == 0)),
    ):
        chosen = [name for name, is_such in zip(names, which, strict=True) if is_such]
        if chosen:
            verb = "have" if "image" in what else "are"
            if len(chosen) == 1:
                verb = {"are": "is", "have": "has"}[verb]
            word = "class" if len(chosen) == 1 else "classes"
            yield f"warning: the {word} {listed(chosen)} {verb} {what}"
