"""Classifies a folder of images with a trained network:

  python -m nge_jax.predict --workdir=runs/train_cifar10 --images=photos [--output=classes.jsonl]

For each JPEG or PNG, also in folders below, in the order of their names, it writes a line of JSON:
{"file": "cats/1.jpg", "class": 3, "label": "cat", "probability": 0.93, "top5": [{"class": 3, ...}, ...]}.

A photograph for the ImageNet network is cropped as in its test. For CIFAR and the digits the largest square in the
middle is resized; the digits are grey, white on black.

Of a segmentation's workdir --output names a folder, which gets a palette PNG of class numbers for each image.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from nge_jax.data import augment
from nge_jax.data.imagenet import decode
from nge_jax.data.imagenet import files as image_files
from nge_jax.data.spec import LARGE, MASKS, DatasetSpec
from nge_jax.errors import InputError
from nge_jax.runtime import flags, host_tf
from nge_jax.segment import predict as segment_predict
from nge_jax.train import trained
from nge_jax.train.trained import Trained


def predict(network: Trained, folder: Path, batch_size: int) -> Iterator[dict[str, Any]]:
    """A prediction of each image under `folder`, ready for JSON.

    Raises:
      InputError: there is no image, or one cannot be read.
    """
    paths = image_files.find(folder)
    spec, model = network.spec, network.model
    variables = {"params": network.state.params, "batch_stats": network.state.batch_stats}

    @jax.jit
    def probabilities(variables, images):
        x = augment.normalize(images, spec.mean, spec.std)
        return jax.nn.softmax(model.apply(variables, x, train=False)[0])

    images = np.zeros((batch_size, *spec.shape), np.uint8)  # always full: compiles once
    for start in range(0, len(paths), batch_size):
        batch = paths[start : start + batch_size]
        for index, path in enumerate(batch):
            images[index] = read_image(path, spec)
        for path, probs in zip(batch, np.asarray(probabilities(variables, images)), strict=False):
            best = [
                {"class": int(k), "label": spec.labels[k], "probability": float(probs[k])}
                for k in np.argsort(-probs, kind="stable")[:5]
            ]
            yield {"file": str(path.relative_to(folder)), **best[0], "top5": best}


def read_image(path: Path, spec: DatasetSpec) -> np.ndarray:
    """uint8 of the shape that the network takes.

    Raises:
      InputError: it is no image.
    """
    height, width, channels = spec.shape
    if spec.kind == LARGE:
        tf = host_tf.tensorflow()
        try:
            return decode.center_crop(path.read_bytes(), height).numpy()
        except (OSError, tf.errors.InvalidArgumentError) as error:
            raise image_files.unreadable(path, error) from error
    try:
        with Image.open(path) as image:
            image = image.convert("L" if channels == 1 else "RGB")
            image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
            return np.asarray(image).reshape(spec.shape)
    except (OSError, UnidentifiedImageError) as error:
        raise image_files.unreadable(path, error) from error


def main(arguments: list[str] | None = None) -> None:
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
    if network.spec.kind == MASKS:
        if given.output is None:
            raise InputError("--output: found none, expected a folder for the segmentations")
        count = segment_predict.write(network, given.images, given.output)
        print(f"{given.output}: segmentations of {count:,} images")
        return
    if given.output is not None and given.output.exists():
        raise InputError(f"--output: {given.output} exists, expected a new file")
    stdout = contextlib.nullcontext(sys.stdout)
    with stdout if given.output is None else given.output.open("x", encoding="utf-8") as file:
        for prediction in predict(network, given.images, given.batch_size):
            print(json.dumps(prediction, ensure_ascii=False), file=file)


if __name__ == "__main__":
    with flags.refusals():
        main()
