"""Flip and color jitter of ImageNet's recipe as pure functions of arrays, for use inside a compiled step.

The paper names the transforms. Strengths and order are DARTS's; the definitions are torchvision's (`ColorJitter`):

- Brightness, contrast and saturation blend the image with black, with its mean gray and with its gray image.
- The results are clipped to 0..255.
- Hue turns the color's angle.
- The four changes come in random order.

Two things differ from torchvision. Nothing is rounded to whole levels between the changes. One random order serves the
whole batch, and each image's order is just as random. A step then computes four changes instead of four times four.

As in `augment.py`, `draw` makes the numbers of a whole global batch, and each device takes the rows of its own images.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax.data import augment

GRAY = (0.299, 0.587, 0.114)  # ITU-R 601 luma, as PIL's and torchvision's


class JitterDraws(NamedTuple):
    """Random numbers of a batch of B images; any slice of the arrays belongs to the same slice of the images.

    Attributes:
      flip: bool [B], whether the image is mirrored.
      amounts: float32 [B, 4], the factors of brightness, contrast and saturation, and the turn of the hue in turns.
      order: int32 [B, 4], in which order these four come: a permutation of 0..3, in each row the same.
    """

    flip: jax.Array
    amounts: jax.Array
    order: jax.Array


def draw(key: jax.Array, batch: int, *, flip: bool, strengths: Sequence[float]) -> JitterDraws:
    """Draws the numbers of a global batch.

    Args:
      key: of this batch.
      batch: number of images over all devices.
      flip: whether half of the images are mirrored.
      strengths: of brightness, contrast, saturation (factors from max(0, 1 - s) to 1 + s) and hue (from -s to s turns,
        s at most 0.5).
    """
    flip_key, amount_key, order_key = jax.random.split(key, 3)
    strength = jnp.array(strengths)
    middle = jnp.array([1.0, 1.0, 1.0, 0.0])
    low = jnp.maximum(middle - strength, jnp.array([0.0, 0.0, 0.0, -0.5]))
    return JitterDraws(
        flip=jax.random.bernoulli(flip_key, 0.5, (batch,)) & flip,
        amounts=jax.random.uniform(amount_key, (batch, 4), minval=low, maxval=middle + strength),
        order=jnp.tile(jax.random.permutation(order_key, 4), (batch, 1)),
    )


def apply(
    images: jax.Array,
    draws: JitterDraws,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    change: Callable[[jax.Array], jax.Array] | None = None,
) -> jax.Array:
    """Flips, jitters and normalizes: uint8 [B, H, W, 3] -> float32 [B, H, W, 3].

    Args:
      images: of the batch, or of a part of it.
      draws: the numbers of the same images.
      mean: per channel, of pixels in 0..1.
      std: per channel, of pixels in 0..1.
      change: changes the pixels in 0..255 after the flip; None: no change.
    """
    images = augment.horizontal_flip(images, draws.flip)
    if change is not None:
        images = change(images)
    return augment.normalize(color(images, draws.amounts, draws.order), mean, std)


def color(images: jax.Array, amounts: jax.Array, order: jax.Array) -> jax.Array:
    """Changes the colors of [B, H, W, 3] in 0..255 as `JitterDraws` describes; float32 in 0..255."""
    changes = (brightness, contrast, saturation, hue)

    def change(i, images):
        # A switch on a scalar runs one of its branches; on a row of the batch it would run all.
        return lax.switch(order[0, i], changes, images, amounts[:, order[0, i]])

    return lax.fori_loop(0, len(changes), change, images.astype(jnp.float32))


def brightness(images: jax.Array, factor: jax.Array) -> jax.Array:
    """Blends float [B, H, W, 3] in 0..255 with black; `factor` [B] as in the two below: 1 leaves the image, 0 none."""
    return blend(images, 0.0, factor)


def contrast(images: jax.Array, factor: jax.Array) -> jax.Array:
    """Blends each image with the mean of its gray values, rounded to a level as PIL does."""
    mean = jnp.floor(_gray(images.mean(axis=(1, 2), keepdims=True)) + 0.5)
    return blend(images, mean, factor)


def saturation(images: jax.Array, factor: jax.Array) -> jax.Array:
    """Blends each pixel with its gray value."""
    return blend(images, _gray(images), factor)


def hue(images: jax.Array, turn: jax.Array) -> jax.Array:
    """Turns the hue (the angle in HSV) by `turn` [B], in turns; value and chroma stay."""
    red, green, blue = images[..., 0], images[..., 1], images[..., 2]
    value = images.max(axis=-1)
    chroma = value - images.min(axis=-1)
    # The angle in sixths of a turn; a gray pixel has none, and needs none.
    angle = jnp.where(
        value == red,
        green - blue,
        jnp.where(value == green, blue - red, red - green),
    ) / jnp.where(chroma > 0, chroma, 1.0)
    angle += jnp.where(value == red, 0.0, jnp.where(value == green, 2.0, 4.0))
    angle += 6 * turn[:, None, None]

    def channel(offset):  # how far a channel lies below the value, as a function of the angle
        away = offset + angle
        away -= 6 * jnp.floor(away / 6)  # as `% 6`, which calls a slow function on a CPU
        return value - chroma * jnp.clip(jnp.minimum(away, 4 - away), 0, 1)

    return jnp.stack([channel(5), channel(3), channel(1)], axis=-1)


def blend(images: jax.Array, other: jax.Array | float, factor: jax.Array) -> jax.Array:
    """Moves float [B, H, W, C] in 0..255 away from `other` by `factor` [B], and clips; 0 gives the other image."""
    factor = factor[:, None, None, None]
    return jnp.clip(factor * images + (1 - factor) * other, 0, 255)


def _gray(images):
    """Averages the channels as the eye does: [B, H, W, 3] -> [B, H, W, 1]; gray images stay."""
    if images.shape[-1] == 1:
        return images
    # Slices and no sum over an axis of three, which a CPU does one pixel at a time.
    return sum(part * images[..., i : i + 1] for i, part in enumerate(GRAY))
