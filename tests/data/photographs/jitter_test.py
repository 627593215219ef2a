"""The color jitter against PIL's and the standard library's, one image and one pixel at a time."""

import colorsys
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from nge_jax.data.photographs import jitter

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
STRENGTHS = (0.4, 0.4, 0.4, 0.2)


def batch(count=8, height=12, width=10):
    """Noise over smooth colors, with black, white and gray among them."""
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (count, 1, 1, 3)) + random.randint(
        -60, 60, (count, height, width, 3)
    )
    images[:, 0, 0], images[:, 0, 1], images[:, 0, 2] = 0, 255, 128
    return np.clip(images, 0, 255).astype(np.uint8)


def turned(image, turn):
    """Turns the hue of each pixel with the standard library."""
    flat = [colorsys.rgb_to_hsv(*pixel) for pixel in image.reshape(-1, 3) / 255]
    back = [colorsys.hsv_to_rgb((h + turn) % 1, s, v) for h, s, v in flat]
    return np.reshape(back, image.shape) * 255


def by_pil(image, amounts, change):
    """Applies one change of torchvision's ColorJitter to a PIL image, in whole levels."""
    if change == 3:
        return np.round(turned(image, amounts[3]))
    enhancer = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)[change]
    return np.asarray(enhancer(Image.fromarray(image)).enhance(float(amounts[change])))


def by_hand(image, amounts, order):
    """Applies all changes by torchvision's definitions for tensors, in double precision."""
    image = image.astype(float)
    for change in order:
        gray = image @ np.array([0.299, 0.587, 0.114])
        other = (0, np.floor(gray.mean() + 0.5), gray[..., None], None)[change]
        if change == 3:
            image = turned(image, amounts[3])
        else:
            image = np.clip(amounts[change] * image + (1 - amounts[change]) * other, 0, 255)
    return image


@pytest.mark.parametrize("change", range(4), ids=["brightness", "contrast", "saturation", "hue"])
def test_each_change_is_pils_but_for_rounding(change):
    images = batch()
    amounts = np.array(jitter.draw(jax.random.key(0), 8, flip=False, strengths=STRENGTHS).amounts)
    function = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)[change]
    got = function(images.astype(np.float32), jnp.asarray(amounts[:, change]))
    expected = [by_pil(i, a, change) for i, a in zip(images, amounts, strict=True)]
    # PIL cuts the fraction off, and rounds the mean gray to a whole level, too.
    np.testing.assert_allclose(got, np.stack(expected), atol=1.51)
    assert np.abs(np.asarray(got) - images).max() > 10  # it does change something


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_changes_come_in_the_order_drawn(order):
    images = batch()
    amounts = jitter.draw(jax.random.key(1), 8, flip=False, strengths=STRENGTHS).amounts
    got = jax.jit(jitter.color)(images, amounts, jnp.tile(jnp.array(order), (8, 1)))
    pairs = zip(images, np.asarray(amounts, np.float64), strict=True)
    expected = [by_hand(image, amount, order) for image, amount in pairs]
    np.testing.assert_allclose(got, np.stack(expected), atol=0.01)


def test_amounts_that_change_nothing_leave_flip_and_normalization():
    images = batch()
    draws = jitter.draw(jax.random.key(3), 8, flip=True, strengths=(0, 0, 0, 0))
    assert 0 < draws.flip.sum() < 8
    expected = np.where(draws.flip[:, None, None, None], images[:, :, ::-1], images) / 255
    got = jitter.apply(images, draws, mean=MEAN, std=STD)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, (expected - MEAN) / STD, atol=2e-5)


def test_draws_are_torchvisions_distributions():
    draws = jitter.draw(jax.random.key(0), 20000, flip=True, strengths=(0.4, 0.3, 1.5, 0.2))
    low, high = np.array([0.6, 0.7, 0, -0.2]), np.array([1.4, 1.3, 2.5, 0.2])
    np.testing.assert_allclose(draws.amounts.min(0), low, atol=1e-3)
    np.testing.assert_allclose(draws.amounts.max(0), high, atol=1e-3)
    np.testing.assert_allclose(draws.amounts.mean(0), (low + high) / 2, atol=0.02)
    np.testing.assert_allclose(draws.flip.mean(), 0.5, atol=0.02)
    assert not jitter.draw(jax.random.key(0), 100, flip=False, strengths=STRENGTHS).flip.any()
    one_row = jax.vmap(lambda key: jitter.draw(key, 1, flip=True, strengths=STRENGTHS).order[0])
    orders = np.asarray(one_row(jax.random.split(jax.random.key(1), 480)))
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 24 and counts.min() > 8


def test_a_part_of_the_batch_is_jittered_as_within_the_whole():
    images = batch()
    draws = jitter.draw(jax.random.key(2), 8, flip=True, strengths=STRENGTHS)
    whole = jitter.apply(images, draws, mean=MEAN, std=STD)
    part = jitter.apply(images[4:], jax.tree.map(lambda a: a[4:], draws), mean=MEAN, std=STD)
    np.testing.assert_allclose(whole[4:], part, atol=1e-6)
