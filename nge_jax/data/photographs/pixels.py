"""Image files as a viewer shows them: the one reader of encoded images that is not TensorFlow's.

Orientation (EXIF), palettes, transparency (on white), 16-bit levels and CMYK are applied here. TensorFlow decodes the
JPEGs of a TFDS set, since it reads parts of them; what it cannot tell, their orientation, is read here, and whatever
is no JPEG it gets as a bitmap that was decoded here (`for_tensorflow`). Tests compare the two.
"""

import io
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from nge_jax import files
from nge_jax.errors import ArgumentError

# These endings are read, in any case. Animations and files of several pages give their first picture.
FORMATS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm",
)  # fmt: skip
FORMAT_NAMES = "JPEG, PNG, WebP, BMP, GIF, TIFF, PPM or PGM"
# PIL raises these for a file that is no image, is damaged, or is much too large.
UNREADABLE = (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError)
ORIENTATION = 0x0112  # EXIF's tag
UPRIGHT, TURNED = 1, (5, 6, 7, 8)  # TURNED: height and width change places
BACKWARDS, UPSIDE_DOWN = (2, 3, 6, 7), (3, 4, 7, 8)  # mirrored, once it is turned
JPEG = b"\xff\xd8\xff"
# The markers of a JPEG's segments. FRAMES hold the size, ALONE have no length. The others are the application segment
# with EXIF, the start of the pixels, and the end.
FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
ALONE, APP1, SCAN, END = {0x01, *range(0xD0, 0xD9)}, 0xE1, 0xDA, b"\xff\xd9"


def read_bytes(path: str | Path) -> bytes:
    """Reads a whole file; every image that is a file of its own is read by this.

    Raises:
      OSError: it cannot be read.
    """
    return files.read_bytes(path, files.IMAGE_BYTES)


def decode(data: bytes, channels: int = 3) -> np.ndarray:
    """Decodes an image as a viewer shows it: uint8 [H, W, channels], of 1 (gray) or 3 channels.

    Raises:
      one of UNREADABLE: it is no image, or a damaged one.
    """
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        viewed = _viewed(image, channels)
        return np.asarray(viewed).reshape(viewed.height, viewed.width, channels)


def fitted(data: bytes, height: int, width: int, channels: int) -> np.ndarray:
    """Decodes the largest centered crop of these proportions, resized: uint8 [height, width, channels].

    Raises:
      one of UNREADABLE: it is no image, or a damaged one.
    """
    with Image.open(io.BytesIO(data)) as image:
        # A JPEG is decoded at 1/2, 1/4 or 1/8 of its size, if the result is still twice the size asked for.
        side = 2 * max(width, height)
        image.draft(None, (side, side))
        image.load()
        image = ImageOps.fit(_viewed(image, channels), (width, height), Image.Resampling.BILINEAR)
        return np.asarray(image).reshape(height, width, channels)


def size(data: bytes) -> tuple[int, int]:
    """Returns height and width of an image, in no promised order; reads no pixels.

    Raises:
      one of UNREADABLE: it is no image.
    """
    with Image.open(io.BytesIO(data)) as image:
        return image.height, image.width


def stored(data: bytes) -> tuple[int, int, int]:
    """Returns height and width of an image as it is stored, and its EXIF orientation, 1 to 8; reads no pixels.

    Raises:
      one of UNREADABLE: it is no image.
    """
    with Image.open(io.BytesIO(data)) as image:
        return image.height, image.width, orientation(image)


def orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation of an opened image, 1 to 8."""
    return _valid(image.getexif().get(ORIENTATION))


def upright(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turns and mirrors an image [H, W, C] of this orientation to what a viewer shows."""
    turned = array.swapaxes(0, 1) if orientation in TURNED else array
    turned = turned[:, ::-1] if orientation in BACKWARDS else turned
    return turned[::-1] if orientation in UPSIDE_DOWN else turned


