"""Sets of photographs, too large for the device: ImageNet, any classification set of TFDS, a folder of images.

Images leave the host as uint8 crops of one size; flip, color jitter and normalization are the device's (`jitter.py`).

The order of an epoch is drawn from (seed, epoch), and an image's crop from (seed, epoch, index). Neither depends on the
number of processes, nor on the step at which a training resumes.
"""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from nge_jax.data import order as data_order
from nge_jax.data.host import ahead, draws
from nge_jax.data.photographs import crop, pixels, prepared, record_index
from nge_jax.data.photographs import folder as image_folder
from nge_jax.data.photographs.folder import TEST, TRAIN, VALIDATION
from nge_jax.data.photographs.split import (
    READ,
    Split,
    encoded_images,
    intact,
    refusal,
    subset,
)
from nge_jax.data.spec import MOST_CLASSES
from nge_jax.errors import ArgumentError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of pixels in 0..1
FOLDER = "folder:"


class ImageSet(NamedTuple):
    """A data set of images of any size, to be cropped.

    Attributes:
      num_classes: how many labels there are.
      train_examples: number of images to train on.
      test_examples: number of images held out.
      class_names: num_classes names, in the order of the labels.
      mean: per channel, of pixels in 0..1.
      std: per channel, of pixels in 0..1.
      image_size: pixels of a side of the crops.
      train: the encoded images to train on.
      test: the encoded images held out.
      validation: encoded images by which the best checkpoint is chosen, or None.
      held_out: the files of `test`, where the seed drew them from a folder.
      notes: lines for the user: what is used, what is left out.
      root: of a folder, its path, else "".
      titles: the names of a folder's splits, where they differ from the usual ones.
    """

    num_classes: int
    train_examples: int
    test_examples: int
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int
    train: Split
    test: Split
    validation: Split | None = None
    held_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    root: str = ""
    titles: Mapping[str, str] = {}

    @property
    def splits(self) -> dict[str, Split]:
        """The splits by their names."""
        splits = {TRAIN: self.train, TEST: self.test}
        return splits if self.validation is None else splits | {VALIDATION: self.validation}


def load(
    name: str,
    data_dir: str = "",
    image_size: int = 224,
    *,
    skip_damaged: bool = False,
    seed: int = 0,
    test_fraction: float = 0.2,
    class_names: Sequence[str] | None = None,
) -> ImageSet:
    """Finds a data set's files and examples; reads no image, unless `skip_damaged`.

    Args:
      name: a TFDS classification set such as "imagenet2012" or "imagenette/320px-v2", or "folder:DIR", see
        `data.folder`.
      data_dir: tfds folder; "" means TFDS's own default. A set that needs no account is downloaded there when absent.
      image_size: height and width of the crops.
      skip_damaged: decode every image once, and leave out those that cannot be decoded.
      seed: of a flat folder, decides what is held out.
      test_fraction: of a flat folder, the part of each class that is held out.
      class_names: those of the labels, where a folder's classes are some of them.

    Raises:
      InputError: no such set, it is not one of labeled images, it is neither there nor downloadable, or is damaged.
    """
    if image_size < 1:
        raise ArgumentError("image_size", f"found {image_size}, expected 1 or more")
    if name.startswith(FOLDER):
        found = _list_folder(name.removeprefix(FOLDER), seed, test_fraction, class_names)
    else:
        names, train, test = prepared.find(name, data_dir)
        found = _Found(names, {TRAIN: train, TEST: test})
    names, splits, notes = found.names, dict(found.splits), [*found.notes]
    if len(names) > MOST_CLASSES:
        raise ArgumentError("name", f"found {len(names)} classes, expected at most {MOST_CLASSES}")
    if skip_damaged:
        for part, examples in found.splits.items():
            splits[part], note = _without_damaged(examples, found.titles.get(part, part))
            notes += note
    return ImageSet(
        num_classes=len(names),
        train_examples=len(splits[TRAIN].records.file),
        test_examples=len(splits[TEST].records.file),
        class_names=names,
        mean=MEAN,
        std=STD,
        image_size=image_size,
        train=splits[TRAIN],
        test=splits[TEST],
        validation=splits.get(VALIDATION),
        held_out=found.held_out,
        notes=tuple(notes),
        root=found.root,
        titles=found.titles,
    )


class _Found(NamedTuple):
    """The classes and the splits of a data set, with what `ImageSet` says of a folder."""

    names: tuple[str, ...]
    splits: Mapping[str, Split]
    held_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    root: str = ""
    titles: Mapping[str, str] = MappingProxyType({})


def _list_folder(
    root: str, seed: int, test_fraction: float, class_names: Sequence[str] | None
) -> _Found:
    listing = image_folder.scan(root, seed=seed, test_fraction=test_fraction, names=class_names)
    splits = {
        part: Split(record_index.files(images.paths), images.labels, None)
        for part, images in listing.splits.items()
    }
    root = os.path.expanduser(root)
    return _Found(listing.names, splits, listing.held_out, listing.notes, root, listing.titles)


