"""A part of CIFAR-10 as an .npz file, as a user's own images have one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nge_jax.data import small

# `labels [N] -> the images to take`, as an index of an array.
Choice = Callable[[np.ndarray], Any]


def write_npz(file: Path, data_dir: str | None, train: Choice, test: Choice) -> None:
    """Writes the file where it is missing; a command that is killed leaves no half of it.

    Args:
      file: the .npz file.
      data_dir: TFDS's folder with CIFAR-10.
      train, test: choose among the images of a split.
    """
    if file.exists():
        return
    images = small.load("cifar10", data_dir or "", test=True)
    assert images.test_images is not None and images.test_labels is not None
    first, second = train(images.train_labels), test(images.test_labels)
    new = file.with_suffix(".new.npz")
    np.savez(
        new,
        train_images=images.train_images[first],
        train_labels=images.train_labels[first],
        test_images=images.test_images[second],
        test_labels=images.test_labels[second],
    )
    new.replace(file)
