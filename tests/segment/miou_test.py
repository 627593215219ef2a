"""Mean IoU compared with scikit-learn's confusion matrix, and the loss compared with a loop over pixels."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics

from nge_jax.segment.miou import confusion_matrix, mean_iou
from nge_jax.segment.step import segmentation_cross_entropy

CLASSES = 6


def random_masks(case):
    """Draws predictions and masks [5, 8, 9] of classes; the masks also have 255."""
    random = np.random.RandomState(0)
    shape = 5, 8, 9
    masks = random.choice([*range(CLASSES), 255], shape).astype(np.uint8)
    predictions = np.where(random.rand(*shape) < 0.6, masks, random.randint(0, CLASSES, shape))
    predictions[predictions == 255] = 1
    if case == "a class in neither":
        masks[masks == 2] = 3
        predictions[predictions == 2] = 3
    if case == "a class in the predictions alone":
        masks[masks == 2] = 255
    if case == "a class in the masks alone":
        predictions[predictions == 2] = 3
    if case == "ignored images":
        masks[1:4] = 255
    return predictions.astype(np.int32), masks


@pytest.mark.parametrize("case", [
    "all", "a class in neither", "a class in the predictions alone", "a class in the masks alone",
    "ignored images",
])  # fmt: skip
def test_mean_iou_is_scikit_learns(case):
    predictions, masks = random_masks(case)
    summed = np.zeros([CLASSES, CLASSES], np.int64)
    for p, m in zip(predictions, masks, strict=True):
        summed += np.asarray(confusion_matrix(p, m, CLASSES))
    counted = masks != 255
    args = masks[counted], predictions[counted]
    expected = sklearn.metrics.confusion_matrix(*args, labels=range(CLASSES))
    np.testing.assert_array_equal(summed, expected)
    result = mean_iou(summed)
    per_class = sklearn.metrics.jaccard_score(
        *args, labels=range(CLASSES), average=None, zero_division=0
    )
    present = np.unique(args[0])
    absent = {2} if case in ("a class in neither", "a class in the predictions alone") else set()
    assert {c for c, iou in enumerate(result.per_class) if iou is None} == absent
    np.testing.assert_allclose([result.per_class[c] for c in present], per_class[present])
    assert result.mean == pytest.approx(per_class[present].mean())
    assert result.accuracy == pytest.approx(sklearn.metrics.accuracy_score(*args))
    assert result.pixels == counted.sum()


def test_a_set_without_labels_has_no_mean():
    nothing = np.full([2, 4, 4], 255, np.uint8)
    matrix = confusion_matrix(np.zeros([2, 4, 4], np.int32), nothing, CLASSES)
    result = mean_iou(matrix)
    assert math.isnan(result.mean) and result.pixels == 0
    assert result.per_class == (None,) * CLASSES


def test_cross_entropy_is_summed_over_labeled_pixels():
    _, masks = random_masks("ignored images")
    logits = 3 * jax.random.normal(jax.random.key(0), (*masks.shape, CLASSES))
    total, count = jax.jit(segmentation_cross_entropy)(logits, masks)
    expected = [
        np.log(np.exp(pixel.astype(np.float64)).sum()) - pixel[m]
        for pixel, m in zip(np.asarray(logits).reshape(-1, CLASSES), masks.ravel(), strict=True)
        if m != 255
    ]
    assert count == len(expected) and total == pytest.approx(sum(expected), rel=1e-5)


def test_ignored_pixels_have_no_gradient():
    masks = jnp.array([[[0, 255, 2]]], jnp.uint8)
    logits = jax.random.normal(jax.random.key(0), (1, 1, 3, CLASSES))
    gradient = jax.grad(lambda x: segmentation_cross_entropy(x, masks)[0])(logits)
    assert (np.abs(gradient).max(-1) > 0).tolist() == [[[True, False, True]]]
    total, count = segmentation_cross_entropy(logits, jnp.full((1, 1, 3), 255))
    assert (total, count) == (0, 0)
