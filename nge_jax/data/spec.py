"""What a network has to know of its images, kept in the workdir so that no later use needs the data set."""

import json
from pathlib import Path
from typing import NamedTuple

from nge_jax.runtime import artifacts

# Which network: for CIFAR and the like, for ImageNet, or for ImageNet's images with a label for each pixel.
SMALL, LARGE, MASKS = "small", "large", "masks"


class DatasetSpec(NamedTuple):
    """kind: SMALL, LARGE or MASKS; shape: [H, W, C]; mean, std: per channel, in 0..1; labels: names of classes."""

    kind: str
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    labels: tuple[str, ...]


def to_json(spec: DatasetSpec) -> str:
    return json.dumps(spec._asdict(), ensure_ascii=False) + "\n"


def read(workdir: Path) -> DatasetSpec:
    """Raises InputError where the workdir is not one of a training."""
    values = artifacts.read_json(workdir / artifacts.DATASET, DatasetSpec._fields)
    labels, kind = tuple(values["labels"]), values["kind"]
    return DatasetSpec(kind, *(tuple(values[key]) for key in ("shape", "mean", "std")), labels)
