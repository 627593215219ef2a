"""Tests a network. Every example counts once, whatever the batches, devices and processes."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax import lax
from jax import numpy as jnp
from scipy.special import logsumexp

from nge_jax.data import augment
from nge_jax.data.source import MaskedBatch
from nge_jax.devices.parallel import AXIS, divided, map_over_devices
from nge_jax.networks.network import Network

# The top-5 accuracy counts an example if the right class is among this many most probable classes.
TOP = 5


class Evaluation(NamedTuple):
    """Means over all examples of a split, each counted once.

    Attributes:
      loss: the cross-entropy, in nats.
      accuracy: the fraction of examples whose most probable class is right.
      top5_accuracy: the fraction whose right class is among the five most probable; None with five classes or fewer.
      balanced_accuracy: the mean accuracy of the classes that the split has.
      examples: the number of examples.
    """

    loss: float
    accuracy: float
    top5_accuracy: float | None
    balanced_accuracy: float
    examples: int


class Scores(NamedTuple):
    """Sums over examples.

    Attributes:
      loss: the sum of the losses.
      top5: the number of examples whose class is among the five most probable.
      confusion: the number of examples [label, prediction].
    """

    loss: Any
    top5: Any
    confusion: Any


def make_score(model: Network, mean: tuple[float, ...], std: tuple[float, ...]) -> Callable:
    """Makes `(params, batch_stats, images, labels, mask) -> Scores`, on all devices.

    Each device gets one row of images [local devices, B, H, W, C], labels and mask. The sums are over all devices of
    all processes.
    """
    score = functools.partial(score_batch, model, mean, std)
    return map_over_devices(score, (None, None, 0, 0, 0))


def score_batch(
    model: Network,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    params: Any,
    batch_stats: Any,
    images: jax.Array,
    labels: jax.Array,
    mask: jax.Array,
) -> Scores:
    """Scores this device's images [B, H, W, C], within a program on all devices; the sums are over all of them."""
    x = augment.normalize(images, mean, std)
    logits, _ = model.apply({"params": params, "batch_stats": batch_stats}, x, train=False)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    classes = logits.shape[-1]
    best = lax.top_k(logits, min(TOP, classes))[1]
    place = jnp.where(mask, labels * classes + best[:, 0], classes * classes)
    confusion = jnp.bincount(place, length=classes * classes + 1)[:-1]
    sums = Scores(
        jnp.where(mask, losses, 0.0).sum(),
        ((best == labels[:, None]).any(axis=-1) & mask).sum(),
        confusion.reshape(classes, classes),
    )
    return lax.psum(sums, AXIS)


def answer_batch(
    model: Network,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    params: Any,
    batch_stats: Any,
    images: jax.Array,
) -> jax.Array:
    """Returns the most probable class of each of this device's images [B, H, W, C], int32 [B]."""
    x = augment.normalize(images, mean, std)
    logits, _ = model.apply({"params": params, "batch_stats": batch_stats}, x, train=False)
    return logits.argmax(-1).astype(jnp.int32)


def evaluate(
    score: Callable, state: Any, batches: Iterable[MaskedBatch], examples: int
) -> Evaluation:
    """Scores the state on every batch and returns the means; see `score_all`."""
    return means(score_all(score, state, batches, examples))


def score_all(score: Callable, state: Any, batches: Iterable[MaskedBatch], examples: int) -> Scores:
    """Scores the state's `params` and `batch_stats` on this process's part of every batch.

    Args:
      score: the result of `make_score`.
      state: a state of the training.
      batches: this process's batches, which its devices divide; every process has the same number.
      examples: the number of examples that all batches must hold.
    """
    total, pending = Scores(0.0, 0, 0), None
    for batch in batches:
        # The devices score this batch while the host fetches the sums of the one before and reads the next one.
        sums = score(state.params, state.batch_stats, *on_devices(batch))
        total, pending = _added(total, pending), sums
    total = _added(total, pending)
    count = int(np.sum(total.confusion))
    if count != examples:
        raise AssertionError(f"evaluated {count} examples of {examples}")
    return total


def on_devices(batch: MaskedBatch) -> Any:
    """Divides a batch of this process among its devices."""
    devices = jax.local_device_count()
    return divided(tuple(a.reshape(devices, -1, *a.shape[1:]) for a in batch))


def score_logits(logits: np.ndarray, labels: np.ndarray) -> Scores:
    """Scores logits [N, classes] that another runtime has computed, as `score_batch` scores a batch."""
    classes = logits.shape[-1]
    best = np.argsort(-logits, axis=-1, kind="stable")[:, :TOP]
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (labels, best[:, 0]), 1)
    logits = logits.astype(np.float64)
    losses = logsumexp(logits, axis=-1) - logits[np.arange(len(labels)), labels]
    return Scores(losses.sum(), int((best == labels[:, None]).any(-1).sum()), confusion)


def means(scores: Scores) -> Evaluation:
    """Computes the means of the sums."""
    count, right = int(scores.confusion.sum()), scores.confusion.diagonal()
    present = [recall for recall in recalls(scores.confusion) if recall is not None]
    return Evaluation(
        loss=float(scores.loss / count),
        accuracy=float(right.sum() / count),
        top5_accuracy=float(scores.top5 / count) if len(right) > TOP else None,
        balanced_accuracy=float(np.mean(present)),
        examples=count,
    )


def recalls(confusion: np.ndarray) -> list[float | None]:
    """Computes each class's accuracy; None for a class without examples in the split."""
    counts = confusion.sum(1)
    return [
        float(right / count) if count else None
        for right, count in zip(confusion.diagonal(), counts, strict=True)
    ]


def _added(total, sums):
    if sums is None:
        return total
    fetched = jax.device_get(sums)
    return Scores(
        total.loss + np.float64(fetched.loss),
        total.top5 + int(fetched.top5),
        total.confusion + np.asarray(fetched.confusion, np.int64),
    )
