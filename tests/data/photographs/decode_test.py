"""Crops against PIL's decoder and torchvision's definitions, one image at a time."""

import io

import numpy as np
import pytest
from PIL import Image

from nge_jax.data.photographs import decode
from nge_jax.devices import host_tf
from tests.helpers.photographs import encode, photograph


def random_window_by_hand(height, width, draws):
    """torchvision.transforms.RandomResizedCrop.get_params, with given numbers in [0, 1)."""
    for area, aspect, y, x in draws.T.astype(np.float64):
        target = height * width * (0.08 + 0.92 * area)
        ratio = np.exp(np.log(3 / 4) + (np.log(4 / 3) - np.log(3 / 4)) * aspect)
        w, h = round(np.sqrt(target * ratio)), round(np.sqrt(target / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(y * (height - h + 1)), int(x * (width - w + 1)), h, w
    h, w = height, width
    if width / height < 3 / 4:
        h = round(width / (3 / 4))
    elif width / height > 4 / 3:
        w = round(height * (4 / 3))
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (60, 60), (20, 900), (900, 20), (1, 1)])
def test_the_random_window_is_torchvisions(size):
    random = np.random.RandomState(0)
    windows = set()
    for _ in range(50):
        draws = random.random_sample((4, decode.ATTEMPTS)).astype(np.float32)
        got = tuple(decode.random_window(*size, draws).numpy().tolist())
        assert got == random_window_by_hand(*size, draws)
        assert got[0] >= 0 and got[1] >= 0
        assert got[0] + got[2] <= size[0] and got[1] + got[3] <= size[1]
        windows.add(got)
    assert len(windows) > 40 or min(size) <= 20  # nothing fits into a strip but its middle


def crop(data, size, seed):
    return decode.random_crop(data, size, np.array(seed, np.int64)).numpy()


def window(shape, seed):
    tf = host_tf.tensorflow()
    draws = tf.random.stateless_uniform((4, decode.ATTEMPTS), np.array(seed, np.int64)).numpy()
    return random_window_by_hand(*shape, draws)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("seed", [(0, 0), (0, 1), (7, 3)])
def test_an_enlarged_crop_is_pils(form, seed):
    data = encode(photograph(150, 190), form)
    y, x, h, w = window((150, 190), seed)
    whole = Image.open(io.BytesIO(data))
    expected = whole.crop((x, y, x + w, y + h)).resize((192, 192), Image.BILINEAR)
    got = crop(data, 192, seed)
    assert got.dtype == np.uint8
    inside = np.s_[3:-3, 3:-3]  # chroma at the edge of a crop is interpolated from the crop alone
    difference = got[inside].astype(int) - np.asarray(expected, int)[inside]
    assert np.abs(difference).max() <= (2 if form == "JPEG" else 1)
    assert abs(difference.mean()) < 0.1  # rounded, not cut off


@pytest.mark.parametrize("shrink", [2, 3, 4, 8, 11])
def test_a_much_larger_crop_is_averaged_not_sampled(shrink):
    pixels = photograph(48 * shrink, 48 * shrink)
    # Stripes one pixel wide: their mean is gray, their samples are black and white.
    pixels[:, ::2], pixels[:, 1::2] = 0, 255
    got = decode.center_crop(encode(pixels), 42).numpy()
    np.testing.assert_allclose(got[2:-2, 2:-2], 128, atol=45 if shrink == 3 else 6)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("shape", [(375, 500), (500, 334), (256, 256), (160, 200), (1300, 900)])
def test_the_test_crop_is_torchvisions(form, shape):
    """The reference resizes the shorter side to 256 and cuts out 224: at most half an original pixel apart."""
    data = encode(photograph(*shape), form)
    height, width = shape
    resized = (256 * width // min(shape), 256 * height // min(shape))
    whole = Image.open(io.BytesIO(data)).resize(resized, Image.BILINEAR)
    left, top = round((whole.width - 224) / 2), round((whole.height - 224) / 2)
    expected = np.asarray(whole.crop((left, top, left + 224, top + 224)), int)
    got = decode.center_crop(data, 224).numpy().astype(int)
    difference = np.abs(got - expected)
    shifted = np.abs(got[:, 2:] - expected[:, :-2])
    assert difference.mean() < 4 and 2 * difference.mean() < shifted.mean()


def test_a_png_shrinks_as_in_pil():
    """Both windows begin at a whole pixel here, so that nothing but the filter can differ."""
    data = encode(photograph(512, 768), "PNG")
    whole = Image.open(io.BytesIO(data)).resize((384, 256), Image.BILINEAR)
    expected = np.asarray(whole.crop((80, 16, 304, 240)), int)
    got = decode.center_crop(data, 224).numpy()
    # The whole image's filter reaches over the crop's edge.
    np.testing.assert_allclose(got[1:-1, 1:-1], expected[1:-1, 1:-1], atol=1)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P"])
def test_other_kinds_of_images_become_rgb(mode):
    file = io.BytesIO()
    image = Image.new("RGB", (64, 48), (204, 204, 204)).convert(mode)
    image.save(file, "PNG" if mode in ("RGBA", "P") else "JPEG")
    for got in (decode.center_crop(file.getvalue(), 32), crop(file.getvalue(), 32, (0, 0))):
        assert got.shape == (32, 32, 3)
        np.testing.assert_allclose(np.asarray(got, int), 204, atol=3)
