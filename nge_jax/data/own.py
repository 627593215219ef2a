"""A user's own images in memory, resized once: a folder, a classification set of TFDS, or an .npz file (`npz`)."""

import functools
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from nge_jax import files
from nge_jax.data import inventory, npz
from nge_jax.data import order as data_order
from nge_jax.data.npz import Arrays
from nge_jax.data.photographs import batches as imagenet
from nge_jax.data.photographs import folder as image_folder
from nge_jax.data.photographs import pixels, record_index
from nge_jax.data.photographs.batches import FOLDER, READ, Split
from nge_jax.data.photographs.folder import TEST, TRAIN, VALIDATION
from nge_jax.data.small import SmallDataset
from nge_jax.errors import ArgumentError, InputError
from nge_jax.names import listed

NPZ = "npz:"
SAMPLE = 64  # images by which the size of all is judged
CHANNELS = (0, 1, 3)  # 0: 1 where every image is gray, else 3
# The side to which larger images are resized, unless the user says more, and the largest that is kept as it is.
RESIZED, KEPT = 128, 64
# From this side on a network begins with ImageNet's stem, which makes an eighth of it.
LARGE_FROM = 96
STEMS = ("auto", "small", "large")  # how a network begins
GIGABYTE = 1e9


class OwnImages(NamedTuple):
    """A data set whose images are still to be read.

    Attributes:
      names: of the classes.
      parts: TRAIN, TEST and perhaps VALIDATION.
      held_out: which of a flat folder's files, or of an .npz file's images, TEST has.
      notes: lines for the user.
      side: the median of the images' shorter sides, in pixels, of a sample.
      channels: as they are read: 1, gray, or 3.
      images: all of these as `imagenet.load` gives them; None of a file's.
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
) -> OwnImages:
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
        return OwnImages(found.names, parts, found.held_out, found.notes, min(shape[1:3]), shape[3])
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
    return OwnImages(images.class_names, parts, images.held_out, notes, side, 0, images)


def _drawn(images, seed, fraction):
    """Leaves out of each class but a part of the images to train on."""
    train = images.parts[TRAIN]
    is_read = isinstance(train, Arrays)
    labels = train.labels if is_read else imagenet.read_labels(train)
    chosen = image_folder.hold_out(labels, seed, fraction, leave=0)
    subset = Arrays._make(a[chosen] for a in train) if is_read else imagenet.subset(train, chosen)
    note = f"data: {chosen.sum():,} of the {len(chosen):,} images to train on are used, {fraction:.3g} of each class"
    return images._replace(parts={**images.parts, TRAIN: subset}, notes=(*images.notes, note))


def has_large_stem(stem: str, image_size: int) -> bool:
    """Whether a network begins as ImageNet's, or as CIFAR's; `stem` is one of `choices.STEMS`, "auto": by the side."""
    return stem == "large" or (stem == "auto" and image_size >= LARGE_FROM)


def image_size(side: int) -> int:
    """Chooses the side to which images with this median side are resized."""
    return max(8, -(-side // 4) * 4) if side <= KEPT else RESIZED


def batch_size(count: int, micro_batches: int = 1) -> int:
    """Chooses a batch for so many images: a power of two, at most 64, of which an epoch has four or more.

    Where `micro_batches` do not divide it, the next multiple of them. The devices have no say: a result would else
    depend on their number, and a run could not go on where there are others.
    """
    most = max(1, min(64, count // 4))
    size = 1 << (most.bit_length() - 1)
    return -(-size // micro_batches) * micro_batches


def epochs(steps_per_epoch: int, updates: int, least: int, most: int) -> int:
    """Chooses how many epochs make about so many updates."""
    return min(max(least, round(updates / max(1, steps_per_epoch))), most)


def load(
    images: OwnImages,
    size: int,
    *,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    test: bool = False,
    budget_gb: float = np.inf,
) -> SmallDataset:
    """Reads the images, each resized to `size`: its largest square in the middle.

    Args:
      images: of `open_images`.
      size: pixels of a side.
      mean: per channel, of pixels in 0..1; none: that of the training images.
      std: likewise.
      test: also read what is held out.
      budget_gb: larger training images are kept in a file, from which they are read as they are used.

    Raises:
      ArgumentError: an image cannot be read.
      InputError: there is no room for the file.
    """
    shape = size, size, images.channels
    arrays = {
        part: _read(images.parts[part], shape, budget_gb if part == TRAIN else np.inf)
        for part in images.parts
        if test or part == TRAIN
    }
    root = images.images.root if images.images is not None else ""
    read = {part: images.parts[part] for part in arrays}
    train_images, train_labels = arrays[TRAIN]
    if not mean or not std:
        own_mean, own_std = mean_and_std(train_images)
        mean, std = tuple(mean) or own_mean, tuple(std) or own_std
    check_mean_and_std(mean, std, images.channels)
    nothing = None, None
    return SmallDataset(
        train_images,
        train_labels,
        *arrays.get(TEST, nothing),
        num_classes=len(images.names),
        mean=tuple(mean),
        std=tuple(std),
        labels=images.names,
        validation_images=arrays.get(VALIDATION, nothing)[0],
        validation_labels=arrays.get(VALIDATION, nothing)[1],
        held_out=images.held_out,
        notes=(*images.notes, describe_pixels(shape, *_count_one_color(read, arrays))),
        inventory=inventory.take(root, read, images.names),
    )


def describe_pixels(shape: Sequence[int], looked_at: int, one_color: Sequence[str]) -> str:
    """Says how images of any size are read, and how many show nothing then.

    Args:
      shape: of an image as it is read, [H, W, C].
      looked_at: how many images these are.
      one_color: names of the images that are one color.
    """
    height, width, channels = shape
    line = f"data: read as {height}x{width} pixels, {'gray' if channels == 1 else f'{channels} channels'}"
    if not one_color:
        return line
    count = f"{len(one_color):,} of {looked_at:,} images"
    return f"{line}; {count} {'is' if len(one_color) == 1 else 'are'} one color then, such as {one_color[0]}"


def _count_one_color(parts, arrays):
    """Returns (how many images there are, names of those that are one color as they have been read)."""
    names = [
        inventory.name_image(parts[part], index)
        for part, (images, _) in arrays.items()
        for index in np.flatnonzero(pixels.are_one_color(images)).tolist()
    ]
    return sum(len(labels) for _, labels in arrays.values()), names


def mean_and_std(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Computes mean and deviation of each channel of uint8 images [N, H, W, C], of pixels in 0..1, to four digits."""
    counts = np.zeros((images.shape[-1], 256), np.int64)
    for start in range(0, len(images), 256):
        for channel, count in enumerate(counts):
            count += np.bincount(images[start : start + 256, ..., channel].ravel(), minlength=256)
    levels = np.arange(256) / 255
    weights = counts / counts.sum(axis=1, keepdims=True)
    means = weights @ levels
    stds = np.sqrt((weights * (levels - means[:, None]) ** 2).sum(axis=1))
    # Of images that are all alike a deviation of 0 would divide.
    return tuple(np.round(means, 4).tolist()), tuple(np.maximum(np.round(stds, 4), 1e-3).tolist())


