"""The comparison: the formula by plain loops, the sentence, and how often chance alone decides."""

import re
import statistics as plain

import numpy as np
import pytest

from nge_jax.study.statistics import Difference, compare, spread


def draw(rng, cells, trainings, images, accuracy=0.8):
    return [rng.random((trainings, images)) < accuracy for _ in range(cells)]


def by_loops(found, random):
    """The formula, word by word."""
    accuracies = [[100 * cell.mean() for cell in cells] for cells in (found, random)]
    f, r = map(len, accuracies)
    squares = sum((a - plain.fmean(group)) ** 2 for group in accuracies for a in group)
    of_cells = squares / (f + r - 2) * (1 / f + 1 / r)
    images = range(found[0].shape[1])
    answers = [
        plain.fmean(plain.fmean(100.0 * cell[:, i]) for cell in found)
        - plain.fmean(plain.fmean(100.0 * cell[:, i]) for cell in random)
        for i in images
    ]
    return plain.fmean(answers), (of_cells + plain.variance(answers) / len(images)) ** 0.5


@pytest.mark.parametrize("cells", [(1, 2), (1, 5), (3, 4)])
def test_the_difference_and_its_error_are_the_formulas(cells):
    rng = np.random.default_rng(0)
    found, random = draw(rng, cells[0], 3, 50, 0.9), draw(rng, cells[1], 3, 50)
    points, error = by_loops(found, random)
    result = compare(found, random)
    assert result.points == pytest.approx(points) and result.error == pytest.approx(error)
    assert result.smallest == pytest.approx(2 * error)
    assert (result.found, result.random, result.trainings, result.images) == (*cells, 3, 50)


def test_the_images_are_paired():
    """Cells that all fail at the same images differ by less than cells that fail at different ones."""
    right = np.arange(100) < 80
    alike = [np.tile(right, (2, 1))] * 4
    apart = [np.tile(np.roll(right, 25 * n), (2, 1)) for n in range(4)]
    assert compare(alike[:1], alike[1:]).error == pytest.approx(0, abs=1e-9)
    assert compare(apart[:1], apart[1:]).error > 3


def test_chance_alone_seldom_decides():
    rng = np.random.default_rng(1)
    decided = [compare(draw(rng, 2, 2, 200), draw(rng, 6, 2, 200)).decides for _ in range(300)]
    assert np.mean(decided) < 0.06
    better = [compare(draw(rng, 2, 2, 200, 0.95), draw(rng, 6, 2, 200)).decides for _ in range(100)]
    assert np.mean(better) > 0.9


@pytest.mark.parametrize(
    "points, words",
    [
        (3.0, "the cells found are better than random cells of the same cost by 3.00 ± 1.00 points"),
        (-3.0, "the cells found are worse than random cells of the same cost by 3.00 ± 1.00 points"),
        (2.0, "no difference is shown .*: +2.00 ± 1.00 points .*; the smallest that so many can show is 2.00 points"),
    ],
)  # fmt: skip
def test_the_sentence_says_what_two_errors_decide(points, words):
    sentence = Difference(points, 1.0, 1, 5, 3, 10_000).sentence()
    assert re.match(words.replace("+", r"\+"), sentence)
    assert "(n = 1 and 5 cells, 3 trainings each, 10,000 test images)" in sentence


def test_a_single_value_has_no_deviation():
    assert spread([1.0]) == (1.0, None)
    assert spread([1.0, 3.0]) == (2.0, pytest.approx(2**0.5))
