"""Segments images with a trained network, and writes a PNG of class numbers in VOC's colors for each image."""

import json
from collections.abc import Mapping
from pathlib import Path

from nge_jax import files
from nge_jax.data.voc_segmentation import class_names
from nge_jax.errors import ArgumentError
from nge_jax.files import write_atomically
from nge_jax.segment import pictures
from nge_jax.train.trained import Trained

ERRORS = "errors.jsonl"


def write(
    network: Trained, images: Mapping[str, Path], output: Path, *, skip_damaged: bool = False
) -> int:
    """Writes `output`/NAME.png for each image, and labels.txt: all files or none.

    Args:
      network: a network that segments.
      images: files by their names, see `data.photographs.files.find`.
      output: a folder, which may exist.
      skip_damaged: skips images that cannot be read, and writes each one's name and error as a line of errors.jsonl.

    Returns:
      The number of damaged images.

    Raises:
      ArgumentError: an image cannot be read; or a file to be written exists, cannot be made or would be written for
        two images. A labels.txt of the same classes may exist.
    """
    targets, errors = _targets(images, output), []
    names = output / class_names.FILES[0]
    if names.exists() and class_names.read(output) != network.spec.labels:
        raise ArgumentError("output", f"{names} exists and names other classes than this network's")
    if skip_damaged:
        files.check_new(output / ERRORS)
    with files.whole_output(output) as new:
        new.mkdir()
        for name, target in targets.items():
            try:
                _write_one(network, images[name], new / target)
            except ArgumentError as error:
                if not skip_damaged:
                    hint = "--skip_damaged goes on without such images"
                    raise ArgumentError(error.argument, f"{error.reason}; {hint}") from error
                errors.append(json.dumps({"file": name, "error": error.reason}) + "\n")
        if errors:
            write_atomically(new / ERRORS, "".join(errors))
        if not names.exists():
            text = "".join(f"{name}\n" for name in network.spec.labels)
            write_atomically(new / names.name, text)
    return len(errors)


def _write_one(network: Trained, image: Path, file: Path) -> None:
    (classes,) = network.segment([image])
    file.parent.mkdir(parents=True, exist_ok=True)
    pictures.write_png(file, classes)


def _targets(images, output):
    """Returns each image's picture, relative to the output; refuses a file that exists or would be written twice."""
    targets, sources = {}, {}
    for name, path in images.items():
        target = Path(name).with_suffix(".png")
        if target in sources:
            raise ArgumentError(
                "images", f"{sources[target]} and {path} would both become {output / target}"
            )
        files.check_new(output / target)
        targets[name], sources[target] = target, path
    return targets
