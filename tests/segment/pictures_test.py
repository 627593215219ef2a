"""Pictures of segmentations: the colors, and a figure with a row for each image."""

import numpy as np
from PIL import Image

from nge_jax.data.voc_segmentation.devkit import CLASSES
from nge_jax.data.voc_segmentation.palette import voc_palette
from nge_jax.report import figure
from nge_jax.segment import pictures
from nge_jax.segment.pictures import SegmentedImage

MASK = np.array([[0, 1, 2], [15, 20, 255]], np.uint8)
PREDICTION = np.array([[0, 2, 2], [15, 0, 7]], np.uint8)
EXAMPLE = SegmentedImage("2007_1", np.arange(18, dtype=np.uint8).reshape(2, 3, 3), MASK, PREDICTION)


def test_side_by_side_shows_image_truth_prediction_and_error():
    picture = pictures.side_by_side(EXAMPLE)
    assert picture.shape == (2, 4 * 3 + 3 * pictures.GAP, 3) and picture.dtype == np.uint8
    parts = [picture[:, i * (3 + pictures.GAP) :][:, :3] for i in range(4)]
    np.testing.assert_array_equal(parts[0], EXAMPLE.image)
    np.testing.assert_array_equal(parts[1], voc_palette()[MASK])
    np.testing.assert_array_equal(parts[2], voc_palette()[PREDICTION])
    right, wrong, unlabeled = pictures.RIGHT, pictures.WRONG, pictures.UNLABELED
    expected = [[right, wrong, right], [right, wrong, unlabeled]]
    np.testing.assert_array_equal(parts[3], np.array(expected))
    assert (picture[:, 3 : 3 + pictures.GAP] == 255).all()


def test_a_figure_has_a_row_for_each_example_and_names_the_classes_in_them(tmp_path):
    drawing = pictures.examples_figure([EXAMPLE, EXAMPLE._replace(name="2007_2")], CLASSES)
    assert [len(axes.images) for axes in drawing.axes] == [1] * 8
    assert [axes.get_title(loc="left") for axes in drawing.axes[:4]] == list(pictures.TITLES)
    texts = [text.get_text() for text in drawing.legends[0].get_texts()]
    assert texts == [
        "background", "aeroplane", "bicycle", "car", "person", "tvmonitor", "wrong", "no label",
    ]  # fmt: skip
    many = [f"class {number}" for number in range(99)] + ["a $_$ name " * 9] * 100
    mask = np.arange(150, dtype=np.uint8).reshape(10, 15)
    taller = pictures.examples_figure(
        [
            EXAMPLE._replace(
                name="$_$", mask=mask, prediction=mask, image=np.zeros((10, 15, 3), np.uint8)
            )
        ],
        many,
    )
    taller.canvas.draw()
    legend, below = taller.legends[0].get_window_extent(), taller.axes[0].get_window_extent().y0
    assert legend.y1 < below and legend.x0 > 0 and legend.x1 < taller.bbox.width
    figure.save(drawing, tmp_path / "examples")
    with Image.open(tmp_path / "examples.png") as picture:
        assert picture.size == (1600, 800)
    assert (tmp_path / "examples.svg").stat().st_size > 1000
