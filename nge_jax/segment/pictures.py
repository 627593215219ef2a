"""Segmentations in VOC's colors, as palette PNGs and as rows of pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import patches, rc_context
from matplotlib.figure import Figure
from PIL import Image

from nge_jax.data.voc_segmentation.devkit import IGNORE
from nge_jax.data.voc_segmentation.palette import voc_palette
from nge_jax.report.figure import NAMED, QUIET, new_figure
from nge_jax.workdir.names import printable, shortened

# Colors in the picture of errors.
RIGHT, WRONG, UNLABELED = (220, 220, 220), (213, 94, 0), (255, 255, 255)
LONGEST = 30  # the legend shortens longer names of classes, in characters
GAP = 8  # pixels between the pictures of a row
TITLES = ("image", "truth", "prediction", "error")


class SegmentedImage(NamedTuple):
    """Holds an image of the test, its truth and its prediction.

    Attributes:
      name: the name of the image.
      image: uint8 [H, W, 3].
      mask: uint8 [H, W], 255 where there is no label.
      prediction: uint8 [H, W].
    """

    name: str
    image: np.ndarray
    mask: np.ndarray
    prediction: np.ndarray


def write_png(path: str | Path, labels: np.ndarray) -> None:
    """Writes class numbers, uint8 [H, W], in the format of VOC's masks: a PNG with VOC's palette.

    Raises:
      FileExistsError: the file exists.
    """
    picture = Image.fromarray(labels)
    picture.putpalette(voc_palette().tobytes())  # turns mode L (gray) into mode P (palette)
    with Path(path).open("xb") as file:
        picture.save(file, "png")


def make_pictures(example: SegmentedImage) -> tuple[np.ndarray, ...]:
    """Makes the pictures that `TITLES` names, each uint8 [H, W, 3]."""
    palette = voc_palette()
    mask, prediction = example.mask, example.prediction
    colors = np.array([RIGHT, WRONG, UNLABELED], np.uint8)
    error = colors[np.where(mask == IGNORE, 2, prediction != mask)]
    return example.image, palette[mask], palette[prediction], error


def side_by_side(example: SegmentedImage) -> np.ndarray:
    """Puts the pictures in a row, uint8 [H, 4 W + 3 GAP, 3], for TensorBoard."""
    gap = np.full([len(example.image), GAP, 3], 255, np.uint8)
    row = [part for picture in make_pictures(example) for part in (picture, gap)]
    return np.concatenate(row[:-1], axis=1)


def examples_figure(examples: Sequence[SegmentedImage], names: Sequence[str]) -> Figure:
    """Draws a row for each example, and a legend of the classes that occur; `names` are the names of all classes."""
    labels = [e.mask for e in examples] + [e.prediction for e in examples]
    seen = sorted({int(label) for part in labels for label in np.unique(part)} - {IGNORE})
    handles = [_handle(shortened(names[label], LONGEST), voc_palette()[label]) for label in seen]
    handles += [_handle("wrong", WRONG), _handle("no label", voc_palette()[IGNORE])]
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = min(7, max(1, 120 // (longest + 5)))
    # The legend's height in inches: two rows fit in 0.6 inches, and each more row needs 0.17.
    legend = 0.6 + 0.17 * max(0, -(-len(handles) // columns) - 2)
    with rc_context(NAMED):
        height = 1.6 * len(examples) + 0.2 + legend
        figure = new_figure(8.0, height)
        rows = figure.subplots(len(examples), len(TITLES), squeeze=False)
        for row, example in zip(rows, examples, strict=True):
            for axes, picture in zip(row, make_pictures(example), strict=True):
                axes.imshow(picture, interpolation="none")
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
        for axes, title in zip(rows[0], TITLES, strict=True):
            axes.set_title(title, loc="left")
        for axes, example in zip(rows[:, 0], examples, strict=True):
            axes.set_ylabel(printable(example.name), color=QUIET, fontsize=7)
        figure.legend(handles=handles, loc="lower center", ncols=columns, fontsize=7)
        figure.subplots_adjust(0.04, legend / height, 0.99, 1 - 0.2 / height, 0.03, 0.03)
    return figure


def _handle(name: str, color: Sequence[int] | np.ndarray) -> patches.Patch:
    """Makes a legend's entry; `color` has values in 0..255."""
    red, green, blue = (float(channel) / 255 for channel in color)
    return patches.Patch(facecolor=(red, green, blue), label=name)
