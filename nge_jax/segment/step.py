"""The update of a segmentation network's weights, and its loss over labeled pixels."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from nge_jax.data import augment
from nge_jax.data.spec import DatasetSpec
from nge_jax.data.voc_segmentation.devkit import IGNORE
from nge_jax.devices.parallel import AXIS, my_part
from nge_jax.kernels.selection import cross_entropy
from nge_jax.metrics import Sums
from nge_jax.networks.network import Network
from nge_jax.train import step as train_step


def segmentation_cross_entropy(logits: jax.Array, masks: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the sum of the cross-entropy over labeled pixels, in nats, and their number, both float32 scalars.

    The loss is the sum divided by the number, so that all pixels of a batch count alike. Devices and micro-batches that
    share a batch therefore divide by the whole batch's number. They divide by at least 1, because a batch may have no
    labeled pixel.

    Args:
      logits: [N, H, W, classes].
      masks: integers [N, H, W], class numbers or `IGNORE`.
    """
    labeled = masks != IGNORE
    labels = jnp.where(labeled, masks, 0).astype(jnp.int32)
    losses = cross_entropy(logits, labels)
    return jnp.where(labeled, losses, 0.0).sum(), labeled.sum(dtype=jnp.float32)


def make_segment_step(
    model: Network,
    optimizer: optax.GradientTransformation,
    spec: DatasetSpec,
    *,
    accumulate: int,
    steps_per_epoch: jax.Array | int,
    skip_nonfinite: bool = False,
    averaging: Any | None = None,
) -> Callable:
    """Makes `(state, images, masks, key) -> state`: one batch, on each device of the axis "batch".

    The step takes images [B, H, W, 3] and masks [B, H, W], both uint8 and this device's part of the batch. It also
    takes the run's key. The loss is the mean over the labeled pixels of the whole batch, whatever the number of devices
    and micro-batches. The state's sums count pixels.
    """

    def loss_fn(params, batch_stats, images, masks, head_keys):
        (logits, _), updated = model.apply(
            {"params": params, "batch_stats": batch_stats},
            augment.normalize(images, spec.mean, spec.std),
            train=True,
            head_keys=head_keys,
            mutable=["batch_stats"],
        )
        loss, labeled = segmentation_cross_entropy(logits, masks)
        right = (logits.argmax(-1) == masks).sum(dtype=jnp.float32)  # no class is IGNORE
        return loss, (updated["batch_stats"], Sums(loss, right, labeled))

    def step(state, images, masks, key):
        keys = jax.random.split(
            jax.random.fold_in(key, state.step), lax.axis_size(AXIS) * len(images)
        )
        labeled = lax.psum((masks != IGNORE).sum(dtype=jnp.float32), AXIS)
        return train_step.update(
            state,
            loss_fn,
            (images, masks, my_part(keys, len(images))),
            optimizer,
            accumulate=accumulate,
            divisor=jnp.maximum(labeled, 1),
            steps_per_epoch=steps_per_epoch,
            skip_nonfinite=skip_nonfinite,
            averaging=averaging,
        )

    return step
