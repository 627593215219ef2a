"""A photograph that is computed, and its file."""

import io

import numpy as np
from PIL import Image


def photograph(height, width, seed=0):
    """Smooth colors with some texture, uint8 [height, width, 3]."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / a + seed) * np.cos(y / b) for a, b in ((17, 23), (29, 13), (41, 37))]
    noise = np.random.RandomState(seed).normal(0, 4, (height, width, 3))
    return np.clip(128 + 90 * np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)


def encode(pixels, form="JPEG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **({"quality": 95} if form == "JPEG" else {}))
    return file.getvalue()
