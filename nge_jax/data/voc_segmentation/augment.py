"""DeepLab's augmentation of an image and its mask, as TensorFlow functions: scale, pad, crop, flip.

Scales are 0.5, 0.75, .. 2 (DeepLab's public code; the DeepLabv3 paper gives the range). Images are
resized bilinearly, masks to the nearest pixel. A scaled image smaller than the crop is padded with the
data set's mean. Its mask is padded with 255, the label that no loss and no metric counts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nge_jax.data.voc_segmentation.devkit import IGNORE
from nge_jax.devices import host_tf

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


def augment(
    image: Any, mask: Any, key: Any, *, crop: int, mean: Sequence[float]
) -> tuple[Any, Any]:
    """Scales, pads, crops and flips: uint8 [H, W, 3] and [H, W, 1] -> uint8 [crop, crop, 3] and [crop, crop].

    Args:
      image: an image.
      mask: its class numbers.
      key: int64 [2], the seed of its own for this image.
      crop: pixels of a side.
      mean: color of the padding, in 0..1.
    """
    tf = host_tf.tensorflow()
    scale_key, crop_key, flip_key = tf.unstack(tf.random.split(key, 3))
    which = tf.random.stateless_uniform((), scale_key, maxval=len(SCALES), dtype=tf.int32)
    image, mask = scale(image, mask, tf.gather(SCALES, which))
    image, mask = pad(image, mask, crop, mean)
    both = tf.concat([image, mask], axis=-1)
    both = tf.image.stateless_random_crop(both, (crop, crop, 4), crop_key)
    both = tf.image.stateless_random_flip_left_right(both, flip_key)
    return both[..., :3], both[..., 3]


def scale(image: Any, mask: Any, factor: Any) -> tuple[Any, Any]:
    """Makes both `factor` times as large, rounded to whole pixels."""
    tf = host_tf.tensorflow()
    size = tf.cast(tf.round(factor * tf.cast(tf.shape(image)[:2], tf.float32)), tf.int32)
    image = tf.cast(tf.round(tf.image.resize(image, size, "bilinear")), tf.uint8)
    return image, tf.image.resize(mask, size, "nearest")


def pad(image: Any, mask: Any, size: int, mean: Sequence[float]) -> tuple[Any, Any]:
    """Makes both at least `size` pixels high and wide, filled up at the bottom and on the right."""
    tf = host_tf.tensorflow()
    missing = tf.maximum(0, size - tf.shape(image)[:2])
    paddings = tf.pad(missing[:, None], [[0, 1], [1, 0]])  # [[0, rows], [0, columns], [0, 0]]
    mask = tf.pad(mask, paddings, constant_values=IGNORE)
    inside = tf.pad(tf.ones_like(image[..., :1], tf.bool), paddings)
    return tf.where(inside, tf.pad(image, paddings), padding_color(mean)), mask


def padding_color(mean: Sequence[float]) -> np.ndarray:
    """Rounds a mean of pixels in 0..1 to a color, uint8 [3]."""
    return np.round(255 * np.array(mean)).astype(np.uint8)
