"""Resizing of arrays, bit for bit TensorFlow's."""

import numpy as np
import pytest

from nge_jax.data.host import resample
from nge_jax.devices import host_tf


@pytest.mark.parametrize("size", [(40, 30), (61, 47), (17, 90), (1, 1), (9, 200)])
def test_every_method_is_tensorflows(size):
    tf = host_tf.tensorflow()
    pixels = np.random.RandomState(0).randint(0, 256, (40, 30, 3)).astype(np.uint8)

    def expected(**options):
        return np.round(tf.image.resize(pixels, size, **options).numpy()).astype(np.uint8)

    np.testing.assert_array_equal(resample.bilinear(pixels, size), expected())
    np.testing.assert_array_equal(resample.averaged(pixels, size), expected(antialias=True))
    np.testing.assert_array_equal(resample.nearest(pixels, size), expected(method="nearest"))


def test_a_window_is_a_part_of_the_whole():
    pixels = np.random.RandomState(0).randint(0, 256, (40, 30, 3)).astype(np.uint8)
    for window in np.s_[5:50, 3:80], np.s_[70:75, 1:2], np.s_[0:80, 0:90]:
        found = resample.bilinear(pixels, (80, 90), window)
        np.testing.assert_array_equal(found, resample.bilinear(pixels, (80, 90))[window])
