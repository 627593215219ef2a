"""Losses that optax lacks."""

import jax
import jax.numpy as jnp
import optax

from nge_jax.data.voc_segmentation.devkit import IGNORE


def segmentation_cross_entropy(logits: jax.Array, masks: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy summed over labelled pixels, in nats, and their number, both float32 scalars.

    The loss is the sum over the number: of all pixels of a batch alike, so that whoever divides a
    batch among devices or steps divides by the whole batch's number (at least 1: a batch without any
    labelled pixel has a sum of 0).

    Args:
      logits: [N, H, W, classes].
      masks: integers [N, H, W], class numbers or `IGNORE`.
    """
    labelled = masks != IGNORE
    labels = jnp.where(labelled, masks, 0).astype(jnp.int32)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.where(labelled, losses, 0.0).sum(), labelled.sum(dtype=jnp.float32)
