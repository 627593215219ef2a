"""VOC's palette, and palette PNGs."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nge_jax.data.voc_segmentation.palette import voc_palette
from nge_jax.segment import pictures

MASK = np.array([[0, 1, 2], [15, 20, 255]], np.uint8)


def test_the_colors_are_vocs():
    colors = voc_palette().tolist()
    assert len(colors) == 256
    # VOC's development kit documents these colors: background, aeroplane, bicycle, bird, person, monitor, void.
    assert [colors[i] for i in (0, 1, 2, 3, 15, 20, 255)] == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192],
    ]  # fmt: skip
    assert len({tuple(color) for color in colors}) == 256


def test_the_colors_are_those_of_the_real_masks():
    if "NGE_DATA_DIR" not in os.environ:
        pytest.skip("NGE_DATA_DIR is not set: no VOCdevkit here")
    folder = Path(os.environ["NGE_DATA_DIR"]) / "VOCdevkit/VOC2012/SegmentationClassAug"
    with Image.open(next(iter(sorted(folder.glob("*.png"))))) as mask:
        found = np.array(mask.getpalette()).reshape(-1, 3)
    np.testing.assert_array_equal(voc_palette()[:21], found[:21])


def test_a_written_mask_reads_as_numbers_and_as_colors_and_overwrites_nothing(tmp_path):
    path = tmp_path / "mask.png"
    pictures.write_png(path, MASK)
    with Image.open(path) as picture:
        assert picture.mode == "P"
        np.testing.assert_array_equal(np.asarray(picture), MASK)
        np.testing.assert_array_equal(picture.convert("RGB"), voc_palette()[MASK])
    with pytest.raises(FileExistsError):
        pictures.write_png(path, MASK)
