"""Mean intersection over union, from one confusion matrix summed over all images of a set."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nge_jax.data.voc_segmentation.devkit import IGNORE


class MeanIoU(NamedTuple):
    """per_class: TP / (TP + FP + FN) of each class, None for those without a labelled pixel in the set.

    mean: over the classes that the set has (VOC's own sets have all 21), NaN when it has none.
    accuracy: part of the labelled pixels that are right; pixels: their number.
    """

    mean: float
    per_class: tuple[float | None, ...]
    accuracy: float
    pixels: int


def confusion_matrix(predictions: jax.Array, masks: jax.Array, classes: int) -> jax.Array:
    """int32 [classes, classes]: how many pixels of the label (row) were predicted to be what (column).

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
    """From a confusion matrix (label, prediction), integers [classes, classes], summed in 64 bits."""
    confusion = np.asarray(confusion, np.int64)
    right, labelled = confusion.diagonal(), confusion.sum(1)
    union = labelled + confusion.sum(0) - right
    per_class = [float(right[c] / union[c]) if labelled[c] else None for c in range(len(confusion))]
    present = [iou for iou in per_class if iou is not None]
    pixels = int(confusion.sum())
    return MeanIoU(
        mean=sum(present) / len(present) if present else math.nan,
        per_class=tuple(per_class),
        accuracy=int(right.sum()) / pixels if pixels else math.nan,
        pixels=pixels,
    )
