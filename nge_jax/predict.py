"""Classifies images with a trained network:

  python -m nge_jax.predict --workdir=runs/train_cifar10 --images=photos [--output=classes.jsonl]

For each image, also in folders below, in the order of their names, it writes a line of JSON:
{"file": "cats/1.jpg", "class": 3, "label": "cat", "probability": 0.93, "top5": [{"class": 3, ...}, ...]}, or with
--format=csv (or an --output that ends so) the row file,class,label,probability. Where the images lie in folders that
are named as classes are, the accuracy and the confusions follow on stderr.

A photograph for the ImageNet network is cropped as in its test. For CIFAR and the digits the largest square in the
middle is resized; the digits are gray, white on black.

Of a segmentation's workdir --output names a folder, which gets a palette PNG of class numbers for each image, and
labels.txt with the names of these numbers.
"""

import argparse
import contextlib
import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nge_jax.data.photographs import files as image_files
from nge_jax.data.spec import MASKS
from nge_jax.errors import InputError, arguments_as
from nge_jax.segment import predict as segment_predict
from nge_jax.settings import flags
from nge_jax.train import trained
from nge_jax.train.trained import Trained

TOP = 5  # classes that a line tells of
JSON_LINES, CSV = "jsonl", "csv"
COLUMNS: tuple[str, ...] = ("file", "class", "label", "probability")
SHOWN = 10  # confusions that a summary tells of


def predict(network: Trained, images: Path, batch_size: int) -> Iterator[dict[str, Any]]:
    """Yields a prediction of an image, or of each under a folder, ready for JSON.

    Raises:
      InputError: there is no image, or one cannot be read.
    """
    if images.is_dir():
        paths, left_out = image_files.find(images)
        root = images
    else:
        paths, left_out, root = [images], "", images.parent
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
        yield {"file": str(path.relative_to(root)), **best[0], "top5": best}


def summarize(predictions: Iterable[dict[str, Any]], labels: Sequence[str]) -> list[str]:
    """Says how many predictions are right, where all images lie in folders named as classes are; else says nothing.

    Args:
      predictions: of `predict`.
      labels: the network's.
    """
    pairs = [(Path(p["file"]).parts[:-1], p["label"]) for p in predictions]
    if not pairs or any(not folders or folders[0] not in labels for folders, _ in pairs):
        return []
    truths = [folders[0] for folders, _ in pairs]
    right = sum(truth == label for truth, (_, label) in zip(truths, pairs, strict=True))
    lines = [f"accuracy: {right / len(pairs):.2%} of {len(pairs):,} images in folders of classes"]
    confusions: dict[tuple[str, str], int] = {}
    for truth, (_, label) in zip(truths, pairs, strict=True):
        if truth != label:
            confusions[truth, label] = confusions.get((truth, label), 0) + 1
    most = sorted(confusions.items(), key=lambda item: (-item[1], item[0]))
    lines += [f"  {count:,} {truth} taken for {label}" for (truth, label), count in most[:SHOWN]]
    if len(most) > SHOWN:
        lines.append(f"  and {len(most) - SHOWN:,} other confusions")
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Runs the command.

    Raises:
      InputError: a flag, the workdir or an image is refused.
    """
    parser = argparse.ArgumentParser(
        prog="python -m nge_jax.predict", description="Classifies or segments images."
    )
    trained.add_arguments(parser)
    parser.add_argument("--images", required=True, type=Path, help="folder of images, or one image")
    parser.add_argument(
        "--output",
        type=Path,
        help="file for the lines, instead of stdout; of a segmentation the folder for the pictures",
    )
    parser.add_argument(
        "--format", choices=(JSON_LINES, CSV), help="of the lines; default: what --output ends with"
    )
    parser.add_argument("--batch_size", type=int, default=64, help="images classified at once")
    given: Any = parser.parse_args(arguments)
    images, output = given.images.expanduser(), given.output and given.output.expanduser()
    if not images.exists():
        raise InputError(f"--images: found no folder {images}")
    if given.batch_size < 1:
        raise InputError(f"--batch_size: found {given.batch_size}, expected 1 or more")
    network = trained.load(given.workdir, given.checkpoint)
    with arguments_as(folder="--images", images="--images", output="--output"):
        if network.spec.kind == MASKS:
            if output is None:
                raise InputError("--output: found none, expected a folder for the segmentations")
            count = segment_predict.write(network, images, output)
            print(f"{output}: segmentations of {count:,} images")
            return
        by_ending = CSV if output is not None and output.suffix == ".csv" else JSON_LINES
        done = []
        with _opened(output) as file:
            write = _writer(file, given.format or by_ending)
            for prediction in predict(network, images, given.batch_size):
                write(prediction)
                done.append({key: prediction[key] for key in COLUMNS})
        for line in summarize(done, network.spec.labels):
            print(line, file=sys.stderr)


def _as_json(prediction, encoding):
    """Returns a line that the file takes: names that its encoding lacks become escapes, which JSON reads back."""
    line = json.dumps(prediction, ensure_ascii=False)
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(prediction)
    return line


def _writer(file, form):
    """Makes a function that writes a prediction as a line of this form."""
    if form == JSON_LINES:
        encoding = file.encoding or "ascii"
        return lambda prediction: print(_as_json(prediction, encoding), file=file)
    rows = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    return rows.writerow


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
