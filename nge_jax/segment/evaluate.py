"""Tests a segmentation network on whole images. Every image counts once in one confusion matrix."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import multihost_utils

from nge_jax.data import augment
from nge_jax.data.spec import DatasetSpec
from nge_jax.data.voc_segmentation.batches import TestBatch
from nge_jax.devices.parallel import AXIS, divided, map_over_devices
from nge_jax.networks.network import Network
from nge_jax.segment.miou import MeanIoU, confusion_matrix, mean_iou
from nge_jax.segment.pictures import SegmentedImage


class SegmentationEvaluation(NamedTuple):
    """The result of a test.

    Attributes:
      iou: the IoU over all images of the split, each counted once.
      examples: the number of images.
      shown: the first images of this process, without padding.
    """

    iou: MeanIoU
    examples: int
    shown: list[SegmentedImage]


def make_score(model: Network, spec: DatasetSpec) -> Callable:
    """Makes `(params, batch_stats, images, masks) -> (confusion, predictions)`, on all devices.

    Each device gets one row of images [local devices, B, H, W, 3] and masks [local devices, B, H, W]. The confusion
    matrix, int32, is the sum over all devices of all processes. Predictions are uint8 [local devices, B, H, W].
    """

    def score(params, batch_stats, images, masks):
        x = augment.normalize(images, spec.mean, spec.std)
        logits, _ = model.apply({"params": params, "batch_stats": batch_stats}, x, train=False)
        predictions = logits.argmax(-1).astype(jnp.uint8)
        confusion = confusion_matrix(predictions, masks, len(spec.labels))
        return lax.psum(confusion, AXIS), predictions

    return map_over_devices(score, (None, None, 0, 0), out_axes=(None, 0))


def evaluate(
    score: Callable, state: Any, batches: Iterable[TestBatch], examples: int, shown: int
) -> SegmentationEvaluation:
    """Scores the state's `params` and `batch_stats` on this process's part of every batch.

    Args:
      score: the result of `make_score`.
      state: a state of the training.
      batches: this process's batches; every process has the same number.
      examples: the number of images that all batches must hold.
      shown: how many images to keep for pictures.
    """
    devices = jax.local_device_count()
    total, pending, names, kept = 0, None, [], []
    for batch in batches:
        parts = tuple(a.reshape(devices, -1, *a.shape[1:]) for a in (batch.images, batch.masks))
        # The devices score this batch while the host fetches the counts of the one before and reads the next one.
        confusion, predictions = score(state.params, state.batch_stats, *divided(parts))
        total, pending = total + _fetched(pending), confusion
        names += [name for name in batch.ids if name]
        if len(kept) < shown:
            kept += _examples(batch, predictions)
    total += _fetched(pending)
    count = multihost_utils.process_allgather(np.array(len(names))).sum()
    if count != examples or len(set(names)) < len(names):
        raise AssertionError(f"evaluated {count} images, {len(set(names))} here, of {examples}")
    return SegmentationEvaluation(mean_iou(np.asarray(total)), examples, kept[:shown])


def _fetched(confusion):
    return 0 if confusion is None else np.array(jax.device_get(confusion), np.int64)


def _examples(batch, predictions):
    """Returns the images of a batch without padding, and leaves out rows that only fill the batch."""
    shards = sorted(predictions.addressable_shards, key=lambda shard: shard.index[0].start or 0)
    rows = np.concatenate([np.asarray(shard.data) for shard in shards])
    rows = rows.reshape(batch.masks.shape)
    return [
        SegmentedImage(
            name, *(a[index, :height, :width] for a in (batch.images, batch.masks, rows))
        )
        for index, (name, (height, width)) in enumerate(zip(batch.ids, batch.sizes, strict=True))
        if name
    ]
