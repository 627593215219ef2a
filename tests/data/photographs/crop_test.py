"""Crops by PIL against those by TensorFlow, which has tests of its own: the same windows, the same pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from nge_jax.data.host import draws
from nge_jax.data.photographs import crop, decode, pixels
from tests.helpers.photographs import encode, photograph

SEEDS = np.stack([np.full(12, 7), np.arange(12)], axis=1)
DRAWS = draws.uniform(SEEDS, 4 * crop.ATTEMPTS).reshape(-1, 4, crop.ATTEMPTS)


@pytest.mark.parametrize("shape", [(375, 500), (500, 375), (20, 900), (900, 20), (1, 1)])
def test_the_windows_are_the_same(shape):
    for drawn in DRAWS:
        expected = decode.random_window(*shape, drawn).numpy().tolist()
        assert list(crop.random_window(*shape, drawn)) == expected
    for side in range(1, 30):
        assert list(crop.center_window(side, 99)) == decode.center_window(side, 99).numpy().tolist()


@pytest.mark.parametrize("orientation", [1, 2, 4, 5, 8])
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [20, 150])
def test_the_pixels_are_the_same(form, size, orientation):
    file, exif = io.BytesIO(), Image.Exif()
    exif[pixels.ORIENTATION] = orientation
    Image.fromarray(photograph(190, 260)).save(file, form, exif=exif)
    data = file.getvalue()
    given, turn = pixels.for_tensorflow(data)
    pairs = [(crop.center_crop(data, size), decode.center_crop(given, size, turn))]
    for seed, drawn in zip(SEEDS, DRAWS, strict=True):
        expected = decode.random_crop(given, size, seed, turn)
        pairs.append((crop.random_crop(data, size, drawn), expected))
    # The chroma of a JPEG's first and last columns as stored is TensorFlow's own, where they are not the image's.
    edge = 0 if form == "PNG" else 4 if size == 150 else 1
    inside = np.s_[edge : size - edge, edge : size - edge]
    for found, expected in pairs:
        assert found.shape == (size, size, 3) and found.dtype == np.uint8
        np.testing.assert_array_equal(found[inside], expected.numpy()[inside])
        assert np.abs(found.astype(int) - expected.numpy()).max() < 48


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_kinds_of_jpegs_become_rgb(mode):
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (204, 204, 204)).convert(mode).save(file, "JPEG")
    np.testing.assert_allclose(crop.center_crop(file.getvalue(), 32).astype(int), 204, atol=3)


def test_a_file_that_is_cut_off_is_refused_wherever_it_is_cropped():
    data = encode(photograph(190, 260))
    for drawn in DRAWS:
        with pytest.raises(pixels.UNREADABLE):
            crop.random_crop(data[: len(data) * 9 // 10], 20, drawn)
