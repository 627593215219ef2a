"""Segments the images of a folder with a trained network: for each a PNG of class numbers in VOC's colors."""

import contextlib
import sys
from pathlib import Path

from nge_jax.data.photographs import files as image_files
from nge_jax.data.voc_segmentation import class_names
from nge_jax.errors import ArgumentError
from nge_jax.files import write_atomically
from nge_jax.segment import pictures
from nge_jax.train.trained import Trained


def write(network: Trained, folder: Path, output: Path) -> int:
    """Writes `output`/NAME.png for each NAME.jpg or .png under `folder`, and labels.txt; returns how many.

    Raises:
      InputError: there is no image, one cannot be read, or a file to be written exists, cannot be
        made or would be that of two images. A labels.txt of the same classes may be there.
    """
    paths, left_out = image_files.find(folder)
    if left_out:
        print(f"left out: {left_out}", file=sys.stderr)
    targets = {}
    for path in paths:
        target = output / path.relative_to(folder).with_suffix(".png")
        if target in targets:
            raise ArgumentError(
                "folder", f"{targets[target]} and {path} would both become {target}"
            )
        if target.exists():
            raise ArgumentError("output", f"{target} exists, expected a folder without it")
        targets[target] = path
    names = output / class_names.FILES[0]
    text = "".join(f"{name}\n" for name in network.spec.labels)
    is_there = names.exists()
    if is_there and class_names.read(output) != network.spec.labels:
        raise ArgumentError("output", f"{names} exists and names other classes than this network's")
    for target, path in targets.items():
        (classes,) = network.segment([path])
        with _refused_if_unwritable(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            pictures.write_png(target, classes)
    if not is_there:
        with _refused_if_unwritable(names):
            write_atomically(names, text)
    return len(paths)


@contextlib.contextmanager
def _refused_if_unwritable(file):
    try:
        yield
    except OSError as error:
        raise ArgumentError("output", f"{file} cannot be written ({error.strerror})") from error
