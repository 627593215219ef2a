"""Mean intersection over union, from one confusion matrix summed over all images of a set."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nge_jax.data.voc_segmentation.devkit import IGNORE


class MeanIoU(NamedTuple):
    """The metrics of the predicted classes of a set's pixels.

    Attributes:
      mean: the mean of `per_class` over the classes that the set has (VOC's sets have all 21); NaN if it has none.
      per_class: TP / (TP + FP + FN) of each class; None for a class without a labeled pixel in the set.
      accuracy: the fraction of labeled pixels that are right.
      pixels: the number of labeled pixels.
    """

    mean: float
    per_class: tuple[float | None, ...]
    accuracy: float
    pixels: int


def confusion_matrix(predictions: jax.Array, masks: jax.Array, classes: int) -> jax.Array:
    """Counts pixels by label (row) and predicted class (column): int32 [classes, classes], up to 2^31 pixels.

    Args:
      predictions: class numbers, integers [...].
      masks: labels of the same shape, class numbers or `IGNORE`; pixels with `IGNORE` do not count.
      classes: the number of classes.
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
