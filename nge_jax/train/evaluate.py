"""Tests a network: every example counted once, whatever the batches, devices and processes."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax import lax
from jax import numpy as jnp

from nge_jax.data import augment
from nge_jax.data.source import MaskedBatch
from nge_jax.devices.parallel import AXIS, divided, map_over_devices
from nge_jax.networks.network import Network

TOP = 5  # classes among which the right one counts as found


class Evaluation(NamedTuple):
    """Means over all examples of a split, each counted once.

    Attributes:
      loss: cross-entropy, in nats.
      accuracy: part of the examples whose likeliest class is the right one.
      top5_accuracy: part whose right class is among the five likeliest; None where there are not more than five.
      balanced_accuracy: mean of the classes' own accuracies, over the classes that the split has.
      examples: their number.
    """

    loss: float
    accuracy: float
    top5_accuracy: float | None
    balanced_accuracy: float
    examples: int


class Scores(NamedTuple):
    """Sums over examples.

    Attributes:
      loss: sum of the losses.
      top5: number of examples whose class is among the five likeliest.
      confusion: [label, prediction], numbers of examples.
    """

    loss: Any
    top5: Any
    confusion: Any


def make_score(model: Network, mean: tuple[float, ...], std: tuple[float, ...]) -> Callable:
    """Makes `(params, batch_stats, images, labels, mask) -> Scores`, on all devices.

    Each device gets its row of images [local devices, B, H, W, C], labels and mask; the sums are those of all devices
    of all processes.
    """

    def score(params, batch_stats, images, labels, mask):
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

    return map_over_devices(score, (None, None, 0, 0, 0))


def evaluate(
    score: Callable, state: Any, batches: Iterable[MaskedBatch], examples: int
) -> Evaluation:
    """Scores the state on every batch and returns the means; see `score_all`."""
    return means(score_all(score, state, batches, examples))


def score_all(score: Callable, state: Any, batches: Iterable[MaskedBatch], examples: int) -> Scores:
    """Scores the state's `params` and `batch_stats` on this process's part of every batch.

    Args:
      score: of `make_score`.
      state: of the training.
      batches: of this process, which divide among its devices; equally many in each process.
      examples: how many there must be in all.
    """
    devices = jax.local_device_count()
    total, pending = Scores(0.0, 0, 0), None
    for batch in batches:
        parts = tuple(a.reshape(devices, -1, *a.shape[1:]) for a in batch)
        # The devices score these while the host fetches the sums before and reads the next.
        sums = score(state.params, state.batch_stats, *divided(parts))
        total, pending = _added(total, pending), sums
    total = _added(total, pending)
    count = int(np.sum(total.confusion))
    if count != examples:
        raise AssertionError(f"evaluated {count} examples of {examples}")
    return total


def means(scores: Scores) -> Evaluation:
    """Divides the sums."""
    count, right = int(scores.confusion.sum()), scores.confusion.diagonal()
    of_class = [recall for recall in recalls(scores.confusion) if recall is not None]
    return Evaluation(
        loss=float(scores.loss / count),
        accuracy=float(right.sum() / count),
        top5_accuracy=float(scores.top5 / count) if len(right) > TOP else None,
        balanced_accuracy=float(np.mean(of_class)),
        examples=count,
    )


def recalls(confusion: np.ndarray) -> list[float | None]:
    """Computes each class's own accuracy; None where the split has no example of it."""
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
