"""What a network has to know of its images, kept in the workdir so that no later use needs the data set."""

import json
from pathlib import Path
from typing import NamedTuple

from nge_jax.runtime import artifacts

# Which network: for CIFAR and the like, for ImageNet, or for ImageNet's images with a label for each pixel.
SMALL, LARGE, MASKS = "small", "large", "masks"


class DatasetSpec(NamedTuple):
    """What a network has to know of its images.

    Attributes:
      kind: SMALL, LARGE or MASKS.
      shape: of an image, [H, W, C].
      mean: per channel, of pixels in 0..1.
      std: per channel, of pixels in 0..1.
      labels: names of the classes.
    """

    kind: str
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    labels: tuple[str, ...]


def to_json(spec: DatasetSpec) -> str:
    """Writes a spec as a line of JSON."""
    return json.dumps(spec._asdict(), ensure_ascii=False) + "\n"


def read(workdir: Path) -> DatasetSpec:
    """Reads the spec that a training has left in its workdir.

    Raises:
      InputError: the workdir is not one of a training.
    """
    values = artifacts.read_json(workdir / artifacts.DATASET, DatasetSpec._fields)
    return DatasetSpec(
        kind=values["kind"],
        shape=tuple(values["shape"]),
        mean=tuple(values["mean"]),
        std=tuple(values["std"]),
        labels=tuple(values["labels"]),
    )
