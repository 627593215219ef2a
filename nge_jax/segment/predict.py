"""Segments the images of a folder with a trained network: for each a PNG of class numbers in VOC's colors."""

import sys
from pathlib import Path

from nge_jax.data.imagenet import files as image_files
from nge_jax.errors import ArgumentError
from nge_jax.segment import pictures
from nge_jax.train.trained import Trained


def write(network: Trained, folder: Path, output: Path) -> int:
    """Writes `output`/NAME.png for each NAME.jpg or .png under `folder`; returns how many.

    Raises:
      InputError: there is no image, one cannot be read, or a file to be written exists, cannot be
        made or would be that of two images.
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
    for target, path in targets.items():
        (classes,) = network.segment([path])
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            pictures.write_png(target, classes)
        except OSError as error:
            raise ArgumentError(
                "output", f"{target} cannot be written ({error.strerror})"
            ) from error
    return len(paths)
