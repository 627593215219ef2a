"""Bilinear resizing of arrays, as TensorFlow's `tf.image.resize` computes it, bit for bit.

PIL's always averages what it shrinks, and rounds between the two axes.
"""

import numpy as np

ONE, HALF = np.float32(1), np.float32(0.5)


def bilinear(
    pixels: np.ndarray, size: tuple[int, int], window: tuple[slice, slice] | None = None
) -> np.ndarray:
    """Resizes uint8 [H, W, C] to `size` between the nearest pixels: uint8 [*size, C], or that window of it alone."""
    rows, columns = window or (slice(None), slice(None))
    height, width, channels = pixels.shape
    if (height, width) == size:
        return pixels[rows, columns]
    above, below, down = (part[rows] for part in _neighbors(height, size[0]))
    left, right, across = (part[columns] for part in _neighbors(width, size[1]))
    first, last = above.min(initial=0), below.max(initial=0) + 1
    # Rows of numbers are gathered several times faster than rows of pixels.
    flat = pixels[first:last].reshape(last - first, width * channels)
    left, right = (index[:, None] * channels + np.arange(channels) for index in (left, right))
    between = _mixed(flat, left.ravel(), right.ravel(), np.repeat(across, channels), axis=1)
    mixed = _mixed(between, above - first, below - first, down[:, None], axis=0)
    return np.rint(mixed, out=mixed).astype(np.uint8).reshape(len(down), len(across), channels)


def averaged(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes uint8 [H, W, C], where it shrinks with the mean of all pixels: uint8 [*size, C]."""
    if pixels.shape[:2] == size:
        return pixels
    made = _gathered(pixels.astype(np.float32), size[0])
    made = _gathered(np.ascontiguousarray(made.swapaxes(0, 1)), size[1])
    return np.rint(made).astype(np.uint8).swapaxes(0, 1)


def nearest(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes [H, W, C] by choosing the nearest pixels."""
    if pixels.shape[:2] == size:
        return pixels
    rows, columns = (
        np.minimum(np.floor(_centers(count, made)).astype(np.int64), count - 1)
        for count, made in zip(pixels.shape, size, strict=False)
    )
    return pixels[rows[:, None], columns]


def _centers(count, made):
    """Returns where the centers of `made` pixels lie among `count` pixels."""
    return (np.arange(made, dtype=np.float32) + HALF) * (np.float32(count) / np.float32(made))


def _neighbors(count, made):
    """Returns of each made pixel the two between which it lies, and its distance from the first."""
    at = _centers(count, made) - HALF
    first = np.floor(at)
    index = first.astype(np.int64)
    return np.maximum(index, 0), np.minimum(index + 1, count - 1), at - first


def _mixed(values, first, second, part, axis):
    """Takes from the first entries to the second ones the given part of the way, float32."""
    start = values.take(first, axis).astype(np.float32)
    way = values.take(second, axis).astype(np.float32)
    way -= start
    way *= part
    start += way
    return start


def _gathered(values, made):
    """Resizes the first axis of float32 values: a weighted sum of what lies within a pixel that is made."""
    count = len(values)
    shrink = ONE / (np.float32(made) / np.float32(count))
    reach = np.maximum(shrink, ONE)
    at = (np.arange(made, dtype=np.float32) + HALF) * shrink
    first, last = (
        np.clip(edge(at + sign * reach - HALF).astype(np.int64), 0, count - 1)
        for edge, sign in ((np.ceil, np.float32(-1)), (np.floor, ONE))
    )
    taps = first[:, None] + np.arange((last - first).max() + 1)
    distances = np.abs((taps.astype(np.float32) + HALF - at[:, None]) * (ONE / reach))
    weights = np.where((taps <= last[:, None]) & (distances < 1), ONE - distances, 0)
    total = np.zeros(made, np.float32)
    for column in weights.T:  # one after the other, since the order rounds
        total += column
    weights *= (ONE / total)[:, None]
    result = np.zeros((made, *values.shape[1:]), np.float32)
    for tap, weight in zip(np.minimum(taps, count - 1).T, weights.T, strict=True):
        result += weight[:, None, None] * values[tap]
    return result
