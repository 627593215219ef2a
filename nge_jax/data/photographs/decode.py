"""Decoding of a crop of an encoded image, resized: TensorFlow functions, for the input pipeline of a TFDS set.

Only the crop of a JPEG is decoded. libjpeg decodes a crop at least twice as large as the result at 1/2, 1/4 or 1/8 of
its size (at 1/8: each block's mean). The smaller scale is cheaper and avoids aliasing. A bilinear resize does the rest.
PIL's bilinear filter, which torchvision uses, averages a little more when it shrinks an image by less than two. PIL's
filter would cost as much as the decoding. Training and test images pass through the same filter.

The input is the result of `pixels.for_tensorflow`: a JPEG with its orientation, or an upright bitmap. A window is
chosen in the image as it is shown, and read where it is stored.
"""

import math
from typing import Any

from nge_jax.data.photographs.crop import AREA, ASPECT, ATTEMPTS, CENTER, SCALES
from nge_jax.data.photographs.pixels import BACKWARDS, TURNED, UPRIGHT, UPSIDE_DOWN
from nge_jax.devices import host_tf


def random_crop(encoded: Any, size: int, seed: Any, orientation: Any = UPRIGHT) -> Any:
    """Decodes an image, cropped at random as `random_window` does.

    Args:
      encoded: string scalar.
      size: pixels of a side of the result.
      seed: int64 [2].
      orientation: EXIF's, 1 to 8, an integer scalar.

    Returns:
      uint8 [size, size, 3].
    """
    draws = host_tf.tensorflow().random.stateless_uniform((4, ATTEMPTS), seed)
    return _crop(encoded, orientation, size, lambda h, w: random_window(h, w, draws))


def center_crop(encoded: Any, size: int, orientation: Any = UPRIGHT) -> Any:
    """Decodes the middle of an image by the test's proportions: uint8 [size, size, 3]."""
    return _crop(encoded, orientation, size, center_window)


def random_window(height: Any, width: Any, draws: Any) -> Any:
    """Chooses the window of torchvision's RandomResizedCrop, int32 [4]: y, x, height, width.

    Args:
      height: of the image, int32.
      width: of the image, int32.
      draws: float32 [4, ATTEMPTS] in [0, 1): area, aspect, y and x of each attempt.
    """
    t = host_tf.tensorflow()
    height, width = t.cast(height, t.float32), t.cast(width, t.float32)
    area = height * width * (AREA[0] + (AREA[1] - AREA[0]) * draws[0])
    low, high = math.log(ASPECT[0]), math.log(ASPECT[1])
    aspect = t.exp(low + (high - low) * draws[1])
    heights, widths = t.round(t.sqrt(area / aspect)), t.round(t.sqrt(area * aspect))
    fits = (heights <= height) & (widths <= width) & (heights > 0) & (widths > 0)
    first = t.argmax(fits)  # the first attempt that fits
    h, w = heights[first], widths[first]
    drawn = (
        t.floor(draws[2, first] * (height - h + 1)),
        t.floor(draws[3, first] * (width - w + 1)),
        h,
        w,
    )
    # None fits in a very long image: as much of its middle as the aspect allows.
    h = t.minimum(height, t.round(width / ASPECT[0]))
    w = t.minimum(width, t.round(height * ASPECT[1]))
    middle = ((height - h) // 2, (width - w) // 2, h, w)
    return t.cast(t.where(fits[first], t.stack(drawn), t.stack(middle)), t.int32)


def center_window(height: Any, width: Any) -> Any:
    """Cuts the test's window, int32 [4]: y, x, height, width: a square in the middle, 7/8 of the shorter side."""
    t = host_tf.tensorflow()
    side = t.cast(t.round(t.cast(t.minimum(height, width), t.float32) * CENTER), t.int32)
    return t.stack([(height - side) // 2, (width - side) // 2, side, side])


def _crop(encoded, orientation, size, window):
    t = host_tf.tensorflow()
    turned, backwards, upside_down = (
        t.reduce_any(t.cast(orientation, t.int32) == which)
        for which in (TURNED, BACKWARDS, UPSIDE_DOWN)
    )

    def stored_window(shape):
        """Chooses a window of the image as it is shown, and finds it in the image as it is stored."""
        height, width = t.unstack(t.where(turned, shape[::-1], shape))
        y, x, h, w = t.unstack(window(height, width))
        y = t.where(upside_down, height - y - h, y)
        x = t.where(backwards, width - x - w, x)
        return t.where(turned, t.stack([x, y, w, h]), t.stack([y, x, h, w]))

    def jpeg():
        y_x_h_w = stored_window(t.io.extract_jpeg_shape(encoded)[:2])
        shrink = t.minimum(y_x_h_w[2], y_x_h_w[3]) // size
        return t.switch_case(
            t.reduce_sum(t.cast(shrink >= SCALES[1:], t.int32)),
            [lambda ratio=ratio: at_scale(y_x_h_w, ratio) for ratio in SCALES],
        )

    def at_scale(y_x_h_w, ratio):
        # The accurate transform is PIL's, and hardly slower.
        options = {"channels": 3, "ratio": ratio, "dct_method": "INTEGER_ACCURATE"}
        pixels = t.io.decode_and_crop_jpeg(encoded, y_x_h_w // ratio, **options)
        return t.image.resize(pixels, (size, size))

    def other():
        pixels = t.io.decode_image(encoded, channels=3, expand_animations=False)
        y, x, h, w = t.unstack(stored_window(t.shape(pixels)[:2]))
        return t.image.resize(pixels[y : y + h, x : x + w], (size, size), antialias=True)

    pixels = t.cond(t.io.is_jpeg(encoded), jpeg, other)
    pixels = t.cast(t.round(pixels), t.uint8)  # between the pixels' least and greatest: no overflow
    pixels = t.ensure_shape(pixels, (size, size, 3))
    return _turn(pixels, turned, backwards, upside_down)


def _turn(stored, turned, backwards, upside_down):
    """Returns pixels as the image is shown, from pixels as they are stored."""
    t = host_tf.tensorflow()
    rows = t.cond(turned, lambda: t.transpose(stored, (1, 0, 2)), lambda: stored)
    mirrored = t.cond(backwards, lambda: rows[:, ::-1], lambda: rows)
    return t.cond(upside_down, lambda: mirrored[::-1], lambda: mirrored)