def check_mean_and_std(mean: Sequence[float], std: Sequence[float], channels: int) -> None:
    """Refuses a mean or a deviation, given as a key, that images of so many channels cannot be normalized by."""
    for name, values, least in (("mean", mean, 0.0), ("std", std, 1e-6)):
        if len(values) != channels or not all(least <= value <= 1 for value in values):
            raise ArgumentError(
                name,
                f"found {tuple(values)}, expected {channels} numbers, one for each channel, of pixels in 0..1",
            )


def _typical_side(split):
    """Returns the median of the shorter sides of some images, evenly spaced."""
    count = len(split.records.file)
    indices = data_order.evenly_spaced(count, SAMPLE).tolist()
    sides, refusal = [], ArgumentError("images", "found none")
    for index in indices:
        try:
            (data,) = imagenet.encoded_images(split, [index])
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
            return not pixels.is_gray(imagenet.encoded_images(split, [index])[0])
        with files.open_regular(split.records.paths[split.records.file[index]]) as file:
            return not pixels.is_gray(file)
    except pixels.UNREADABLE:  # said when all are read, or skipped then
        return False


def _read(part, shape, budget_gb):
    """Reads (uint8 [N, *shape], int32 [N])."""
    if isinstance(part, Arrays):
        return _resized(part.images, shape), part.labels
    count = len(part.records.file)
    size = (count, *shape)
    total = int(np.prod(size, dtype=np.int64))
    if total <= budget_gb * GIGABYTE:
        images = np.empty(size, np.uint8)
    else:  # gone with the process
        _check_room(total)
        with tempfile.TemporaryFile() as file:
            images = np.memmap(file, np.uint8, shape=size)

    def fill(start):
        indices = range(start, min(start + READ, count))
        index = start
        try:
            for index, data in zip(indices, imagenet.encoded_images(part, indices), strict=True):
                images[index] = pixels.fitted(data, *shape)
        except pixels.UNREADABLE as error:
            # They are read together before the first is decoded: which could not be, the error itself says.
            unread = error.filename if isinstance(error, OSError) else None
            name = unread or record_index.name(part.records, index)
            refusal = pixels.refused(name, error)
            hint = "config.data.skip_damaged=True leaves such images out"
            raise ArgumentError(refusal.argument, f"{refusal.reason}; {hint}") from error

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, range(0, count, READ)))
    return images, imagenet.read_labels(part)


def _check_room(total):
    """Refuses a disk without room for a file of so many bytes: what is mapped and does not fit ends the process."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < total:
        raise InputError(
            f"{folder}: found {free / GIGABYTE:.1f} GB free, expected {total / GIGABYTE:.1f} GB for the resized "
            "images; TMPDIR=DIR names another folder for temporary files"
        )


def _resized(images, shape):
    if images.shape[1:] == shape:
        return images
    resized = np.empty((len(images), *shape), np.uint8)
    mode = "L" if shape[-1] == 1 else "RGB"
    for index, image in enumerate(images):
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert(mode)
        fitted = ImageOps.fit(picture, shape[1::-1], Image.Resampling.BILINEAR)
        resized[index] = np.asarray(fitted).reshape(shape)
    return resized
