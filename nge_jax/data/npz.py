"""An .npz file as a data set: arrays of images and labels.

The arrays have one of three forms. Images are uint8 [N, H, W], [N, H, W, 1] or [N, H, W, 3], labels are integers [N].

    images, labels                                            a part is held out by a seed, as of a flat folder
    train_images, train_labels, test_images, test_labels      MedMNIST's; perhaps val_images, val_labels
    x_train, y_train, x_test, y_test                          Keras's; perhaps x_val, y_val

The array `names`, if there, has the names of the classes, as texts or as bytes of UTF-8.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nge_jax import files
from nge_jax.data.folders import spellings
from nge_jax.data.photographs import folder as image_folder
from nge_jax.data.photographs.folder import TEST, TRAIN, VALIDATION
from nge_jax.data.spec import MOST_CLASSES
from nge_jax.errors import ArgumentError
from nge_jax.workdir.names import composed, listed

# The names of a split's arrays: MedMNIST's, and Keras's.
MEDMNIST, KERAS = ("{}_images", "{}_labels"), ("x_{}", "y_{}")
EXPECTED_ARRAYS = (
    "expected `images` and `labels`, or train_images, train_labels, test_images, test_labels, or x_train, y_train, "
    "x_test, y_test"
)


class Arrays(NamedTuple):
    """Images as an .npz file has them.

    Attributes:
      images: uint8 [N, H, W, C].
      labels: int32 [N].
    """

    images: np.ndarray
    labels: np.ndarray


class NpzFile(NamedTuple):
    """A data set that has been read whole.

    Attributes:
      names: of the classes.
      parts: TRAIN, TEST and perhaps VALIDATION.
      held_out: numbers of the images that TEST has, where they were drawn.
      notes: lines for the user.
    """

    names: tuple[str, ...]
    parts: dict[str, Arrays]
    held_out: tuple[str, ...]
    notes: tuple[str, ...]


def read(path: Path, seed: int, fraction: float, known: Sequence[str] | None = None) -> NpzFile:
    """Reads a file; the part `fraction` of each class is held out by the seed where it has no splits.

    Args:
      path: of the file.
      seed: decides what is held out.
      fraction: of each class.
      known: classes of a network, of which the file's must be some; labels become the numbers of these.

    Raises:
      ArgumentError: it cannot be read, or lacks what a data set needs.
    """
    try:
        arrays = files.read_arrays(path)
    except (OSError, ValueError) as error:
        reason = files.reason(error) if isinstance(error, OSError) else f"found {error}"
        raise ArgumentError(
            "name", f"cannot read {path} as an .npz file ({reason}), {EXPECTED_ARRAYS}"
        ) from error
    parts, held_out = _divide(path, arrays, seed, fraction)
    classes = 1 + max(int(part.labels.max()) for part in parts.values())
    names = _names(path, arrays, classes)
    if known is None and "names" not in arrays:
        _check_numbers(path, parts, classes)
    if known is not None:
        numbers = _numbers_of(names, tuple(known), path)
        parts = {part: a._replace(labels=numbers[a.labels]) for part, a in parts.items()}
        names = tuple(known)
    counts = ", ".join(f"{len(part.labels):,} {name}" for name, part in parts.items())
    data = f"data: {len(names)} classes ({listed(names)}) in {path}: {counts}"
    notes = data, *image_folder.warnings(names, parts)
    return NpzFile(names, dict(parts), held_out, notes)


def _divide(path, arrays, seed, fraction):
    """Returns the arrays of each split, and the numbers of the images that were drawn to be held out."""
    if "images" in arrays and "labels" in arrays:
        whole = _checked(path, arrays, "images", "labels")
        chosen = image_folder.hold_out(whole.labels, seed, fraction)
        parts = {
            part: Arrays(whole.images[mask], whole.labels[mask])
            for part, mask in ((TRAIN, ~chosen), (TEST, chosen))
        }
        return parts, tuple(map(str, np.flatnonzero(chosen)))
    images, labels = KERAS if "x_train" in arrays else MEDMNIST
    parts = {
        part: _checked(path, arrays, images.format(word), labels.format(word))
        for part, word in ((TRAIN, "train"), (TEST, "test"), (VALIDATION, "val"))
        if part != VALIDATION or images.format(word) in arrays
    }
    return parts, ()


def _names(path, arrays, classes):
    """Returns the names of the classes, by their numbers where there are no others."""
    if "names" not in arrays:
        return tuple(map(str, range(classes)))
    found = arrays["names"].squeeze()
    if found.ndim > 1:
        raise ArgumentError("name", f"{path}: names is {list(found.shape)}, expected [{classes}]")
    try:
        names = [
            name.decode() if isinstance(name, bytes) else str(name) for name in found.reshape(-1)
        ]
    except UnicodeDecodeError as error:
        name = ascii(error.object)
        raise ArgumentError("name", f"{path}: found the name {name}, expected UTF-8") from error
    if len(names) < classes:
        raise ArgumentError("name", f"{path} has {len(names)} names, expected {classes} or more")
    if len(names) > MOST_CLASSES:
        raise ArgumentError(
            "name", f"{path} has {len(names)} names, expected at most {MOST_CLASSES}"
        )
    seen = {}
    for number, name in enumerate(names):
        if (other := seen.setdefault(composed(name), number)) != number:
            raise ArgumentError(
                "name",
                f"{path}: found {ascii(name)} as the name of the classes {other} and {number}, expected each name once",
            )
    return tuple(names)


def _check_numbers(path, parts, classes):
    """Refuses labels that are no numbers of classes, but a mask's gray levels, say: most classes would be empty."""
    used = len(np.unique(np.concatenate([part.labels for part in parts.values()])))
    if 2 * used < classes:
        raise ArgumentError(
            "name",
            f"{path}: the labels are {used} of the numbers 0 to {classes - 1}, expected no gaps, or `names` of all "
            f"{classes} classes",
        )


def _numbers_of(names, known, path):
    """Finds the numbers, int32 [N], that classes of these names have among those known."""
    numbers = []
    for name in names:
        found = spellings.find(name, known, path, besides=names)
        if found is None:
            expected = ", ".join(known)
            raise ArgumentError("name", f"{path} has the class {name}, expected one of {expected}")
        numbers.append(known.index(found))
    return np.array(numbers, np.int32)


def _checked(path, arrays, images_name, labels_name):
    """Returns the arrays of these names, images with an axis of channels, labels without any other."""
    for name in (images_name, labels_name):
        if name not in arrays:
            found = ", ".join(arrays) or "nothing"
            raise ArgumentError("name", f"{path} holds {found}; {EXPECTED_ARRAYS}")
    images, labels = arrays[images_name], arrays[labels_name].squeeze()
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ArgumentError(
            "name",
            f"{path}: {images_name} is {images.dtype} {list(images.shape)}, expected uint8 [N, H, W, 1 or 3]",
        )
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1] or not len(labels):
        raise ArgumentError(
            "name", f"{path}: {labels_name} is {labels.dtype} {list(labels.shape)}, expected integers "
            f"[{len(images)}]",
        )  # fmt: skip
    if labels.min() < 0:
        raise ArgumentError("name", f"{path}: {labels_name} has {labels.min()}, expected 0 or more")
    if labels.max() >= MOST_CLASSES:
        raise ArgumentError(
            "name",
            f"{path}: {labels_name} has {labels.max()}, expected at most {MOST_CLASSES - 1}",
        )
    return Arrays(images, labels.astype(np.int32))
