"""DeepLab's augmentation of an image and its mask: scale, pad, crop, flip.

Scales are 0.5, 0.75, .. 2 (DeepLab's public code; the DeepLabv3 paper gives the range). Images are
resized bilinearly, masks to the nearest pixel. A scaled image smaller than the crop is padded with the
data set's mean. Its mask is padded with 255, the label that no loss and no metric counts.
"""

from collections.abc import Sequence

import numpy as np

from nge_jax.data.host import draws, resample
from nge_jax.data.voc_segmentation.devkit import IGNORE

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
LARGEST = 2**31 - 1  # TensorFlow's crop draws whole numbers below it


def augment(
    image: np.ndarray, mask: np.ndarray, seed: np.ndarray, *, crop: int, mean: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Scales, pads, crops and flips: uint8 [H, W, 3] and [H, W, 1] -> uint8 [crop, crop, 3] and [crop, crop].

    Args:
      image: an image.
      mask: its class numbers.
      seed: int64 [2], of this image alone.
      crop: pixels of a side.
      mean: color of the padding, in 0..1.
    """
    scale_seed, crop_seed, flip_seed = draws.split(seed[None], 3)
    factor = SCALES[draws.words(scale_seed, 1)[0, 0] % len(SCALES)]
    height, width = (round(side * factor) for side in image.shape[:2])
    places = (draws.words(crop_seed, 2)[0] % LARGEST).tolist()
    rows, columns = (
        _span(place, side, crop) for place, side in zip(places, (height, width), strict=True)
    )
    image = resample.bilinear(image, (height, width), (rows, columns))
    mask = resample.nearest(mask, (height, width))[rows, columns]
    image, mask = pad(image, mask, crop, mean)
    if draws.uniform(flip_seed, 1)[0, 0] < 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
    return image, mask[..., 0]


def _span(place, side, crop):
    """Chooses by a whole number where on a side, padded to `crop` if it is shorter, the crop lies."""
    start = place % (max(side, crop) - crop + 1)
    return slice(start, start + crop)


def pad(
    image: np.ndarray, mask: np.ndarray, size: int, mean: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Makes both at least `size` pixels high and wide, filled up at the bottom and on the right."""
    height, width = (max(side, size) for side in image.shape[:2])
    padded = np.tile(padding_color(mean), (height, width, 1))
    labels = np.full((height, width, 1), IGNORE, np.uint8)
    inside = tuple(map(slice, image.shape[:2]))
    padded[inside], labels[inside] = image, mask
    return padded, labels


def padding_color(mean: Sequence[float]) -> np.ndarray:
    """Rounds a mean of pixels in 0..1 to a color, uint8 [3]."""
    return np.round(255 * np.array(mean)).astype(np.uint8)
