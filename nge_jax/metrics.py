"""Metrics of a step as sums and counts: a report divides once, and its means over all examples are exact."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Sums(NamedTuple):
    """Holds sums over examples, float32 scalars.

    Attributes:
        loss: sum of the losses, in nats.
        correct: number of examples whose largest logit is the label's.
        count: number of examples.
    """

    loss: jax.Array
    correct: jax.Array
    count: jax.Array  # pyright: ignore[reportIncompatibleMethodOverride] (hides a tuple method that nobody calls)


def no_sums() -> Sums:
    """Makes the sums of no examples."""
    return Sums(*(jnp.float32(0) for _ in Sums._fields))


def count_correct(
    losses: jax.Array, logits: jax.Array, labels: jax.Array, share: jax.Array | None = None
) -> Sums:
    """Computes the sums of a batch.

    Args:
        losses: float32 [B].
        logits: [B, classes].
        labels: int32 [B].
        share: float32 [B], the part with which each example counts; None: it counts whole.
    """
    is_right = logits.argmax(-1) == labels
    if share is not None:
        return Sums((losses * share).sum(), (is_right * share).sum(), share.sum())
    correct = is_right.sum(dtype=jnp.float32)
    return Sums(losses.sum(), correct, jnp.float32(len(labels)))
