"""The Semantic Boundaries Dataset as its authors distribute it (Hariharan et al., ICCV 2011).

    benchmark_RELEASE/dataset/{train,val}.txt
    benchmark_RELEASE/dataset/img/ID.jpg
    benchmark_RELEASE/dataset/cls/ID.mat      a struct GTcls, whose Segmentation is the class numbers

SBD labels images of PASCAL VOC with VOC's class numbers, without borders. VOC itself has no masks for
most of these images. SBD's split differs from VOC's: images of VOC's validation lie in both lists.
"""

import os
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from nge_jax import files
from nge_jax.errors import InputError

RELEASE, LISTS = "benchmark_RELEASE", ("train.txt", "val.txt")


def find(root: Path) -> Path | None:
    """Finds SBD's folder `dataset`, if it lies in a VOC2012 folder, beside it or beside the folder around it."""
    root = Path(os.path.abspath(root))  # without "..", or its parents would be others
    releases = [folder / RELEASE for folder in (root, *root.parents[:2])]
    return next((release / "dataset" for release in releases if release.is_dir()), None)


def image_path(dataset: Path, name: str) -> Path:
    """Returns where the image `name` lies in SBD's folder `dataset`."""
    return dataset / "img" / f"{name}.jpg"


def mask_path(dataset: Path, name: str) -> Path:
    """Returns where the mask of the image `name` lies."""
    return dataset / "cls" / f"{name}.mat"


def read_labels(path: Path) -> np.ndarray:
    """Reads the numbers of a mask [H, W], whatever they are, as the file has them.

    Raises:
      InputError: a file that is none of MATLAB's, or without a matrix GTcls.Segmentation.
    """
    try:
        content = loadmat(path, variable_names=("GTcls",))
    except Exception as error:  # scipy trusts the file, and damage raises any kind of error
        reason = files.reason(error)
        raise InputError(f"{path} cannot be read as a MATLAB file ({reason})") from error
    try:
        labels = content["GTcls"]["Segmentation"][0, 0]
    except (KeyError, IndexError, ValueError) as error:  # absent, no struct, without the field
        raise InputError(f"{path}: no GTcls.Segmentation, expected SBD's classes") from error
    if not isinstance(labels, np.ndarray) or labels.ndim != 2 or labels.dtype.kind not in "uif":
        raise InputError(f"{path}: GTcls.Segmentation is no matrix, expected class numbers")
    return labels
