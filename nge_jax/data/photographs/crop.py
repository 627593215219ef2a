"""Crops of image files, decoded by PIL. `decode` crops the records of a TFDS set by TensorFlow.

Both choose the same windows and resize alike. At the edges of some JPEGs' crops they differ by a few levels. There
TensorFlow interpolates the chroma from the crop alone, and PIL from the whole image.
"""

import io
import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from nge_jax.data.host import resample
from nge_jax.data.photographs import pixels

# torchvision's RandomResizedCrop: the crop's area as a part of the image's, and its width to height.
AREA, ASPECT, ATTEMPTS = (0.08, 1.0), (3 / 4, 4 / 3), 10
CENTER = 224 / 256  # the test resizes the shorter side to 256 and cuts 224 from the middle
SCALES = (1, 2, 4, 8)  # libjpeg shrinks by these while it decodes

Window = tuple[int, int, int, int]  # y, x, height, width


def random_crop(data: bytes, size: int, draws: np.ndarray) -> np.ndarray:
    """Decodes an image, cropped as `random_window` does: uint8 [size, size, 3].

    Args:
      data: the file's content.
      size: pixels of a side of the result.
      draws: float32 [4, ATTEMPTS] in [0, 1).

    Raises:
      one of pixels.UNREADABLE: it is no image, or a damaged one.
    """
    return _crop(data, size, lambda height, width: random_window(height, width, draws))


def center_crop(data: bytes, size: int) -> np.ndarray:
    """Decodes the middle of an image by the test's proportions: uint8 [size, size, 3]; errors as of `random_crop`."""
    return _crop(data, size, center_window)


def random_window(height: int, width: int, draws: np.ndarray) -> Window:
    """Chooses the window of torchvision's RandomResizedCrop; `draws`: area, aspect, y and x of each attempt."""
    area = np.float32(height) * np.float32(width) * (AREA[0] + (AREA[1] - AREA[0]) * draws[0])
    low, high = map(math.log, ASPECT)
    aspect = np.exp(low + (high - low) * draws[1])
    heights, widths = np.rint(np.sqrt(area / aspect)), np.rint(np.sqrt(area * aspect))
    fits = (heights <= height) & (widths <= width) & (heights > 0) & (widths > 0)
    first = fits.argmax()  # the first attempt that fits
    if fits[first]:
        h, w = int(heights[first]), int(widths[first])
        y, x = (
            int(draw * np.float32(room))
            for draw, room in zip(draws[2:, first], (height - h + 1, width - w + 1), strict=True)
        )
        return y, x, h, w
    # None fits in a very long image: as much of its middle as the aspect allows.
    h = min(height, round(width / ASPECT[0]))
    w = min(width, round(height * ASPECT[1]))
    return (height - h) // 2, (width - w) // 2, h, w


def center_window(height: int, width: int) -> Window:
    """Cuts the test's window: a square in the middle, 7/8 of the shorter side."""
    side = round(min(height, width) * CENTER)
    return (height - side) // 2, (width - side) // 2, side, side


def _crop(data: bytes, size: int, window: Callable[[int, int], Window]) -> np.ndarray:
    if not data.startswith(pixels.JPEG):
        shown = pixels.decode(data)
        y, x, height, width = window(*shown.shape[:2])
        return resample.averaged(shown[y : y + height, x : x + width], (size, size))
    with Image.open(io.BytesIO(data)) as image:
        orientation = pixels.orientation(image)
        stored = _stored_window(image.height, image.width, orientation, window)
        ratio = max(r for r in SCALES if r == 1 or min(stored[2:]) // size >= r)
        image.draft(None, (image.width // ratio, image.height // ratio))
        y, x, height, width = (number // ratio for number in stored)
        part = np.asarray(image.crop((x, y, x + width, y + height)).convert("RGB"))
    return pixels.upright(resample.bilinear(part, (size, size)), orientation)


def _stored_window(height, width, orientation, window):
    """Chooses a window of the image as it is shown, and finds it in the image as it is stored."""
    height, width = pixels.shown_size(height, width, orientation)
    y, x, h, w = window(height, width)
    y = height - y - h if orientation in pixels.UPSIDE_DOWN else y
    x = width - x - w if orientation in pixels.BACKWARDS else x
    return (x, y, w, h) if orientation in pixels.TURNED else (y, x, h, w)
