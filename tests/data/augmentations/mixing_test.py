"""Mixup and CutMix beside plain numpy, on one device and on several."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.data.augmentations import mixing
from nge_jax.devices.parallel import AXIS

BATCH, HEIGHT, WIDTH = 8, 6, 10
IMAGES = np.random.default_rng(0).normal(size=(BATCH, HEIGHT, WIDTH, 2)).astype(np.float32)
LABELS = np.arange(BATCH, dtype=np.int32)


def by_numpy(draws):
    """Mixes the images one by one, pixel by pixel; also returns each image's part of its mixture."""
    images, parts = [], []
    for n, (share, is_box, (y, x)) in enumerate(zip(*draws, strict=True)):
        part = np.full((HEIGHT, WIDTH), share)
        if is_box:
            part[:] = 1
            sides = [int(side * np.sqrt(1 - share)) // 2 for side in (HEIGHT, WIDTH)]
            rows, columns = (
                slice(max(at - half, 0), at + half) for at, half in zip((y, x), sides, strict=True)
            )
            part[rows, columns] = 0
        images.append(part[..., None] * IMAGES[n] + (1 - part[..., None]) * IMAGES[BATCH - 1 - n])
        parts.append(part.mean())
    return np.stack(images), np.stack(parts)


@pytest.mark.parametrize("devices", [1, 2, 4])
@pytest.mark.parametrize("mixup, cutmix", [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_images_are_mixed_as_by_numpy_on_any_number_of_devices(mixup, cutmix, devices):
    options, key = {"mixup": mixup, "cutmix": cutmix}, jax.random.key(3)

    def mix(images, labels):
        return mixing.mix(images, labels, key, **options)

    parts = (a.reshape(devices, -1, *a.shape[1:]) for a in (IMAGES, LABELS))
    mixed = jax.vmap(mix, axis_name=AXIS)(*map(jnp.asarray, parts))
    mixed = mixing.Mixed(*(np.asarray(a).reshape(BATCH, *a.shape[2:]) for a in mixed))
    draws = jax.device_get(mixing.draw(key, BATCH, HEIGHT, WIDTH, **options))
    images, shares = by_numpy(draws)
    np.testing.assert_allclose(mixed.images, images, atol=1e-5)
    np.testing.assert_allclose(mixed.share, shares, atol=1e-6)
    assert mixed.labels.tolist() == LABELS.tolist()
    assert mixed.partners.tolist() == LABELS[::-1].tolist()


def test_shares_are_those_of_the_papers():
    many = 20_000
    for mixup, cutmix, boxes in ((0.2, 0.0, 0.0), (0.0, 1.0, 1.0), (0.2, 1.0, 0.5)):
        draws = mixing.draw(jax.random.key(0), many, HEIGHT, WIDTH, mixup=mixup, cutmix=cutmix)
        share, is_box, center = map(np.asarray, draws)
        assert abs(is_box.mean() - boxes) < 0.02
        for drawn, a in ((share[~is_box], mixup), (share[is_box], cutmix)):
            if len(drawn):  # a distribution Beta(a, a) has the variance 1 / (8 a + 4)
                assert abs(drawn.mean() - 0.5) < 0.02 and abs(drawn.var() - 1 / (8 * a + 4)) < 0.01
        assert center.min(0).tolist() == [0, 0]
        assert center.max(0).tolist() == [HEIGHT - 1, WIDTH - 1]
