"""Images are read as a viewer shows them: PIL's reader on hand-made images, TensorFlow's against PIL's."""

import io

import numpy as np
import pytest
from PIL import Image

from nge_jax.data.photographs import decode, pixels

HEIGHT, WIDTH = 40, 56


def smooth(height=HEIGHT, width=WIDTH):
    """Colors that tell up from down and left from right, uint8 [height, width, 3]."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // width, y * 255 // height, 60 + 0 * x], -1).astype(np.uint8)


def encode(image, form="PNG", **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


# EXIF's definitions: each turns a stored image into the image that is shown.
SHOWN = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


def tagged(orientation, form):
    exif = Image.Exif()
    exif[pixels.ORIENTATION] = orientation
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 97, "subsampling": 0}}
    return encode(Image.fromarray(smooth()), form, exif=exif, **lossless.get(form, {}))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", SHOWN)
def test_an_image_is_read_as_it_is_shown(orientation, form):
    expected = SHOWN[orientation](smooth()).astype(int)
    got = pixels.decode(tagged(orientation, form)).astype(int)
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= (4 if form == "JPEG" else 0)
    encoded, kept = pixels.for_tensorflow(tagged(orientation, form))
    assert kept == (orientation if form == "JPEG" else 1)
    # The test's crop, and one at random, of the image as it is shown.
    upright = pixels.for_tensorflow(encode(Image.fromarray(SHOWN[orientation](smooth()))))
    for crop in (decode.center_crop, lambda *a: decode.random_crop(*a[:2], (3, 5), *a[2:])):
        crops = [
            crop(data, 24, turn).numpy().astype(int) for data, turn in (upright, (encoded, kept))
        ]
        assert np.abs(crops[0] - crops[1]).max() <= 8
        assert np.abs(crops[0] - crops[1][:, ::-1]).max() > 60  # mirrored it would not pass


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_that_exif_does_not_define_is_upright(orientation):
    exif = Image.Exif()
    exif[pixels.ORIENTATION] = orientation
    data = encode(Image.fromarray(smooth()), "JPEG", exif=exif)
    assert pixels.decode(data).shape == smooth().shape
    assert pixels.for_tensorflow(data)[1] == 1


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_levels_of_16_bits_are_scaled_not_cut_off(form):
    levels = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    data = encode(Image.fromarray(levels), form)
    for channels in (1, 3):
        got = pixels.decode(data, channels)
        assert got.shape == (HEIGHT, WIDTH, channels) and got.dtype == np.uint8
        np.testing.assert_allclose(got[..., 0], levels / 257, atol=0.5)
    assert pixels.is_gray(data)


def test_levels_without_a_white_are_refused():
    for levels in (np.full((4, 4), 0.5, np.float32), np.full((4, 4), 1 << 20, np.int32)):
        with pytest.raises(pixels.UNREADABLE, match="more than 16 bits"):
            pixels.decode(encode(Image.fromarray(levels), "TIFF"))


def transparent(mode):
    """Half of an image of this mode is clear: a viewer shows white there."""
    colors = np.zeros((8, 8, 4), np.uint8)
    colors[..., 0], colors[:, 4:, 3] = 200, 255
    image = Image.fromarray(colors)
    if mode == "P":
        image = Image.fromarray((colors[..., 3] > 0).astype(np.uint8))
        image.putpalette([9, 9, 9, 200, 0, 0])
        return encode(image, "PNG", transparency=0)
    return encode(image.convert(mode), "PNG")


@pytest.mark.parametrize(
    "mode, color", [("RGBA", (200, 0, 0)), ("P", (200, 0, 0)), ("LA", (60,) * 3)]
)
def test_what_is_transparent_is_white(mode, color):
    got = pixels.decode(transparent(mode))
    assert (got[:, :4] == 255).all()
    np.testing.assert_allclose(got[:, 4:] - np.array(color, int), 0, atol=1)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA", "P", "1"])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_both_readers_see_the_same(mode, form):
    """TensorFlow's crop equals the crop of PIL's pixels, for every kind of file."""
    image = Image.fromarray(smooth()).convert(mode)
    try:
        data = encode(image, form)
    except (OSError, ValueError):
        pytest.skip(f"no {form} of mode {mode}")
    upright = encode(Image.fromarray(pixels.decode(data)))
    encoded, orientation = pixels.for_tensorflow(data)
    got = decode.center_crop(encoded, 16, orientation).numpy().astype(int)
    expected = decode.center_crop(*[pixels.for_tensorflow(upright)[0], 16]).numpy().astype(int)
    # TensorFlow decodes a JPEG twice as large as the crop at half the size. Black and white dots then differ most.
    close = 0 if form != "JPEG" else 48 if mode == "1" else 16
    assert np.abs(got - expected).max() <= close


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF"])
def test_an_image_that_is_cut_off_is_refused_wherever_it_is_cropped(form):
    noise = np.random.RandomState(0).randint(0, 255, (64, 64, 3)).astype(np.uint8)
    data = encode(Image.fromarray(noise), form)
    pixels.check(data)
    pixels.for_tensorflow(data)
    for part in (data[: len(data) * 9 // 10], data[:40], b"", b"no image"):
        for read in (pixels.decode, pixels.for_tensorflow, lambda d: pixels.fitted(d, 8, 8, 3)):
            with pytest.raises(pixels.UNREADABLE):
                read(part)


@pytest.mark.parametrize("data", [b"", b"a text\n", b"\x89PNG"])
def test_what_is_no_image_is_refused_in_words(data):
    expected = "JPEG, PNG, WebP, BMP, GIF, TIFF, PPM or PGM"
    for read in (pixels.decode, pixels.for_tensorflow, pixels.check, pixels.stored):
        with pytest.raises(pixels.UNREADABLE) as error:
            read(data)
        assert str(pixels.refused("x.jpg", error.value)) == (
            f"images: x.jpg cannot be read as an image (no image was found in it, expected {expected})"
        )


def test_the_middle_is_fitted_and_gray_is_told_from_colors():
    data = encode(Image.fromarray(smooth(300, 200)), "JPEG")
    got = pixels.fitted(data, 20, 20, 3)
    assert got.shape == (20, 20, 3)
    np.testing.assert_allclose(got[:, 10, 1].astype(int), np.linspace(47, 207, 20), atol=8)
    assert pixels.fitted(data, 5, 7, 1).shape == (5, 7, 1)
    assert not pixels.is_gray(data)
    assert pixels.is_gray(encode(Image.fromarray(smooth()).convert("L")))
