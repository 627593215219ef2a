"""The section of a report on a tested classifier: each class's accuracy, and the confusions of classes."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from nge_jax.errors import InputError
from nge_jax.report.document import Picture, Section, Table, Text
from nge_jax.report.figure import INK, NAMED, new_figure, save
from nge_jax.workdir import artifacts
from nge_jax.workdir.names import printable, shortened

DRAWN = 40  # classes; more would be dots
LISTED = 20  # the worst classes, and the most frequent confusions
SHORT = 14  # letters of a class's name in the picture
# From the paper's tint to a dark blue, away from the colors that a dark page replaces.
SHADES = LinearSegmentedColormap.from_list("confusion", ["#eef3f8", "#0b4a80"])


def over_classes(confusion: np.ndarray) -> str:
    """Says over how many classes a test's recalls are averaged, from the confusion [label, prediction]."""
    tested, classes = int((confusion.sum(axis=1) > 0).sum()), len(confusion)
    return f"over {tested} of {classes} classes" if tested < classes else f"over {tested} classes"


def read(workdir: Path) -> np.ndarray | None:
    """Reads the confusion [label, prediction] that a test has left; None where the run recorded none.

    Raises:
      InputError: the file holds no such matrix.
    """
    file = workdir / artifacts.CONFUSION
    if not file.exists():
        return None
    return _matrix(file, artifacts.read_json(file, ("labels", "confusion")))


def baseline(workdir: Path) -> tuple[float, str] | None:
    """Returns the accuracy of always saying the test's largest class, and its name; None without a record."""
    matrix = read(workdir)
    if matrix is None or not matrix.sum():
        return None
    counts = matrix.sum(axis=1)
    labels = artifacts.read_json(workdir / artifacts.CONFUSION, ("labels",))["labels"]
    return float(counts.max() / counts.sum()), printable(labels[int(counts.argmax())])


def section(workdir: Path) -> Section | None:
    """Draws the confusions into the workdir and shows them; None where the run recorded none."""
    file = workdir / artifacts.CONFUSION
    if not file.exists():
        return None
    values = artifacts.read_json(file, ("labels", "confusion"))
    labels, confusion = values["labels"], _matrix(file, values)
    blocks: list[Any] = []
    if len(labels) <= DRAWN:
        save(confusion_figure(confusion, labels), workdir / "confusion")
        right, count = int(confusion.trace()), int(confusion.sum())
        alt = f"What the test took for what: {right:,} of {count:,} images are right"
        caption = "Rows are the right classes, columns what the network said; the shade is the part of a row."
        blocks.append(Picture("confusion", alt, caption))
    blocks += [_classes(confusion, labels), *_confusions(confusion, labels)]
    return Section("Classes", blocks)


def confusion_figure(confusion: np.ndarray, labels: list[str]) -> Figure:
    """Draws a confusion matrix [label, prediction], each row by its parts, with the numbers where there is room."""
    count = len(labels)
    parts = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    side = min(7.0, 1.6 + 0.32 * count)
    names = [shortened(name, SHORT) for name in labels]
    with rc_context(NAMED):
        drawing = new_figure(side + 1.0, side)
        axes = drawing.subplots()
        axes.grid(False)
        edges = np.arange(count + 1) - 0.5
        axes.pcolormesh(edges, edges, parts, cmap=SHADES, vmin=0, vmax=1)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(edges[-1], edges[0])
        axes.set_xticks(range(count), names, rotation=90 if count > 5 else 0)
        axes.set_yticks(range(count), names)
        axes.set_xlabel("prediction")
        axes.set_ylabel("class")
        for row, column in np.argwhere(confusion > 0) if count <= 20 else ():
            color = "#ffffff" if parts[row, column] > 0.5 else INK
            if color == INK:
                color = "#1f2329"  # on a light shade on a dark page too
            number = f"{confusion[row, column]:,}"
            axes.text(column, row, number, ha="center", va="center", fontsize=7, color=color)
        drawing.tight_layout(pad=0.6)
        drawing.draw_without_rendering()
    return drawing


def _matrix(file: Path, values: dict[str, Any]) -> np.ndarray:
    try:
        confusion = np.asarray(values["confusion"], np.int64)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{file}: expected a matrix of numbers, found {error}") from None
    expected = (len(values["labels"]),) * 2
    if confusion.shape != expected:
        raise InputError(f"{file}: expected a matrix {expected}, found {confusion.shape}")
    return confusion


def _classes(confusion, labels):
    """Makes a row for each class, the worst first."""
    counts, right = confusion.sum(axis=1), confusion.diagonal()
    said = confusion.sum(axis=0)
    accuracy = right / np.maximum(counts, 1)
    order = [n for n in np.lexsort((np.arange(len(labels)), accuracy)) if counts[n]]
    rows = [
        (
            printable(labels[n]),
            f"{counts[n]:,}",
            f"{accuracy[n]:.1%}",
            f"{right[n] / said[n]:.1%}" if said[n] else "–",
        )
        for n in order[:LISTED]
    ]
    return Table(("Class", "Images", "Accuracy", "Right when said"), rows)


def _confusions(confusion, labels):
    off = confusion - np.diag(confusion.diagonal())
    order = np.argsort(-off, axis=None, kind="stable")[:LISTED]
    pairs = [(*divmod(int(place), len(labels)), int(off.flat[place])) for place in order]
    names = [printable(name) for name in labels]
    rows = [(names[row], names[column], f"{n:,}") for row, column, n in pairs if n]
    if not rows:
        return [Text("No image was taken for another class.")]
    return [Table(("Class", "Taken for", "Images"), rows)]
