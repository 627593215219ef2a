"""The data sets that lie on the device whole: CIFAR-10 and CIFAR-100 by TFDS, and the digits of scikit-learn."""

from typing import Any, NamedTuple

import numpy as np

from nge_jax import files
from nge_jax.data import prepare
from nge_jax.data.spec import Inventory
from nge_jax.devices import host_tf
from nge_jax.errors import ArgumentError

DIGITS_NUM_CLASSES = 10
# Mean and standard deviation of the training images' pixels in 0..1.
DIGITS_MEAN, DIGITS_STD = (0.3052,), (0.3760,)


def read_digits() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Reads ((training images, labels), (held-out images, labels)): uint8 [N, 8, 8, 1] and int32 [N].

    Every fifth image of each digit is held out.
    """
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    images = np.round(digits.images[..., None] * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int32)
    held_out = np.zeros(len(labels), bool)
    for digit in range(DIGITS_NUM_CLASSES):
        held_out[np.flatnonzero(labels == digit)[4::5]] = True
    return (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out])


NUM_CLASSES = {"cifar10": 10, "cifar100": 100, "digits": DIGITS_NUM_CLASSES}
# The shape of an image, [H, W, C].
SHAPES = {"cifar10": (32, 32, 3), "cifar100": (32, 32, 3), "digits": (8, 8, 1)}
# CIFAR-10's, of pixels in 0..1; paper silent, DARTS uses them for CIFAR-100 too.
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
BUILT_IN = ", or search the built-in digits with --config=configs/search_digits.py"


class ArrayDataset(NamedTuple):
    """A data set that lies in memory whole.

    Attributes:
      train_images: uint8 [N, H, W, C].
      train_labels: int32 [N].
      test_images: uint8 [M, H, W, C], or None unless asked for.
      test_labels: int32 [M], or None unless asked for.
      num_classes: how many labels there are.
      mean: per channel, of training pixels in 0..1.
      std: per channel, of training pixels in 0..1.
      labels: names of the classes.
      validation_images: images that choose the best checkpoint, where the data set has such a split.
      validation_labels: the labels of `validation_images`.
      held_out: the files or images of the test, where a seed drew them.
      notes: lines for the user.
      inventory: recognizes a user's own images.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray | None
    test_labels: np.ndarray | None
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    labels: tuple[str, ...] = ()
    validation_images: np.ndarray | None = None
    validation_labels: np.ndarray | None = None
    held_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    inventory: Inventory | None = None


def check_size(name: str, size: int) -> None:
    """Refuses a side that the images do not have, whole or halved; 0 stands for whole images.

    Args:
      name: "cifar10", "cifar100" or "digits".
      size: pixels of a side.

    Raises:
      ArgumentError: names what was found and what was expected.
    """
    whole = SHAPES[name][0]
    sizes = (0, whole // 2, whole) if name != "digits" else (0,)
    if size not in sizes:
        expected = " or ".join(map(str, sizes))
        raise ArgumentError("image_size", f"found {size}, expected {expected} for {name}")


def shape_at(name: str, size: int) -> tuple[int, int, int]:
    """Returns the shape [H, W, C] of an image that is read with this side; 0 stands for whole images."""
    height, width, channels = SHAPES[name]
    return size or height, size or width, channels


def load(name: str, data_dir: str = "", *, test: bool = False, image_size: int = 0) -> ArrayDataset:
    """Loads the training split, and the test split only if `test`, in the order of the data set's files.

    Args:
      name: "cifar10", "cifar100" or "digits".
      data_dir: tfds folder of the CIFARs; "" means TFDS's own default. CIFAR is downloaded there when absent. The
        digits lie in no folder.
      test: also read the test split (for the final evaluation of a trained network, nothing else).
      image_size: pixels of a side, see `check_size`.

    Raises:
      ArgumentError: unknown name or size; or the data is neither there nor downloadable, or is damaged; or a folder of
        digits.
    """
    if name not in NUM_CLASSES:
        raise ArgumentError(
            "name", f"unknown data set {name!r}, expected one of {', '.join(NUM_CLASSES)}"
        )
    if name == "digits" and data_dir:  # ignored, it would be taken for what was trained on
        raise ArgumentError(
            "data_dir",
            f"found {data_dir}, expected none: the digits come with scikit-learn; "
            f"{prepare.for_own_images(data_dir)}",
        )
    check_size(name, image_size)
    mean, std = (DIGITS_MEAN, DIGITS_STD) if name == "digits" else (MEAN, STD)
    if name == "digits":
        train, held_out = read_digits()
        labels = tuple(map(str, range(DIGITS_NUM_CLASSES)))
    else:
        builder = prepare.builder(name, data_dir, instead=BUILT_IN)
        train = _split(builder, "train")
        held_out = _split(builder, "test") if test else (None, None)
        labels = tuple(builder.info.features["label"].names)
    if not test:
        held_out = None, None
    halved = image_size not in (0, SHAPES[name][0])
    images, test_images = (
        halve(part) if halved and part is not None else part for part in (train[0], held_out[0])
    )
    assert images is not None
    return ArrayDataset(
        train_images=images,
        train_labels=train[1],
        test_images=test_images,
        test_labels=held_out[1],
        num_classes=NUM_CLASSES[name],
        mean=mean,
        std=std,
        labels=labels,
    )


def halve(images: np.ndarray) -> np.ndarray:
    """Halves the resolution of uint8 images [N, H, W, C]: each pixel is the mean of 2x2 pixels, rounded up at .5."""
    count, height, width, channels = images.shape
    squares = images.reshape(count, height // 2, 2, width // 2, 2, channels)
    return ((squares.sum((2, 4), dtype=np.uint16) + 2) // 4).astype(np.uint8)


def _split(builder, name):
    """Reads (uint8 images [N, 32, 32, 3], int32 labels [N]) of one split of a prepared builder."""
    tf = host_tf.tensorflow()
    import tensorflow_datasets as tfds

    expected = builder.info.splits[name].num_examples
    try:
        data = tfds.as_numpy(builder.as_dataset(split=name, batch_size=-1, shuffle_files=False))
    except (tf.errors.OpError, OSError) as error:
        reason = files.reason(error)
        raise ArgumentError(
            "data_dir", f"cannot read the {name} split in {builder.data_dir} ({reason})"
        ) from error
    images, labels = data["image"], data["label"]
    if images.shape != (expected, 32, 32, 3):
        raise ArgumentError(
            "data_dir",
            f"the {name} split in {builder.data_dir} has images of shape {images.shape}, "
            f"expected {(expected, 32, 32, 3)}",
        )
    return images, labels.astype(np.int32)
