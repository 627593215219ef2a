"""The augmentation against plain loops over single images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.data import augment

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)


def batch(count=16, height=12, width=10):
    """Images without a black pixel, so that padding can be told from content."""
    pixels = np.random.RandomState(0).randint(1, 256, (count, height, width, 3))
    return pixels.astype(np.uint8)


def by_hand(image, corner, flip, center, pad, length):
    """Applies torchvision's and DARTS's transforms, one image and one pixel at a time."""
    height, width, _ = image.shape
    out = np.zeros(image.shape, np.float64)
    for y in range(height):
        for x in range(width):
            source_x = width - 1 - x if flip else x
            at_y, at_x = y + corner[0] - pad, source_x + corner[1] - pad
            inside = 0 <= at_y < height and 0 <= at_x < width
            pixel = image[at_y, at_x] / 255 if inside else np.zeros(3)
            out[y, x] = (pixel - MEAN) / STD
    if length:
        y1, y2 = np.clip([center[0] - length // 2, center[0] + length // 2], 0, height)
        x1, x2 = np.clip([center[1] - length // 2, center[1] + length // 2], 0, width)
        out[y1:y2, x1:x2] = 0
    return out


@pytest.mark.parametrize(("pad", "flip", "length"), [(4, True, 6), (1, False, 0), (0, True, 3)])
def test_augmentation_equals_the_transforms_by_hand(pad, flip, length):
    images = batch()
    draws = augment.draw(jax.random.key(1), 16, 12, 10, pad=pad, flip=flip)
    got = jax.jit(lambda i, d: augment.apply(i, d, mean=MEAN, std=STD, pad=pad, cutout=length))(
        images, draws
    )
    expected = [
        by_hand(*row, pad, length)
        for row in zip(images, *(np.asarray(d) for d in draws), strict=True)
    ]
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, np.stack(expected), atol=1e-5)


def test_draws_are_uniform_and_within_range():
    draws = augment.draw(jax.random.key(0), 9000, 12, 10, pad=4, flip=True)
    counts = np.bincount(np.asarray(draws.crop[:, 0]))
    assert counts.shape == (9,) and counts.min() > 850
    np.testing.assert_allclose(draws.flip.mean(), 0.5, atol=0.03)
    np.testing.assert_array_equal(np.unique(draws.hole[:, 0]), np.arange(12))
    np.testing.assert_array_equal(np.unique(draws.hole[:, 1]), np.arange(10))
    still = augment.draw(jax.random.key(0), 100, 12, 10, pad=0, flip=False)
    assert not still.flip.any() and not still.crop.any()


def test_a_part_of_the_batch_is_augmented_as_within_the_whole():
    images = batch()
    draws = augment.draw(jax.random.key(2), 16, 12, 10, pad=4, flip=True)
    options = {"mean": MEAN, "std": STD, "pad": 4, "cutout": 4}
    whole = augment.apply(images, draws, **options)
    part = augment.apply(images[4:8], jax.tree.map(lambda a: a[4:8], draws), **options)
    np.testing.assert_array_equal(whole[4:8], part)


def test_two_epochs_of_alternating_flips_show_both_sides_of_every_image():
    numbers = jnp.arange(2000)
    flips = [augment.alternating_flip(jax.random.key(0), numbers, jnp.int32(e)) for e in range(4)]
    np.testing.assert_array_equal(flips[0], ~flips[1])
    np.testing.assert_array_equal(flips[0], flips[2])
    np.testing.assert_array_equal(flips[1], flips[3])
    assert 900 < flips[0].sum() < 1100
    # The image decides, not the image's place in a batch.
    some = augment.alternating_flip(jax.random.key(0), numbers[::-7], jnp.int32(0))
    np.testing.assert_array_equal(some, flips[0][::-7])
    other = augment.alternating_flip(jax.random.key(1), numbers, jnp.int32(0))
    assert (other != flips[0]).any()
