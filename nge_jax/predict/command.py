"""Classifies images with a trained network:

  python -m nge_jax.predict --workdir=runs/train_cifar10 --images photos [more ...] [--output=classes.jsonl]

The command writes a line of JSON for each image, in the order of the names. Images in folders below count, too:

  {"file": "cats/1.jpg", "class": 3, "label": "cat", "probability": 0.93, "top5": [{"class": 3, ...}, ...]}

With --format=csv, or an --output that ends in .csv, the row is file,class,label,probability. File names begin below the
folder that all given files and folders share. If the images lie in folders named like the classes, stderr shows the
accuracy and the confusions.

A damaged image ends the command, once the other images of the batch are answered. With --skip_damaged the command goes
on. The line of a damaged image is then {"file": "cats/2.jpg", "error": "..."}, and a CSV has a column error. --output
appears only when all is done, and never replaces an earlier result.

An image may show only one color once it is read, for example a white drawing on a transparent ground. Its line has
"one_color": true, and a warning counts such images.

A photograph for the ImageNet network is cropped as in the network's test. For CIFAR and the digits, the largest
centered square is resized. The digits are gray, white on black.

For a segmentation's workdir, --output names a folder. The folder gets a palette PNG of class numbers for each image.
labels.txt has the names of these numbers, errors.jsonl the lines of damaged images that were skipped.
"""

import argparse
import contextlib
import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from nge_jax import files
from nge_jax.data.photographs import files as image_files
from nge_jax.data.spec import MASKS
from nge_jax.errors import ArgumentError, InputError, arguments_as
from nge_jax.predict.options import CSV, JSON_LINES, add_options
from nge_jax.segment import predict as segment_predict
from nge_jax.train import trained
from nge_jax.train.trained import Trained
from nge_jax.workdir.names import printable

TOP = 5  # classes in a line
COLUMNS, ERROR = ("file", "class", "label", "probability"), "error"
ONE_COLOR = "one_color"  # the key in the line of an image of one color
SHOWN = 10  # confusions in a summary


def predict(
    network: Trained, images: Mapping[str, Path], batch_size: int, *, skip_damaged: bool = False
) -> Iterator[dict[str, Any]]:
    """Yields a prediction of each image, ready for JSON.

    Args:
      network: a classifier.
      images: files by their names, as of `image_files.find`.
      batch_size: how many are in memory and computed at once.
      skip_damaged: yield the error of a damaged file; else it is raised after the other files of the batch.

    Raises:
      ArgumentError: an image cannot be read.
    """
    labels = network.spec.labels
    names = iter(enumerate(images))
    damaged: dict[int, ArgumentError] = {}
    batches = network.predict_in_batches(
        [*images.values()], batch_size=batch_size, on_damaged=damaged.__setitem__
    )
    for batch in batches:
        rows = zip(batch.probabilities, batch.one_color, strict=True)
        for (row, is_flat), (index, name) in zip(rows, names, strict=False):
            if index in damaged:
                if skip_damaged:
                    yield {"file": name, ERROR: damaged[index].reason}
                continue
            best = [
                {"class": int(k), "label": labels[k], "probability": float(row[k])}
                for k in np.argsort(-row, kind="stable")[:TOP]
            ]
            yield {"file": name, **best[0], "top5": best} | ({ONE_COLOR: True} if is_flat else {})
        if damaged and not skip_damaged:
            refusal = next(iter(damaged.values()))
            hint = "--skip_damaged goes on without such images"
            raise ArgumentError(refusal.argument, f"{refusal.reason}; {hint}")


