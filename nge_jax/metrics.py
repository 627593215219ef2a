"""Metrics leave a step as sums and counts; whoever reports them divides once."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Sums(NamedTuple):
    """Sums over examples: loss (nats), correct predictions, count. All float32 scalars."""

    loss: jax.Array
    correct: jax.Array
    count: jax.Array


def no_sums() -> Sums:
    return Sums(*(jnp.float32(0) for _ in Sums._fields))


def count_correct(losses: jax.Array, logits: jax.Array, labels: jax.Array) -> Sums:
    """Sums of a batch from its losses [B], logits [B, classes] and labels [B]."""
    correct = (logits.argmax(-1) == labels).sum(dtype=jnp.float32)
    return Sums(losses.sum(), correct, jnp.float32(len(labels)))
