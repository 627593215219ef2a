"""The section on the mistakes of which a tested classifier was most confident: pictures with truth and prediction."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from nge_jax import files
from nge_jax.errors import InputError
from nge_jax.report.document import Picture, Section
from nge_jax.report.figure import NAMED, new_figure, save, save_svg
from nge_jax.workdir import artifacts
from nge_jax.workdir.names import shortened

SHORT = 12  # letters of a class's name under a picture
ACROSS, ACROSS_NARROW = 6, 3  # pictures in a row
SIDE, TITLE = 1.35, 0.42  # inches of a picture and of its two lines


def section(workdir: Path) -> Section | None:
    """Draws the mistakes into the workdir and shows them; None where the run recorded none.

    Raises:
      InputError: the record is damaged.
    """
    file = workdir / artifacts.MISTAKES
    if not file.exists():
        return None
    names = ("probability", "truth", "prediction", "image")
    try:
        found = files.read_arrays(file, names)
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: expected mistakes, found {files.reason(error)}") from None
    labels = artifacts.read_json(workdir / artifacts.CONFUSION, ("labels",))["labels"]
    count, shape = len(found["probability"]), found["image"].shape
    numbers = np.concatenate([found["truth"], found["prediction"]])
    if len(shape) != 4 or shape[0] != count or not count or numbers.max() >= len(labels):
        raise InputError(f"{file}: expected images of known classes, found {shape}")
    save(mistakes_figure(found, labels, ACROSS), workdir / "mistakes")
    save_svg(mistakes_figure(found, labels, ACROSS_NARROW), workdir / "mistakes_narrow")
    alt = f"The {count} images of the test that were taken for another class with most confidence"
    caption = "The images of the test that were taken for another class with most confidence."
    picture = Picture("mistakes", alt, caption, narrow_stem="mistakes_narrow")
    return Section("Mistakes", [picture])


def mistakes_figure(found: dict[str, Any], labels: Sequence[str], across: int) -> Figure:
    """Draws images in rows of `across`, with the truth and the prediction above each.

    Args:
      found: arrays by the names of the fields, as of `section`.
      labels: names of the classes.
      across: pictures in a row.
    """
    count = len(found["probability"])
    rows = -(-count // across)
    columns = min(across, count)
    with rc_context(NAMED):
        drawing = new_figure(SIDE * columns, (SIDE + TITLE) * rows)
        grid = drawing.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for number, axes in enumerate(grid.flat[:count]):
            image = found["image"][number]
            rgb = np.broadcast_to(image, (*image.shape[:2], 3))
            axes.imshow(rgb, interpolation="none")
            truth, said = (
                shortened(labels[int(found[name][number])], SHORT)
                for name in ("truth", "prediction")
            )
            title = f"is {truth}\nsaid {said} {found['probability'][number]:.0%}"
            axes.set_title(title, fontsize=7.5, loc="left", pad=3)
        # Each row has room for its titles above the pictures.
        height = drawing.get_figheight()
        drawing.subplots_adjust(
            left=0.01,
            right=0.99,
            bottom=0.04 / height,
            top=1 - TITLE / height,
            wspace=0.08,
            hspace=TITLE / SIDE,
        )
    return drawing
