"""The image files that a user names: found in a folder, and read as a network takes them."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from nge_jax.data.imagenet import batches as imagenet
from nge_jax.data.imagenet import decode
from nge_jax.data.spec import LARGE, DatasetSpec
from nge_jax.errors import ArgumentError
from nge_jax.runtime import host_tf

# What PIL raises for a file that is no image, is damaged, or is much too large.
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


def find(folder: Path) -> list[Path]:
    """Lists JPEG and PNG files, also in folders below, in the order of their names.

    Raises:
      ArgumentError: there is no such folder, or no such file in it.
    """
    if not folder.is_dir():
        raise ArgumentError("folder", f"found no folder {folder}")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in imagenet.FORMATS)
    if not paths:
        raise ArgumentError("folder", f"found no {', '.join(imagenet.FORMATS)} file in {folder}")
    return paths


def read_fitted(path: Path, spec: DatasetSpec) -> np.ndarray:
    """Reads an image as a classifier takes it: uint8 of the shape that `spec` has.

    A photograph for the ImageNet network is cropped as in its test, for the others the largest part in the middle is
    resized.

    Raises:
      ArgumentError: it is no image.
    """
    height, width, channels = spec.shape
    if spec.kind == LARGE:
        tf = host_tf.tensorflow()
        try:
            return decode.center_crop(path.read_bytes(), height).numpy()
        except (OSError, tf.errors.InvalidArgumentError) as error:
            raise _refused(path, error) from error
    try:
        with Image.open(path) as image:
            image = image.convert("L" if channels == 1 else "RGB")
            image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
            return np.asarray(image).reshape(spec.shape)
    except UNREADABLE as error:
        raise _refused(path, error) from error


def read_whole(path: Path) -> np.ndarray:
    """Reads an image as it is: uint8 [H, W, 3].

    Raises:
      ArgumentError: it is no image.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except UNREADABLE as error:
        raise _refused(path, error) from error


def _refused(path, error):
    reason = " ".join(str(error).split())[:200]
    return ArgumentError("images", f"{path} cannot be read as an image ({reason})")