def shown_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Returns height and width of an image of this orientation as a viewer shows it."""
    return (width, height) if orientation in TURNED else (height, width)


def is_gray(data: bytes | BinaryIO) -> bool:
    """Whether an image's file has one channel of colors; reads no pixels, and only the beginning of an open file.

    Raises:
      one of UNREADABLE: it is no image.
    """
    with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
        return image.mode in ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")


def are_one_color(images: np.ndarray) -> np.ndarray:
    """Tells which of some images, uint8 [N, H, W, C], show one color and nothing else: bool [N]."""
    flat = np.zeros(len(images), bool)
    for start in range(0, len(images), 256):  # the images may be a file larger than the memory
        part = images[start : start + 256]
        flat[start : start + 256] = (part.max((1, 2)) == part.min((1, 2))).all(-1)
    return flat


def check(data: bytes) -> None:
    """Decodes all of an image.

    Raises:
      one of UNREADABLE: it is no image, or a damaged one.
    """
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        _viewed(image, 3)


def for_tensorflow(data: bytes) -> tuple[bytes, int]:
    """Returns an image as `decode` takes it, and its EXIF orientation, 1 to 8.

    A JPEG stays as it is, once its end has been found. TensorFlow may not read up to the end, and would miss that a
    file is cut off. Everything else becomes an upright bitmap.

    Raises:
      one of UNREADABLE: it is no image, or a damaged one.
    """
    if not data.startswith(JPEG):
        file = io.BytesIO()
        Image.fromarray(decode(data)).save(file, "BMP")
        return file.getvalue(), UPRIGHT
    orientation, scan = _jpeg_head(data)
    if data.rfind(END) < scan:
        raise ValueError("the file is cut off, its end is missing")
    return data, orientation


def _jpeg_head(data):
    """Reads (orientation, where the pixels begin) of a JPEG, from segment to segment."""
    orientation, at = UPRIGHT, 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF or marker in ALONE:  # a filling
            at += 1 if marker == 0xFF else 2
            continue
        if marker == SCAN:
            return orientation, at
        length = struct.unpack_from(">H", data, at + 2)[0]
        if marker in FRAMES and at + 9 <= len(data):
            _check_size(*struct.unpack_from(">HH", data, at + 5))
        if marker == APP1 and data[at + 4 : at + 10] == b"Exif\0\0":
            exif = Image.Exif()
            exif.load(data[at + 4 : at + 2 + length])
            orientation = _valid(exif.get(ORIENTATION))
        at += 2 + length
    raise ValueError("found no beginning of the pixels")


def _check_size(height, width):
    """Refuses what PIL refuses: so many pixels come from a header that lies, or would take the memory."""
    most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
    if most and height * width > most:
        raise Image.DecompressionBombError(f"{width}x{height} pixels, expected at most {most:,}")


def _valid(orientation):
    """Returns an orientation that EXIF defines; a viewer takes any other for upright."""
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else UPRIGHT


def _viewed(image, channels):
    """Makes a loaded image upright, of 8 bits and opaque, gray or in colors."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    elif image.mode == "La" or image.mode == "RGBa":  # colors already multiplied
        image = image.convert(image.mode.upper())
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image).convert("RGB")
    return image.convert("L" if channels == 1 else "RGB")


def _eight_bits(levels):
    """Scales gray levels of 16 bits to 8; others have no white that all agree on."""
    if levels.dtype.kind == "f" or levels.min() < 0 or levels.max() > 65535:
        raise ValueError("its gray levels are of more than 16 bits, expected 8 or 16")
    return np.round(levels / 257).astype(np.uint8)


def refused(path: str | Path, error: Exception) -> ArgumentError:
    """Makes the refusal of an image's file, in one line, by what has refused it: the system, PIL or TensorFlow."""
    # PIL names the object in memory that it has read.
    found_none = f"no image was found in it, expected {FORMAT_NAMES}"
    reason = found_none if isinstance(error, UnidentifiedImageError) else files.reason(error)
    return ArgumentError("images", f"{path} cannot be read as an image ({reason})")
