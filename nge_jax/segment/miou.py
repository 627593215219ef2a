"""Mean intersection over union, from one confusion matrix summed over all images of a set."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nge_jax.data.voc_segmentation.devkit import IGNORE


class MeanIoU(NamedTuple):
    """How well the classes of a set's pixels were predicted.

    Attributes:
      mean: of `per_class`, over the classes that the set has (VOC's own sets have all 21); NaN when it has none.
      per_class: TP / (TP + FP + FN) of each class, None for those without a labeled pixel in the set.
      accuracy: part of the labeled pixels that are right.
      pixels: number of labeled pixels.
    """

    mean: float
    per_class: tuple[float | None, ...]
    accuracy: float
    pixels: int


def confusion_matrix(predictions: jax.Array, masks: jax.Array, classes: int) -> jax.Array:
    """Counts how many pixels of each label (row) were predicted to be what (column): int32 [classes, classes].

    Args:
      predictions: class numbers, integers [...].
      masks: labels of the same shape, class numbers or `IGNORE`, whose pixels count nowhere.
      classes: their number; at most 2^31 pixels at once.
    """
    place = masks.astype(jnp.int32) * classes + predictions.astype(jnp.int32)
    place = jnp.where(masks == IGNORE, classes * classes, place)
    counts = jnp.bincount(place.ravel(), length=classes * classes + 1)
    return counts[:-1].reshape(classes, classes).astype(jnp.int32)


def mean_iou(confusion: np.ndarray) -> MeanIoU:
    """Computes the mean IoU of a confusion matrix (label, prediction), integers [classes, classes], in 64 bits."""
    confusion = np.asarray(confusion, np.int64)
    right, labeled = confusion.diagonal(), confusion.sum(1)
    union = labeled + confusion.sum(0) - right
    per_class = [float(right[c] / union[c]) if labeled[c] else None for c in range(len(confusion))]
    present = [iou for iou in per_class if iou is not None]
    pixels = int(confusion.sum())
    return MeanIoU(
        mean=sum(present) / len(present) if present else math.nan,
        per_class=tuple(per_class),
        accuracy=int(right.sum()) / pixels if pixels else math.nan,
        pixels=pixels,
    )
