"""Classifies a folder of images with a trained network:

  python -m nge_jax.predict --workdir=runs/train_cifar10 --images=photos [--output=classes.jsonl]

For each image, also in folders below, in the order of their names, it writes a line of JSON:
{"file": "cats/1.jpg", "class": 3, "label": "cat", "probability": 0.93, "top5": [{"class": 3, ...}, ...]}.

A photograph for the ImageNet network is cropped as in its test. For CIFAR and the digits the largest square in the
middle is resized; the digits are gray, white on black.

Of a segmentation's workdir --output names a folder, which gets a palette PNG of class numbers for each image.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nge_jax.data.imagenet import files as image_files
from nge_jax.data.spec import MASKS
from nge_jax.errors import InputError, arguments_as
from nge_jax.runtime import flags
from nge_jax.segment import predict as segment_predict
from nge_jax.train import trained
from nge_jax.train.trained import Trained

TOP = 5  # classes that a line tells of


def predict(network: Trained, folder: Path, batch_size: int) -> Iterator[dict[str, Any]]:
    """Yields a prediction of each image under `folder`, ready for JSON.

    Raises:
      InputError: there is no image, or one cannot be read.
    """
    paths, left_out = image_files.find(folder)
    if left_out:
        print(f"left out: {left_out}", file=sys.stderr)
    labels = network.spec.labels
    batches = network.predict_in_batches(paths, batch_size=batch_size)
    rows = (row for batch in batches for row in batch.probabilities)
    for path, row in zip(paths, rows, strict=True):
        best = [
            {"class": int(k), "label": labels[k], "probability": float(row[k])}
            for k in np.argsort(-row, kind="stable")[:TOP]
        ]
        yield {"file": str(path.relative_to(folder)), **best[0], "top5": best}


def main(arguments: list[str] | None = None) -> None:
    """Runs the command.

    Raises:
      InputError: a flag, the workdir or an image is refused.
    """
    parser = argparse.ArgumentParser(
        prog="python -m nge_jax.predict", description="Classifies or segments a folder of images."
    )
    trained.add_arguments(parser)
    parser.add_argument("--images", required=True, type=Path, help="folder of JPEG and PNG files")
    parser.add_argument(
        "--output",
        type=Path,
        help="file for the lines, instead of stdout; of a segmentation the folder for the pictures",
    )
    parser.add_argument("--batch_size", type=int, default=64, help="images classified at once")
    given: Any = parser.parse_args(arguments)
    if not given.images.is_dir():
        raise InputError(f"--images: found no folder {given.images}")
    if given.batch_size < 1:
        raise InputError(f"--batch_size: found {given.batch_size}, expected 1 or more")
    network = trained.load(given.workdir, given.checkpoint)
    with arguments_as(folder="--images", images="--images", output="--output"):
        if network.spec.kind == MASKS:
            if given.output is None:
                raise InputError("--output: found none, expected a folder for the segmentations")
            count = segment_predict.write(network, given.images, given.output)
            print(f"{given.output}: segmentations of {count:,} images")
            return
        with _opened(given.output) as file:
            for prediction in predict(network, given.images, given.batch_size):
                print(json.dumps(prediction, ensure_ascii=False), file=file)


def _opened(output):
    """Opens the file for the lines, which must be new; stdout for None."""
    if output is None:
        return contextlib.nullcontext(sys.stdout)
    try:
        return output.open("x", encoding="utf-8")
    except FileExistsError:
        raise InputError(f"--output: {output} exists, expected a new file") from None
    except OSError as error:
        raise InputError(f"--output: {output} cannot be made ({error.strerror})") from error


if __name__ == "__main__":
    with flags.refusals():
        main()
