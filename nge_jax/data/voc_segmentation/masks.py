"""Reads the mask of an example: class numbers that lie on the pixels of its image as a viewer shows it.

A camera may store a photograph turned, with an EXIF orientation. Most programs that draw masks show the photograph
upright, some show it as it is stored. The mask's size tells the two apart, where height and width change places.
"""

import contextlib
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from nge_jax.data.photographs import pixels
from nge_jax.data.voc_segmentation import class_names, sbd
from nge_jax.data.voc_segmentation.devkit import CLASSES, IGNORE, IMAGES, DevkitExample
from nge_jax.data.voc_segmentation.palette import voc_palette
from nge_jax.errors import InputError

OWN = f"classes of your own are named in {class_names.FILES[0]} beside {IMAGES}"


def read(example: DevkitExample, names: Sequence[str] | None = None) -> np.ndarray:
    """Reads class numbers, uint8 [H, W] of the upright image, and 255 where there is no label.

    Args:
      example: of a devkit.
      names: of the classes, if they are the folder's own, whose colors may be any; None: VOC's 21, in VOC's colors.

    Raises:
      InputError: a file that is no picture, a mask in colors, of another size than its image, with an unknown label or
        with others' colors, or one that could be turned either way; or what `sbd.read_labels` raises it for.
    """
    with _named(example.image):
        height, width, orientation = pixels.stored(pixels.read_bytes(example.image))
    if example.mask.suffix == ".mat":
        labels, colors = sbd.read_labels(example.mask), None
    else:
        labels, colors = _read_png(example.mask, binary=names is not None)
    classes = len(CLASSES if names is None else names)
    unknown = np.setdiff1d(labels, [*range(classes), IGNORE])
    stored, shown = (height, width), pixels.shown_size(height, width, orientation)
    if labels.shape not in (stored, shown):
        raise InputError(
            f"{example.mask}: {_size(labels.shape)} pixels, expected {_size(shown)} as {example.image} has"
        )
    if unknown.size:
        raise InputError(
            f"{example.mask}: unknown label {unknown[0]}, expected 0 to {classes - 1} or {IGNORE}"
            + (f" ({OWN})" if names is None else "")
        )
    if names is None and colors is not None:
        _check_colors(example, labels, colors)
    return _upright(example, labels.astype(np.uint8), stored, shown, orientation)


def _read_png(path, binary):
    """Reads (class numbers [H, W], the palette's colors [n, 3] or None)."""
    with _named(path), Image.open(io.BytesIO(pixels.read_bytes(path))) as mask:
        if mask.mode not in ("P", "L", *(("1",) if binary else ())):
            raise InputError(
                f"{path}: a picture of mode {mask.mode}, expected a palette or gray PNG of class numbers"
            )
        colors = np.array(mask.getpalette("RGB")).reshape(-1, 3) if mask.mode == "P" else None
        return np.asarray(mask).astype(np.uint8), colors


@contextlib.contextmanager
def _named(path):
    """Refuses a file, by its name, that what stands below cannot read."""
    try:
        yield
    except InputError:  # InputError is a ValueError, too
        raise
    except pixels.UNREADABLE as error:
        raise InputError(pixels.refused(path, error).reason) from error


def _check_colors(example, labels, colors):
    """Refuses a palette that gives one of VOC's numbers another color, because such numbers mean other classes.

    A palette of grays equal to the numbers is accepted, like a gray picture.
    """
    expected = voc_palette()
    for label in np.setdiff1d(labels, [IGNORE]).tolist():
        found = colors[label].tolist() if label < len(colors) else "none"
        if found not in (expected[label].tolist(), [label] * 3):
            raise InputError(
                f"{example.mask}: the palette's color of {label} is {found}, expected VOC's of {CLASSES[label]}, "
                f"{expected[label].tolist()} ({OWN})"
            )


def _upright(example, labels, stored, shown, orientation):
    """Turns a mask that was drawn on the image as it is stored."""
    if orientation == pixels.UPRIGHT or (stored != shown and labels.shape == shown):
        return labels
    picture = Image.fromarray(labels)
    picture.getexif()[pixels.ORIENTATION] = orientation
    turned = np.asarray(ImageOps.exif_transpose(picture))
    if stored == shown and (turned != labels).any():
        raise InputError(
            f"{example.image}: has the EXIF orientation {orientation}, and {example.mask} fits it as it is stored and "
            "as it is shown, expected an image that is stored upright"
        )
    return turned


def _size(shape):
    return f"{shape[1]}x{shape[0]}"
