"""The split of a search is pinned, and refuses an empty half."""

import numpy as np
import pytest

from nge_jax.data import order
from nge_jax.errors import ArgumentError, InputError, arguments_as


def test_split_is_pinned_disjoint_and_follows_the_seed():
    first, second = order.split(50000, 0.5, seed=0)
    assert len(first) == len(second) == 25000
    np.testing.assert_array_equal(np.sort(np.concatenate([first, second])), np.arange(50000))
    # Another machine or numpy must give the same halves.
    np.testing.assert_array_equal(first[:6], [1, 3, 4, 6, 7, 9])
    other, _ = order.split(50000, 0.5, seed=1)
    assert 12000 < len(np.intersect1d(first, other)) < 13000


@pytest.mark.parametrize("fraction", [0.0, 1.0, 1.5, -0.1, 1e-6])
def test_split_refuses_an_empty_half(fraction):
    with pytest.raises(
        ArgumentError, match=rf"^train_fraction: {fraction} leaves one half of 1000"
    ):
        order.split(1000, fraction, 0)
    with (
        pytest.raises(InputError, match=rf"^config\.data\.train_fraction: {fraction} leaves"),
        arguments_as(train_fraction="config.data.train_fraction"),
    ):
        order.split(1000, fraction, 0)
