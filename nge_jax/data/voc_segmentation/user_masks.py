"""A devkit with classes of its own: checked as a whole at the start, then read from its files as they are used.

VOC's devkit is prepared once, and record files are read from then on. A user's own folder grows and is mended; nothing
of it is copied.
"""

import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nge_jax.data.folders import copies, inventory
from nge_jax.data.photographs import pixels, record_index
from nge_jax.data.photographs.folder import TEST, TRAIN
from nge_jax.data.photographs.split import Split
from nge_jax.data.spec import Inventory
from nge_jax.data.voc_segmentation import class_names, devkit, masks
from nge_jax.data.voc_segmentation.devkit import IGNORE, DevkitExample
from nge_jax.errors import InputError
from nge_jax.workdir.names import listed


class Example(NamedTuple):
    """An image and its mask.

    Attributes:
      index: of the example in its split.
      id: its name.
      image: uint8 [H, W, 3].
      mask: class numbers, uint8 [H, W, 1], 255 where there is no label.
    """

    index: int
    id: str
    image: np.ndarray
    mask: np.ndarray


class Listed(NamedTuple):
    """The examples of a split.

    Attributes:
      examples: N of them.
      names: of the folder's classes.
      numbers: uint8 [256], what each of the folder's numbers is to the network.
    """

    examples: tuple[DevkitExample, ...]
    names: tuple[str, ...]
    numbers: np.ndarray


class Mask(NamedTuple):
    """The labels of a mask, and its entry in a checksum.

    Attributes:
      labels: numbers that it has, IGNORE too.
      entry: the line in the checksum, which changes with the mask or the image.
    """

    labels: set[int]
    entry: bytes


class OwnDevkit(NamedTuple):
    """A folder whose masks are all known to be right.

    Attributes:
      names: of the network's classes: the folder's, or those that it was opened with.
      train_split: TRAIN or TRAIN_AUG.
      train: what to train on.
      test: val.
      notes: lines for the user: what is used, warnings.
      inventory: recognizes the folder's images and masks.
    """

    names: tuple[str, ...]
    train_split: str
    train: Listed
    test: Listed
    notes: tuple[str, ...]
    inventory: Inventory


def open_folder(root: Path, own: tuple[str, ...], known: Sequence[str] | None = None) -> OwnDevkit:
    """Lists the examples of a folder and reads all masks.

    Args:
      root: of `devkit.find`.
      own: names of its classes, of `devkit.own_classes`.
      known: a network's classes: the folder's must be among them, and its numbers become those of these.

    Raises:
      InputError: a class that is not known, a mask that `masks.read` refuses, or masks to train on that have fewer than
        two classes.
    """
    names = own if known is None else tuple(known)
    numbers = np.full(256, IGNORE, np.uint8)
    for number, name in enumerate(own):
        if name not in names:
            raise InputError(
                f"{class_names.find(root)}: has the class {name}, expected one of {', '.join(names)}"
            )
        numbers[number] = names.index(name)
    examples = devkit.examples(root)
    split = devkit.TRAIN_AUG if devkit.TRAIN_AUG in examples else devkit.TRAIN
    train, test = (Listed(tuple(examples[s]), own, numbers) for s in (split, devkit.VAL))
    masks_of = {split: _read_masks(train), devkit.VAL: _read_masks(test)}
    seen, tested = (
        {label for mask in found for label in mask.labels} for found in masks_of.values()
    )
    check_classes(root, split, seen, own)
    check_tested(root, tested)
    counts = f"{len(train.examples):,} of {split} to train, {len(test.examples):,} of val, tested at the end"
    notes = [f"data: {len(own)} classes ({listed(own)}) in {root}: {counts}"]
    notes += [*describe_absent(split, seen, own), *describe_absent(devkit.VAL, tested, own)]
    if known is None:
        notes += _copies(train, test, split)
    found = Inventory(
        {name: _count(found, len(own)) for name, found in masks_of.items()},
        inventory.checksum(mask.entry for found in masks_of.values() for mask in found),
    )
    return OwnDevkit(names, split, train, test, tuple(notes), found)


def check_classes(where: object, split: str, seen: set[int], names: Sequence[str]) -> None:
    """Refuses a training set whose masks have the labels `seen` only, of classes fewer than two."""
    classes = sorted(seen - {IGNORE})
    if len(classes) < 2:
        found = f"no label but {classes[0]} ({names[classes[0]]})" if classes else "no label"
        raise InputError(
            f"{where}: the masks of {split} have {found}, expected two classes or more ({IGNORE} marks pixels without "
            "a label)"
        )


def check_tested(where: object, seen: set[int]) -> None:
    """Refuses a test set whose masks have the labels `seen` only, if nothing is labeled in them."""
    if not seen - {IGNORE}:
        raise InputError(
            f"{where}: the masks of {devkit.VAL} have no label, expected pixels of classes to test on ({IGNORE} marks "
            "pixels without a label)"
        )


def describe_absent(split: str, seen: set[int], names: Sequence[str]) -> list[str]:
    """Names the classes that no mask of a split has; no line where each is there."""
    absent = [name for number, name in enumerate(names) if number not in seen]
    untested = " (not tested)" if split == devkit.VAL else ""
    line = f"warning: no pixel of {split} is of the class {listed(absent)}{untested}"
    return [line] if absent else []


def _copies(train, test, title):
    """Returns warnings of images that are both trained and tested on."""
    parts = {
        split: Split(record_index.files([str(e.image) for e in part.examples]), None, None)
        for split, part in ((TRAIN, train), (TEST, test))
    }
    return copies.warnings(parts, {TRAIN: title, TEST: devkit.VAL})


def read(split: Listed, index: int) -> Example:
    """Reads an example: the image upright, the mask in the network's class numbers.

    Raises:
      InputError: one of the two files is refused.
    """
    listed = split.examples[index]
    labels = split.numbers[masks.read(listed, split.names)]
    try:
        image = pixels.decode(pixels.read_bytes(listed.image))
    except pixels.UNREADABLE as error:
        raise InputError(pixels.refused(listed.image, error).reason) from error
    return Example(int(index), listed.id, image, labels[..., None])


def sizes(split: Listed) -> Iterator[tuple[str, int, int]]:
    """Yields of each example its name and its image's height and width; reads no pixels."""
    for example in split.examples:
        yield example.id, *pixels.shown_size(*pixels.stored(pixels.read_bytes(example.image)))


def _read_masks(split):
    """Reads all masks of a split."""

    def read_mask(example):
        mask = masks.read(example, split.names)
        size = inventory.file_size(example.image)
        entry = f"{example.id}\0{size}\0{zlib.crc32(mask.tobytes())}"
        return Mask(set(np.unique(mask).tolist()), os.fsencode(entry))

    with ThreadPoolExecutor(record_index.THREADS) as pool:
        return list(pool.map(read_mask, split.examples))


def _count(found, classes):
    """Counts the images in which each class is seen."""
    return tuple(sum(number in mask.labels for mask in found) for number in range(classes))
