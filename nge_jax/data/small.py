"""The data sets that lie on the device whole: CIFAR-10 and CIFAR-100 by TFDS, and the digits of scikit-learn."""

import urllib.request
from typing import NamedTuple

import numpy as np
from absl import logging

from nge_jax.errors import InputError
from nge_jax.runtime import host_tf

DIGITS_NUM_CLASSES = 10
# Mean and standard deviation of the training images' pixels in 0..1.
DIGITS_MEAN, DIGITS_STD = (0.3052,), (0.3760,)


def read_digits() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """((training images, labels), (test images, labels)): uint8 [N, 8, 8, 1] and int32 [N]."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images[..., None] * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int32)
    held_out = np.zeros(len(labels), bool)
    for digit in range(DIGITS_NUM_CLASSES):
        held_out[np.flatnonzero(labels == digit)[4::5]] = True
    return (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out])


NUM_CLASSES = {"cifar10": 10, "cifar100": 100, "digits": DIGITS_NUM_CLASSES}
# CIFAR-10's, of pixels in 0..1; paper silent, DARTS uses them for CIFAR-100 too.
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
REACH_SECONDS = 10  # how long to wait for the data set's site before giving up


class Dataset(NamedTuple):
    """images: uint8 [N, H, W, C]; labels: int32 [N]; mean, std: per channel, of training pixels in 0..1.

    The test arrays are None unless asked for.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray | None
    test_labels: np.ndarray | None
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def load(name: str, data_dir: str = "", *, test: bool = False) -> Dataset:
    """Loads the training split, and the test split only if `test`, in the order of the data set's files.

    Args:
      name: "cifar10", "cifar100" or "digits".
      data_dir: tfds folder of the CIFARs; "" means TFDS's own default. CIFAR is downloaded there when absent.
      test: also read the test split (for the final evaluation of a trained network, nothing else).

    Raises:
      InputError: unknown name, or the data is neither there nor downloadable, or is damaged.
    """
    if name not in NUM_CLASSES:
        raise InputError(
            f"config.data.name: unknown data set {name!r}, expected one of {', '.join(NUM_CLASSES)}"
        )
    if name == "digits":
        train, held_out = read_digits()
        return Dataset(
            *train,
            *(held_out if test else (None, None)),
            DIGITS_NUM_CLASSES,
            DIGITS_MEAN,
            DIGITS_STD,
        )
    builder = _builder(name, data_dir)
    train = _split(builder, "train")
    held_out = _split(builder, "test") if test else (None, None)
    return Dataset(*train, *held_out, NUM_CLASSES[name], MEAN, STD)


def _builder(name, data_dir):
    """A prepared tfds builder; downloads the data set if need be."""
    host_tf.tensorflow()
    import tensorflow_datasets as tfds

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # tfds warns about every folder that is not there yet
    try:
        builder = tfds.builder(name, data_dir=data_dir or None)
        if builder.is_prepared():
            return builder
        _reach(builder)
        builder.download_and_prepare()
        return builder
    except (OSError, tfds.download.DownloadError) as error:
        folder = builder.data_dir
        raise InputError(
            f"config.data.dir: no prepared {name} in {folder} and it cannot be downloaded "
            f'({" ".join(str(error).split())}); on a machine with a network run python -c "import '
            f"tensorflow_datasets as tfds; tfds.load('{name}', data_dir='DIR')\" and pass --config.data.dir=DIR, "
            "or search the built-in digits with --config=configs/search_digits.py"
        ) from error
    finally:
        logging.set_verbosity(verbosity)


def _reach(builder):
    """Raises OSError within seconds when the data set's site is out of reach: tfds itself retries for minutes."""
    with urllib.request.urlopen(builder.info.homepage, timeout=REACH_SECONDS):
        pass


def _split(builder, name):
    """(uint8 images [N, 32, 32, 3], int32 labels [N]) of one split of a prepared builder."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    expected = builder.info.splits[name].num_examples
    try:
        data = tfds.as_numpy(builder.as_dataset(split=name, batch_size=-1, shuffle_files=False))
    except (tf.errors.OpError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"config.data.dir: cannot read the {name} split in {builder.data_dir} ({reason})"
        ) from error
    images, labels = data["image"], data["label"]
    if images.shape != (expected, 32, 32, 3):
        raise InputError(
            f"config.data.dir: the {name} split in {builder.data_dir} has images of shape {images.shape}, "
            f"expected {(expected, 32, 32, 3)}"
        )
    return images, labels.astype(np.int32)
