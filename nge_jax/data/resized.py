"""Images that are read once, resized, and kept in memory or in a file: the resident form of a user's own images."""

import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageOps

from nge_jax.data.folders import inventory
from nge_jax.data.npz import Arrays
from nge_jax.data.photographs import pixels, record_index
from nge_jax.data.photographs.folder import TEST, TRAIN, VALIDATION
from nge_jax.data.photographs.split import READ, SKIP, encoded_images, read_labels
from nge_jax.data.small import ArrayDataset
from nge_jax.data.user_images import UserImages
from nge_jax.errors import ArgumentError, InputError

GIGABYTE = 1e9


def load(
    images: UserImages,
    size: int,
    *,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    test: bool = False,
    budget_gb: float = np.inf,
) -> ArrayDataset:
    """Reads the images, each resized to `size`: its largest square in the middle.

    Args:
      images: of `open_images`.
      size: pixels of a side.
      mean: per channel, of pixels in 0..1; none: the mean of the training images.
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
    mean, std = normalization(mean, std, train_images)
    nothing = None, None
    return ArrayDataset(
        train_images,
        train_labels,
        *arrays.get(TEST, nothing),
        num_classes=len(images.names),
        mean=mean,
        std=std,
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
    # A deviation of 0 would divide, where images are all alike.
    return tuple(np.round(means, 4).tolist()), tuple(np.maximum(np.round(stds, 4), 1e-3).tolist())


def normalization(
    mean: Sequence[float], std: Sequence[float], images: np.ndarray
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns the mean and the deviation of each channel as the user gives them, or else of images [N, H, W, C].

    Raises:
      ArgumentError: the images have another number of channels, or a number is no mean or deviation of pixels in 0..1.
    """
    if not mean or not std:
        found_mean, found_std = mean_and_std(images)
        mean, std = mean or found_mean, std or found_std
    channels = images.shape[-1]
    for name, values, least in (("mean", mean, 0.0), ("std", std, 1e-6)):
        if len(values) != channels or not all(least <= value <= 1 for value in values):
            raise ArgumentError(
                name,
                f"found {tuple(values)}, expected {channels} numbers, one for each channel, of pixels in 0..1",
            )
    return tuple(mean), tuple(std)


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
            for index, data in zip(indices, encoded_images(part, indices), strict=True):
                images[index] = pixels.fitted(data, *shape)
        except pixels.UNREADABLE as error:
            # The files are read together before the first is decoded. The error names the unreadable one.
            unread = error.filename if isinstance(error, OSError) else None
            name = unread or record_index.name(part.records, index)
            refusal = pixels.refused(name, error)
            raise ArgumentError(refusal.argument, f"{refusal.reason}; {SKIP}") from error

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, range(0, count, READ)))
    return images, read_labels(part)


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
