"""Mixup (Zhang et al., ICLR 2018) and CutMix (Yun et al., ICCV 2019): images of two, with both labels.

An image's partner is the one that is as far from the end of the whole batch as the image is from its beginning. A batch
is in random order, so that partners are random. The partner may lie on another device, and does not depend on the
number of devices. Each image has another share, as in the papers; their codes draw one share for a whole batch.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax.devices.parallel import AXIS, from_the_end, my_part


class MixDraws(NamedTuple):
    """Random numbers of a batch of B images; any slice of the arrays belongs to the same slice of the images.

    Attributes:
      share: float32 [B], the image's part, in 0..1. The partner has the rest.
      is_box: bool [B], whether the partner fills a box (CutMix), or shines through (mixup).
      center: int32 [B, 2], the middle of the box (y, x).
    """

    share: jax.Array
    is_box: jax.Array
    center: jax.Array


class Mixed(NamedTuple):
    """Images of two, with their labels; on each device its part of the batch.

    Attributes:
      images: float32 [B, H, W, C].
      labels, partners: int32 [B], the classes.
      share: float32 [B], the part of an image that shows `labels`. The rest shows `partners`.
    """

    images: jax.Array
    labels: jax.Array
    partners: jax.Array
    share: jax.Array


def draw(
    key: jax.Array, batch: int, height: int, width: int, *, mixup: float, cutmix: float
) -> MixDraws:
    """Draws the numbers of a global batch.

    Args:
      key: of this batch.
      batch: number of images over all devices.
      height, width: pixels of an image.
      mixup, cutmix: the share is from Beta(a, a) with this number a; 0: no image is mixed so. At least one is larger,
        and with both each image is mixed in either way by chance.
    """
    share_key, box_key, center_key = jax.random.split(key, 3)
    is_box = jax.random.bernoulli(box_key, (cutmix > 0) / ((cutmix > 0) + (mixup > 0)), (batch,))
    concentration = jnp.where(is_box, cutmix or mixup, mixup or cutmix)
    return MixDraws(
        share=jax.random.beta(share_key, concentration, concentration),
        is_box=is_box,
        center=jax.random.randint(center_key, (batch, 2), 0, jnp.array([height, width])),
    )


def mix(
    images: jax.Array, labels: jax.Array, key: jax.Array, *, mixup: float, cutmix: float
) -> Mixed:
    """Mixes each image with its partner; called on each device of the axis "batch".

    Args:
      images: float32 [B, H, W, C], this device's part of the batch, augmented and normalized.
      labels: int32 [B].
      key: of this batch, the same on all devices.
      mixup, cutmix: see `draw`.
    """
    count, *size, _ = images.shape
    batch = lax.axis_size(AXIS) * count
    draws = my_part(draw(key, batch, *size, mixup=mixup, cutmix=cutmix), count)
    others, partners = from_the_end((images, labels))
    weights, share = shares(draws, *size)
    return Mixed(weights * images + (1 - weights) * others, labels, partners, share)


def shares(draws: MixDraws, height: int, width: int) -> tuple[jax.Array, jax.Array]:
    """Returns the image's part of each pixel, float32 [B, H, W, 1], and its part of the whole image, float32 [B].

    A box has the rest of the drawn share as its area, before the image's border clips the box. The part of the whole
    image is counted afterwards.
    """

    def inside(size, center):  # bool [B, size]
        half = (size * jnp.sqrt(1 - draws.share)).astype(jnp.int32) // 2
        away = jnp.arange(size) - center[:, None]
        return (away >= -half[:, None]) & (away < half[:, None])

    box = (
        inside(height, draws.center[:, 0])[:, :, None]
        & (inside(width, draws.center[:, 1])[:, None, :])
    )
    is_box, share = draws.is_box[:, None, None], draws.share[:, None, None]
    weights = jnp.where(is_box, 1.0 - box, share)
    return weights[..., None], jnp.where(draws.is_box, 1 - box.mean((1, 2)), draws.share)
