"""TrivialAugment (Müller and Hutter, ICCV 2021) as pure functions of arrays, for use inside a compiled step.

Each image gets one operation at one strength, both drawn uniformly. Operations and strengths are the paper's wide
space, and the definitions are PIL's. Two things differ from PIL. Blends are not rounded to whole levels. An image of
fewer than 32 pixels a side moves by its side at most, because 32 pixels would leave nothing of the image.

No operation needs a branch for each image, which would compute all branches on a device:

- The five moves of pixels are one gather, with another matrix for each image.
- The four blends, posterizing and solarizing leave other operations' images as they are by neutral strengths.
- Autocontrast and equalization map levels to levels, and are selected at the end.

As in `augment.py`, `draw` makes the numbers of a whole global batch, and each device takes the rows of its images.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from nge_jax.data.photographs import jitter

OPERATIONS = (
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "color", "contrast",
    "sharpness", "posterize", "solarize", "autocontrast", "equalize",
)  # fmt: skip
LEVELS = 31  # strengths of an operation, from none to the largest
# The largest strengths. A shear and a blend's change of its factor are parts, a rotation is in degrees.
SHEAR, TRANSLATION, ROTATION, BLEND = 0.99, 32, 135, 0.99
FEWEST_BITS = 2  # the bits, out of 8, after the strongest posterizing


class TrivialDraws(NamedTuple):
    """Random numbers of a batch of B images; any slice of the arrays belongs to the same slice of the images.

    Attributes:
      operation: int32 [B], a place in OPERATIONS.
      level: int32 [B], the strength, in 0..LEVELS - 1.
      negative: bool [B], whether a move or a change of a blend's factor is negative.
    """

    operation: jax.Array
    level: jax.Array
    negative: jax.Array


def draw(key: jax.Array, batch: int) -> TrivialDraws:
    """Draws the numbers of a global batch."""
    operation_key, level_key, sign_key = jax.random.split(key, 3)
    return TrivialDraws(
        operation=jax.random.randint(operation_key, (batch,), 0, len(OPERATIONS)),
        level=jax.random.randint(level_key, (batch,), 0, LEVELS),
        negative=jax.random.bernoulli(sign_key, 0.5, (batch,)),
    )


def apply(images: jax.Array, draws: TrivialDraws) -> jax.Array:
    """Changes each image by its operation: uint8 [B, H, W, C] -> float32 [B, H, W, C] in 0..255, C 1 or 3."""
    strength = draws.level / (LEVELS - 1)
    signed = jnp.where(draws.negative, -strength, strength)

    def if_drawn(name, value, neutral):
        return jnp.where(draws.operation == OPERATIONS.index(name), value, neutral)

    levels = move(images, _matrices(images.shape[1:3], signed, if_drawn)).astype(jnp.int32)
    changed = levels.astype(jnp.float32)
    blends = {
        "brightness": jitter.brightness,
        "color": jitter.saturation,
        "contrast": jitter.contrast,
        "sharpness": sharpness,
    }
    for name, blend in blends.items():
        changed = blend(changed, if_drawn(name, 1 + BLEND * signed, 1.0))
    removed_bits = jnp.round((8 - FEWEST_BITS) * draws.level / (LEVELS - 1))
    changed = posterize(changed, if_drawn("posterize", removed_bits, 0.0))
    # Exact in float32, because a threshold that is a whole level decides about the pixels of that level.
    threshold = 255 / (LEVELS - 1) * (LEVELS - 1 - draws.level)
    changed = solarize(changed, if_drawn("solarize", threshold, 256.0))
    for name, whole in (("autocontrast", autocontrast), ("equalize", equalize)):
        is_drawn = if_drawn(name, True, False)
        changed = jnp.where(is_drawn[:, None, None, None], whole(levels), changed)
    return changed


def _matrices(size, signed, if_drawn):
    """Returns the matrices [B, 2, 3] of `move`: the drawn move, or no move."""
    height, width = size
    angle = jnp.deg2rad(if_drawn("rotate", ROTATION * signed, 0.0))
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    x, y = width / 2, height / 2  # the point around which an image turns
    shear_x, shear_y = (if_drawn(f"shear_{axis}", SHEAR * signed, 0.0) for axis in "xy")
    # At most one of these moves differs from none, so that their order does not matter.
    right = if_drawn("translate_x", min(TRANSLATION, width) * signed, x - cos * x + sin * y)
    down = if_drawn("translate_y", min(TRANSLATION, height) * signed, y - sin * x - cos * y)
    rows = [[cos, shear_x - sin, right], [shear_y + sin, cos, down]]
    return jnp.stack([jnp.stack(row, -1) for row in rows], 1)


def move(images: jax.Array, matrices: jax.Array) -> jax.Array:
    """Shows at each point (x, y) of an image the pixel at `matrix @ (x, y, 1)`, black outside (PIL's AFFINE, NEAREST).

    Args:
      images: [B, H, W, C].
      matrices: float32 [B, 2, 3]; pixels have whole numbers and 0.5 as their middles.
    """
    count, height, width, _ = images.shape
    x, y = jnp.arange(width) + 0.5, (jnp.arange(height) + 0.5)[:, None]
    # No matrix product, which some devices round to fewer digits than a place needs.
    places = matrices[..., None, None]
    places = jnp.floor(places[:, :, 0] * x + places[:, :, 1] * y + places[:, :, 2])
    column, row = (places[:, axis].astype(jnp.int32) for axis in range(2))
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    index = jnp.clip(row, 0, height - 1) * width + jnp.clip(column, 0, width - 1)
    pixels = images.reshape(count, height * width, -1)
    moved = jnp.take_along_axis(pixels, index.reshape(count, -1, 1), axis=1)
    return jnp.where(inside[..., None], moved.reshape(images.shape), 0)


def sharpness(images: jax.Array, factor: jax.Array) -> jax.Array:
    """Blends float [B, H, W, C] in 0..255 with smooth images; `factor` [B] as in `jitter.brightness`.

    A pixel counts five times, each of its eight neighbors once. Pixels at the border stay.
    """
    height, width = images.shape[1:3]
    around = sum(
        images[:, y : height - 2 + y, x : width - 2 + x] for y in range(3) for x in range(3)
    )
    smooth = jnp.floor((around + 4 * images[:, 1:-1, 1:-1]) / 13 + 0.5)
    return jitter.blend(images, images.at[:, 1:-1, 1:-1].set(smooth), factor)


def posterize(images: jax.Array, removed_bits: jax.Array) -> jax.Array:
    """Sets the last bits of whole levels to 0; `removed_bits` float32 [B], 0 leaves any image."""
    part = jnp.exp2(removed_bits)[:, None, None, None]
    return jnp.where(part > 1, jnp.floor(images / part) * part, images)


def solarize(images: jax.Array, threshold: jax.Array) -> jax.Array:
    """Inverts the levels from the threshold on; `threshold` float32 [B], 256 leaves any image."""
    return jnp.where(images < threshold[:, None, None, None], images, 255 - images)


def autocontrast(levels: jax.Array) -> jax.Array:
    """Stretches each channel to 0..255, and rounds down; int32 [B, H, W, C]. A channel of one level stays."""
    darkest, brightest = (f(levels, axis=(1, 2), keepdims=True) for f in (jnp.min, jnp.max))
    span = brightest - darkest
    return jnp.where(span > 0, (levels - darkest) * 255 // jnp.maximum(span, 1), levels)


def equalize(levels: jax.Array) -> jax.Array:
    """Makes the levels of each channel about equally frequent (PIL's `ImageOps.equalize`); int32 [B, H, W, C].

    An image stays as it is if fewer than 255 pixels are darker than the brightest level.
    """
    count, height, width, channels = levels.shape
    place = jnp.arange(count)[:, None, None, None], jnp.arange(channels), levels
    histogram = jnp.zeros((count, channels, 256), jnp.int32).at[place].add(1)
    brightest = levels.max((1, 2))[..., None]
    step = (height * width - jnp.take_along_axis(histogram, brightest, -1)) // 255
    darker = jnp.cumsum(histogram, -1) - histogram
    table = jnp.minimum((darker + step // 2) // jnp.maximum(step, 1), 255)
    return jnp.where(step > 0, table, jnp.arange(256))[place]
