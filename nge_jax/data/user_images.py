"""A user's own images: a folder, a classification set of TFDS, or an .npz file. Module `resized` reads them."""

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nge_jax import files
from nge_jax.data import npz
from nge_jax.data import order as data_order
from nge_jax.data.npz import Arrays
from nge_jax.data.photographs import batches as imagenet
from nge_jax.data.photographs import folder as image_folder
from nge_jax.data.photographs import pixels, record_index
from nge_jax.data.photographs.batches import FOLDER
from nge_jax.data.photographs.folder import TRAIN
from nge_jax.data.photographs.split import READ, Split, encoded_images, read_labels, subset
from nge_jax.errors import ArgumentError
from nge_jax.workdir.names import listed

NPZ = "npz:"
SAMPLE = 64  # images that are measured to judge the size of all
CHANNELS = (0, 1, 3)  # 0: 1 where every image is gray, else 3
# Images with a median side above KEPT are resized to RESIZED, unless the user asks for more.
RESIZED, KEPT = 128, 64
# From this side on a network begins with ImageNet's stem, which divides the side by eight.
LARGE_FROM = 96


class UserImages(NamedTuple):
    """A data set whose images are still to be read.

    Attributes:
      names: of the classes.
      parts: TRAIN, TEST and perhaps VALIDATION.
      held_out: which of a flat folder's files, or of an .npz file's images, TEST has.
      notes: lines for the user.
      side: the median shorter side of a sample of images, in pixels.
      channels: of the images as they are read: 1 (gray) or 3.
      images: the data set as `imagenet.load` gives it; None for an .npz file.
    """

    names: tuple[str, ...]
    parts: dict[str, Split | Arrays]
    held_out: tuple[str, ...]
    notes: tuple[str, ...]
    side: int
    channels: int
    images: imagenet.ImageSet | None = None

    def count(self, part: str) -> int:
        """Returns how many images a part has."""
        images = self.parts[part]
        return len(images.labels if isinstance(images, Arrays) else images.records.file)


def open_images(
    name: str,
    data_dir: str = "",
    *,
    skip_damaged: bool = False,
    seed: int = 0,
    test_fraction: float = 0.2,
    class_names: Sequence[str] | None = None,
    class_fraction: float = 1.0,
    channels: int = 0,
) -> UserImages:
    """Opens "folder:DIR", "npz:FILE" or a set of TFDS; arguments as of `imagenet.load`.

    Args:
      class_fraction: of the images to train on the part of each class that is taken, drawn by `seed`, at least one.
      channels: one of CHANNELS.

    Raises:
      ArgumentError: there is no such data set, or it is refused.
    """
    if channels not in CHANNELS:
        raise ArgumentError(
            "channels", f"found {channels}, expected 1 (gray), 3, or 0 (chosen by the data)"
        )
    images = _open(name, data_dir, skip_damaged, seed, test_fraction, class_names)
    images = images._replace(channels=channels or images.channels or _count_channels(images))
    return images if class_fraction == 1 else _drawn(images, seed, class_fraction)


def _open(name, data_dir, skip_damaged, seed, test_fraction, class_names):
    if name == NPZ:
        raise ArgumentError(
            "name",
            "found npz: without a file, expected npz:FILE (or --data FILE.npz of train_folder and search_folder)",
        )
    if name.startswith(NPZ):
        path = Path(name.removeprefix(NPZ)).expanduser()
        found = npz.read(path, seed, test_fraction, class_names)
        shape = found.parts[TRAIN].images.shape
        parts: dict[str, Split | Arrays] = {**found.parts}
        return UserImages(
            found.names, parts, found.held_out, found.notes, min(shape[1:3]), shape[3]
        )
    images = imagenet.load(
        name,
        data_dir,
        skip_damaged=skip_damaged,
        seed=seed,
        test_fraction=test_fraction,
        class_names=class_names,
    )
    parts: dict[str, Split | Arrays] = {**images.splits}
    notes = images.notes
    if not name.startswith(FOLDER):
        counts = f"{images.train_examples:,} to train, {images.test_examples:,} held out"
        classes = f"{images.num_classes} classes ({listed(images.class_names)})"
        notes = (f"data: {name}, {classes}: {counts}", *notes)
    side = _typical_side(images.train)
    return UserImages(images.class_names, parts, images.held_out, notes, side, 0, images)


def _drawn(images, seed, fraction):
    """Leaves out of each class but a part of the images to train on."""
    train = images.parts[TRAIN]
    is_read = isinstance(train, Arrays)
    labels = train.labels if is_read else read_labels(train)
    chosen = image_folder.hold_out(labels, seed, fraction, leave=0)
    used = Arrays._make(a[chosen] for a in train) if is_read else subset(train, chosen)
    note = f"data: {chosen.sum():,} of the {len(chosen):,} images to train on are used, {fraction:.3g} of each class"
    return images._replace(parts={**images.parts, TRAIN: used}, notes=(*images.notes, note))


def has_large_stem(stem: str, image_size: int) -> bool:
    """Whether a network begins as ImageNet's, or as CIFAR's; `stem` is as `network.stem`, "auto": by the side."""
    return stem == "large" or (stem == "auto" and image_size >= LARGE_FROM)


def image_size(side: int) -> int:
    """Chooses the side to which images with this median side are resized."""
    return max(8, -(-side // 4) * 4) if side <= KEPT else RESIZED


def batch_size(count: int, micro_batches: int = 1) -> int:
    """Chooses a batch size for `count` images: a power of two, at most 64, with four or more batches an epoch.

    If `micro_batches` does not divide the power of two, the next multiple of it is taken. The number of devices has no
    say: else results would depend on it, and a run could not go on with another number of devices.
    """
    most = max(1, min(64, count // 4))
    size = 1 << (most.bit_length() - 1)
    return -(-size // micro_batches) * micro_batches


def epochs(steps_per_epoch: int, updates: int, least: int, most: int) -> int:
    """Chooses how many epochs make about so many updates."""
    return min(max(least, round(updates / max(1, steps_per_epoch))), most)


def _typical_side(split):
    """Returns the median of the shorter sides of some images, evenly spaced."""
    count = len(split.records.file)
    indices = data_order.evenly_spaced(count, SAMPLE).tolist()
    sides, refusal = [], ArgumentError("images", "found none")
    for index in indices:
        try:
            (data,) = encoded_images(split, [index])
            sides.append(min(pixels.size(data)))
        except pixels.UNREADABLE as error:  # said when all are read, or skipped then
            refusal = pixels.refused(record_index.name(split.records, index), error)
    if not sides:
        raise refusal
    return int(np.median(sides))


def _count_channels(images):
    """Returns 1 where every image is gray, of all splits, else 3; the first in colors ends it."""
    with ThreadPoolExecutor(record_index.THREADS) as pool:
        for part in images.parts.values():
            count = len(part.records.file)
            for start in range(0, count, READ):
                indices = range(start, min(start + READ, count))
                if any(pool.map(functools.partial(_is_colored, part), indices)):
                    return 3
    return 1


def _is_colored(split, index):
    try:
        if split.features is not None:
            return not pixels.is_gray(encoded_images(split, [index])[0])
        with files.open_regular(split.records.paths[split.records.file[index]]) as file:
            return not pixels.is_gray(file)
    except pixels.UNREADABLE:  # said when all are read, or skipped then
        return False
