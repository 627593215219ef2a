"""The data of searches that take seconds."""

import numpy as np
import pytest

from nge_jax.data import small


@pytest.fixture(scope="module")
def data():
    """Noise whose brightness is its class."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 64).astype(np.int32)
    images = rng.integers(0, 80, (64, 8, 8, 1)) + 80 * labels[:, None, None, None]
    return small.ArrayDataset(images.astype(np.uint8), labels, None, None, 3, (0.5,), (0.25,))
