"""VOC's colours, and segmentations as palette PNGs."""

from pathlib import Path

import numpy as np
from PIL import Image


def voc_palette() -> np.ndarray:
    """uint8 [256, 3], the colours of VOC's development kit: 0 is black, 255 a light beige.

    The bits of a class number go to red, green and blue in turn, the lowest ones to the highest bits.
    """
    numbers = np.arange(256)
    palette = np.zeros([256, 3], np.int64)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (numbers >> (3 * bit + channel) & 1) << (7 - bit)
    return palette.astype(np.uint8)


def write_png(path: str | Path, labels: np.ndarray) -> None:
    """Writes class numbers, uint8 [H, W], as VOC's own masks are: a PNG with VOC's palette.

    Raises:
      FileExistsError: there is such a file.
    """
    picture = Image.fromarray(labels)  # of mode L
    picture.putpalette(voc_palette().tobytes())  # and of mode P from here on
    with Path(path).open("xb") as file:
        picture.save(file, "png")
