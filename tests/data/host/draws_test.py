"""Philox: the random numbers of images, bit for bit TensorFlow's."""

import numpy as np

from nge_jax.data.host import draws
from nge_jax.devices import host_tf

RANDOM = np.random.RandomState(0)
SEEDS = np.concatenate([[[0, 0], [7, 3]], RANDOM.randint(-(2**62), 2**62, (20, 2))])


def test_the_numbers_are_tensorflows():
    tf = host_tf.tensorflow()
    floats, words, seeds = draws.uniform(SEEDS, 40), draws.words(SEEDS, 5), draws.split(SEEDS, 3)
    assert floats.dtype == np.float32 and words.dtype == np.uint32 and seeds.dtype == np.int64
    for n, seed in enumerate(SEEDS):
        expected = tf.random.stateless_uniform((4, 10), seed).numpy()
        np.testing.assert_array_equal(floats[n].reshape(4, 10), expected)
        whole = tf.random.stateless_uniform((5,), seed, 0, 7, tf.int32).numpy()
        np.testing.assert_array_equal(words[n] % 7, whole)
        np.testing.assert_array_equal(seeds[:, n], tf.random.split(seed, 3).numpy())
