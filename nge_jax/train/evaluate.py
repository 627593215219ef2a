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
from nge_jax.networks.network import Network
from nge_jax.runtime.parallel import AXIS, divided


class Evaluation(NamedTuple):
    """Means over all examples of a split, each counted once."""

    loss: float
    accuracy: float
    top5_accuracy: float
    examples: int


def make_score(model: Network, mean: tuple[float, ...], std: tuple[float, ...]) -> Callable:
    """Makes `(params, batch_stats, images, labels, mask) -> sums`, on all devices.

    Each device gets its row of images [local devices, B, H, W, C], labels and mask; the sums (loss, correct,
    correct among five, count) are those of all devices of all processes.
    """

    def score(params, batch_stats, images, labels, mask):
        x = augment.normalize(images, mean, std)
        logits, _ = model.apply({"params": params, "batch_stats": batch_stats}, x, train=False)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        best = lax.top_k(logits, min(5, logits.shape[-1]))[1] == labels[:, None]
        sums = (
            jnp.where(mask, losses, 0.0).sum(),
            (best[:, 0] & mask).sum(),
            (best.any(axis=-1) & mask).sum(),
            mask.sum(),
        )
        return lax.psum(sums, AXIS)

    return jax.pmap(score, AXIS, in_axes=(None, None, 0, 0, 0), out_axes=None)


def evaluate(
    score: Callable, state: Any, batches: Iterable[MaskedBatch], examples: int
) -> Evaluation:
    """Scores the state's `params` and `batch_stats` on this process's part of every batch.

    Args:
      score: of `make_score`.
      state: of the training.
      batches: of this process, which divide among its devices; equally many in each process.
      examples: how many there must be in all.
    """
    devices = jax.local_device_count()
    total, pending = np.zeros(4), None
    for batch in batches:
        parts = tuple(a.reshape(devices, -1, *a.shape[1:]) for a in batch)
        # The devices score these while the host fetches the sums before and reads the next.
        sums = score(state.params, state.batch_stats, *divided(parts))
        total, pending = total + _fetched(pending), sums
    loss, correct, top5, count = total + _fetched(pending)
    if count != examples:
        raise AssertionError(f"evaluated {count:.0f} examples of {examples}")
    return Evaluation(loss / count, correct / count, top5 / count, examples)


def _fetched(sums):
    return 0 if sums is None else np.array(jax.device_get(sums), np.float64)