def summarize(predictions: Iterable[dict[str, Any]], labels: Sequence[str]) -> list[str]:
    """Says how many predictions are right, if all images lie in folders named like classes; else says nothing.

    Args:
      predictions: of `predict`.
      labels: the network's class names.
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
    for (truth, label), count in most[:SHOWN]:
        lines.append(f"  {count:,} {printable(truth)} taken for {printable(label)}")
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
    parser.add_argument("--workdir", required=True, type=Path, help="that of the training")
    parser.add_argument(
        "--images",
        required=True,
        nargs="+",
        action="extend",
        type=Path,
        help="images and folders of images",
    )
    add_options(parser)
    run(parser.parse_args(arguments))


def run(given: argparse.Namespace, argument: str = "--images") -> None:
    """Classifies or segments images.

    Args:
      given: workdir, images, and the options of `add_options`.
      argument: the argument by which the user gives the images.

    Raises:
      InputError: a flag, the workdir or an image is refused.
    """
    if given.batch_size < 1:
        raise InputError(f"--batch_size: found {given.batch_size}, expected 1 or more")
    output = given.output and given.output.expanduser()
    with arguments_as(places=argument, images=argument, output="--output"):
        images, left_out = image_files.find([place.expanduser() for place in given.images])
        if left_out:
            print(f"left out: {left_out}", file=sys.stderr)
        network = trained.load(given.workdir, given.checkpoint)
        if network.spec.kind == MASKS:
            if output is None:
                raise InputError("--output: found none, expected a folder for the segmentations")
            damaged = segment_predict.write(
                network, images, output, skip_damaged=given.skip_damaged
            )
            print(f"{output}: segmentations of {len(images) - damaged:,} images")
        else:
            damaged = _classify(network, images, output, given)
    if damaged:
        print(
            f"warning: {damaged:,} of {len(images):,} images cannot be read and were skipped",
            file=sys.stderr,
        )


def _classify(
    network: Trained, images: Mapping[str, Path], output: Path | None, given: argparse.Namespace
) -> int:
    """Writes a line for each image, then the summary; returns how many images are damaged."""
    by_ending = CSV if output is not None and output.suffix == ".csv" else JSON_LINES
    done, flat, damaged = [], [], 0
    with _opened(output) as file:
        write = _writer(file, given.format or by_ending, given.skip_damaged)
        for line in predict(network, images, given.batch_size, skip_damaged=given.skip_damaged):
            write(line)
            if ERROR in line:
                damaged += 1
            else:
                done.append({key: line[key] for key in COLUMNS})
            if ONE_COLOR in line:
                flat.append(line["file"])
    if flat:
        count = f"{len(flat):,} of {len(done):,} images {'is' if len(flat) == 1 else 'are'}"
        print(f"warning: {count} one color once read, such as {flat[0]}", file=sys.stderr)
    for text in summarize(done, network.spec.labels):
        print(text, file=sys.stderr)
    return damaged


def _writer(file: TextIO, form: str, skip_damaged: bool) -> Callable[[dict[str, Any]], Any]:
    """Makes a function that writes a prediction as a line of this form.

    Characters that the file's encoding lacks, and bytes of a file's name that are no text, become escapes.
    """
    encoding = file.encoding or "ascii"
    if form == JSON_LINES:
        return lambda line: print(_as_json(line, encoding), file=file)
    columns = (*COLUMNS, ERROR) if skip_damaged else COLUMNS
    rows = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    return lambda line: rows.writerow({k: _escaped(v, encoding) for k, v in line.items()})


def _as_json(line, encoding):
    text = json.dumps(line, ensure_ascii=False)
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(line)  # escapes read back as the same text
    return text


def _escaped(value, encoding):
    if not isinstance(value, str):
        return value
    return printable(value).encode(encoding, "backslashreplace").decode(encoding)


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """Opens the file for the lines; the file appears when it is whole. None means stdout."""
    if output is None:
        yield sys.stdout
        return
    files.check_new(output)
    if not output.parent.is_dir():
        raise ArgumentError("output", f"{output} cannot be made (found no folder {output.parent})")
    with files.whole_output(output) as new, new.open("w", encoding="utf-8", newline="") as file:
        yield file