def train_batches(
    image_set: ImageSet,
    seed: int,
    epoch: int,
    batch_size: int,
    start_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Reads this process's part of an epoch's batches from `start_step` on, cropped at random (paper Sec. 4.2).

    A batch is (uint8 [b, s, s, 3], int32 [b]). `batch_size` counts the images of all processes, and
    b = batch_size / process_count. Images that do not fill a batch are left out, different ones in each epoch.

    Raises:
      InputError: an image cannot be read or decoded.
    """
    processes = process_index, process_count
    mine, key = data_order.part_of_epoch(
        seed, epoch, image_set.train_examples, batch_size, start_step, *processes
    )
    return crops(image_set.train, mine.ravel(), mine.shape[1], image_set.image_size, key)


def test_batches(
    image_set: ImageSet,
    split: str,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Reads this process's part of the batches of a whole split, "train" or "test": images, labels, mask (bool [b]).

    The images are center crops, in the order of the files. Every process gets equally many batches.
    Padding is masked (black, label 0), and over all processes each example is unmasked exactly once.

    Raises:
      InputError: an image cannot be read or decoded.
    """
    examples = {"train": image_set.train, "test": image_set.test}[split]
    count, part = len(examples.records.file), batch_size // process_count
    steps = -(-count // batch_size)
    order = np.full(steps * batch_size, -1, np.int64)
    order[:count] = np.arange(count)
    mine = np.split(order.reshape(steps, batch_size), process_count, axis=1)[process_index].ravel()

    size = image_set.image_size
    # The examples come before the padding, so that only the last batches are short, or empty.
    filled = crops(examples, mine[mine >= 0], part, size, None)
    nothing = np.zeros([0, size, size, 3], np.uint8), np.zeros(0, np.int32)
    for images, labels in itertools.islice(
        itertools.chain(filled, itertools.repeat(nothing)), steps
    ):
        mask = np.arange(part) < len(labels)
        rest = (0, part - len(labels))
        yield np.pad(images, (rest, (0, 0), (0, 0), (0, 0))), np.pad(labels, rest), mask


def crops(
    examples: Split, indices: np.ndarray, batch_size: int, size: int, key: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (uint8 [b, size, size, 3], int32 [b]) of the examples `indices` in this order, the last perhaps short.

    Args:
      examples: the split.
      indices: int [N] of the examples.
      batch_size: b.
      size: pixels of a side.
      key: of the random crops' numbers, with an example's index; None for the middle.

    Raises:
      InputError: an image cannot be read or decoded.
    """
    if examples.labels is None:
        yield from prepared.batches(examples, indices, batch_size, size, key)
        return
    images = ahead.in_order(
        lambda item: _read_crop(examples, size, *item),
        _with_draws(indices, key),
        2 * batch_size,
    )
    for start in range(0, len(indices), batch_size):
        labels = examples.labels[indices[start : start + batch_size]]
        yield np.stack(list(itertools.islice(images, len(labels)))), labels


def _with_draws(indices, key):
    """Yields each index with the numbers of its crop, or with None."""
    for start in range(0, len(indices), READ):
        part = indices[start : start + READ]
        drawn = itertools.repeat(None, len(part))
        if key is not None:
            seeds = np.stack([np.full(len(part), key), part], axis=1)
            drawn = draws.uniform(seeds, 4 * crop.ATTEMPTS).reshape(-1, 4, crop.ATTEMPTS)
        yield from zip(part, drawn, strict=True)


def _read_crop(examples, size, index, drawn):
    try:
        (data,) = encoded_images(examples, [index])
        if drawn is None:
            return crop.center_crop(data, size)
        return crop.random_crop(data, size, drawn)
    except pixels.UNREADABLE as error:
        refused = refusal(examples, index, error)
        assert refused is not None, "the error itself says why"
        raise refused from error


def sample(images: ImageSet, chosen: np.ndarray) -> np.ndarray:
    """Reads the test's crops of the training images `chosen`, indices [N]: uint8 [N, s, s, 3]."""
    part = images._replace(test=subset(images.train, chosen), test_examples=len(chosen))
    return np.concatenate([pixels[mask] for pixels, _, mask in test_batches(part, "test", READ)])


def _without_damaged(examples, title):
    """Decodes all images of a split; returns it without damaged ones, and a line about them if there are any."""
    kept, damaged = intact(examples)
    count = len(kept.records.file)
    if not count:
        raise ArgumentError("name", f"all images of {title} are damaged")
    if not damaged:
        return kept, []
    total = len(damaged) + count
    line = f"{len(damaged):,} of the {total:,} images of {title}, such as {damaged[0]}"
    return kept, [f"warning: damaged and skipped: {line}"]
