"""TrivialAugment: each operation at each strength beside PIL's, and how often each is drawn."""

import itertools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from nge_jax.data.augmentations import trivial_augment
from nge_jax.data.augmentations.trivial_augment import OPERATIONS, TrivialDraws

MOVES = OPERATIONS[1:6]
# The difference in levels that rounding leaves: PIL rounds the blended images, and their gray images, too.
ROUNDING = {"brightness": 1, "color": 2, "contrast": 2, "sharpness": 1, "autocontrast": 1}
HEIGHT, WIDTH = 24, 40


def by_pil(image, name, level, negative):
    """Changes uint8 [H, W] or [H, W, 3] as the paper's code does."""
    picture, part = Image.fromarray(image), level / 30
    signed = -part if negative else part
    right, down = min(32, WIDTH) * signed, min(32, HEIGHT) * signed
    moves = {
        "identity": (1, 0, 0, 0, 1, 0),
        "shear_x": (1, 0.99 * signed, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, 0.99 * signed, 1, 0),
        "translate_x": (1, 0, right, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, down),
    }
    if name in moves:
        return picture.transform(picture.size, Image.Transform.AFFINE, moves[name])
    blends = {"brightness", "color", "contrast", "sharpness"}
    if name in blends:
        return getattr(ImageEnhance, name.capitalize())(picture).enhance(1 + 0.99 * signed)
    return {
        "rotate": lambda: picture.rotate(135 * signed),
        "posterize": lambda: ImageOps.posterize(picture, 8 - round(6 * part)),
        "solarize": lambda: ImageOps.solarize(picture, 255 * (30 - level) / 30),
        "autocontrast": lambda: ImageOps.autocontrast(picture),
        "equalize": lambda: ImageOps.equalize(picture),
    }[name]()


@pytest.mark.parametrize("channels", [1, 3])
def test_each_operation_does_as_pil(channels):
    cases = [*itertools.product(range(len(OPERATIONS)), range(0, 31, 5), (False, True))]
    random = np.random.default_rng(0)
    # Each image has other darkest and brightest levels, and smooth parts beside noise.
    low, span = (random.integers(*ends, (len(cases), 1, 1, 1)) for ends in ((0, 60), (90, 190)))
    waves = np.sin(np.arange(WIDTH) / 5) * np.cos(np.arange(HEIGHT) / 3)[:, None]
    noise = random.random((len(cases), HEIGHT, WIDTH, channels))
    images = (low + span * (0.7 * (waves[..., None] + 1) / 2 + 0.3 * noise)).astype(np.uint8)
    draws = TrivialDraws(*(np.array(column) for column in zip(*cases, strict=True)))
    found = np.asarray(jax.jit(trivial_augment.apply)(images, draws))
    assert found.dtype == np.float32 and found.min() >= 0 and found.max() <= 255
    differs = Counter()
    for image, changed, (operation, level, negative) in zip(images, found, cases, strict=True):
        name = OPERATIONS[operation]
        expected = by_pil(image if channels == 3 else image[..., 0], name, level, negative)
        expected = np.asarray(expected, np.float32).reshape(image.shape)
        away = abs(changed - expected)
        # A turn by 45 degrees puts a diagonal between two pixels, where roundings decide.
        wrong = (away > 0).mean() if name in MOVES else away.max() > ROUNDING.get(name, 0)
        assert wrong <= (0.04 if name == "rotate" else 0.01 if name in MOVES else 0), (
            name,
            level,
            negative,
            away.max(),
        )
        differs[name] += bool((image != expected).any())
    same = {"identity"} if channels == 3 else {"identity", "color"}
    assert {*differs.elements()} == {*OPERATIONS} - same


def test_a_small_image_stays_within_its_frame():
    images = np.full((2, 8, 8, 1), 200, np.uint8)
    draws = TrivialDraws(np.array([3, 4]), np.array([15, 15]), np.array([False, True]))
    found = np.asarray(trivial_augment.apply(jnp.asarray(images), draws))
    assert (found > 0).sum((1, 2, 3)).tolist() == [32, 32], "half of the strength moves half a side"


def test_operations_strengths_and_signs_are_drawn_alike():
    draws = jax.device_get(trivial_augment.draw(jax.random.key(0), 28_000))
    assert abs(np.bincount(draws.operation, minlength=14) - 2000).max() < 200
    assert abs(np.bincount(draws.level, minlength=31) - 28_000 / 31).max() < 150
    assert abs(draws.negative.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(np.array(draws, float))[~np.eye(3, dtype=bool)]).max() < 0.03
