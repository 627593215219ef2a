"""The image files that a user names: found in folders, and read as a network takes them."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nge_jax.data.folders import entries
from nge_jax.data.photographs import crop, pixels
from nge_jax.data.spec import LARGE, DatasetSpec
from nge_jax.errors import ArgumentError


def find(places: Sequence[Path]) -> tuple[dict[str, Path], str]:
    """Lists images, and those in folders and below them, each once; and says what it leaves out.

    Args:
      places: files and folders, whose images are in the order of their names.

    Returns:
      The images by their names below the folder that all places have in common, and what is left out.

    Raises:
      ArgumentError: there is no such file or folder, or no image in a folder.
    """
    paths: list[Path] = []
    others: Counter[str] = Counter()
    written: list[str] = []
    for place in places:
        if place.is_dir():
            images, left_out, runs = entries.walk(place)
            others += left_out
            written += [str(run.relative_to(place)) for run in runs]
            if not images:
                left = entries.describe_left_out(left_out, runs=written)
                why = f", left out: {left}" if left else ""
                expected = ", ".join(pixels.FORMATS)
                raise ArgumentError("places", f"found no {expected} file in {place}{why}")
            paths += images
        elif place.exists():
            paths.append(place)
        else:
            raise ArgumentError("places", f"found no file or folder {place}")
    folders = [place if place.is_dir() else place.parent for place in places]
    common = os.path.commonpath([os.path.abspath(folder) for folder in folders])
    named = {os.path.relpath(path, common): path for path in paths}
    return named, entries.describe_left_out(others, runs=written)


def read_fitted(path: Path, spec: DatasetSpec) -> np.ndarray:
    """Reads an image as a classifier takes it: uint8 of the shape that `spec` has.

    A photograph for the ImageNet network is cropped as in the network's test. For the other networks the largest
    centered part is resized.

    Raises:
      ArgumentError: it is no image.
    """
    height, width, channels = spec.shape
    try:
        data = pixels.read_bytes(path)
        if spec.kind != LARGE:
            return pixels.fitted(data, height, width, channels)
        return crop.center_crop(data, height)
    except pixels.UNREADABLE as error:
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
