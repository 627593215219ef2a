"""The image files that a user names: found in a folder, and read as a network takes them."""

from pathlib import Path

import numpy as np

from nge_jax.data.folders import entries
from nge_jax.data.photographs import decode, pixels
from nge_jax.data.spec import LARGE, DatasetSpec
from nge_jax.devices import host_tf
from nge_jax.errors import ArgumentError


def find(folder: Path) -> tuple[list[Path], str]:
    """Lists a folder's images, also in folders below, in the order of their names; and says what it leaves out.

    Raises:
      ArgumentError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise ArgumentError("folder", f"found no folder {folder}")
    paths, others, runs = entries.walk(folder)
    written = [str(run.relative_to(folder)) for run in runs]
    left_out = entries.describe_left_out(others, runs=written)
    if not paths:
        why = f", left out: {left_out}" if left_out else ""
        raise ArgumentError("folder", f"found no {', '.join(pixels.FORMATS)} file in {folder}{why}")
    return paths, left_out


def read_fitted(path: Path, spec: DatasetSpec) -> np.ndarray:
    """Reads an image as a classifier takes it: uint8 of the shape that `spec` has.

    A photograph for the ImageNet network is cropped as in its test, for the others the largest part in the middle is
    resized.

    Raises:
      ArgumentError: it is no image.
    """
    height, width, channels = spec.shape
    try:
        data = pixels.read_bytes(path)
        if spec.kind != LARGE:
            return pixels.fitted(data, height, width, channels)
        encoded, orientation = pixels.for_tensorflow(data)
    except pixels.UNREADABLE as error:
        raise pixels.refused(path, error) from error
    tf = host_tf.tensorflow()
    try:
        return decode.center_crop(encoded, height, orientation).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise pixels.refused(path, error) from error


def read_whole(path: Path) -> np.ndarray:
    """Reads an image as it is shown: uint8 [H, W, 3].

    Raises:
      ArgumentError: it is no image.
    """
    try:
        return pixels.decode(pixels.read_bytes(path))
    except pixels.UNREADABLE as error:
        raise pixels.refused(path, error) from error
