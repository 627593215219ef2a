"""VOC's colors of class numbers."""

import numpy as np


def voc_palette() -> np.ndarray:
    """Makes the colors of VOC's development kit, uint8 [256, 3]: 0 is black, 255 a light beige.

    The bits of a class number go to red, green and blue in turn, the lowest ones to the highest bits.
    """
    numbers = np.arange(256)
    palette = np.zeros([256, 3], np.int64)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (numbers >> (3 * bit + channel) & 1) << (7 - bit)
    return palette.astype(np.uint8)
