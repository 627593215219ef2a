"""Numbers that are equal but for the last roundings of float32."""

import numpy as np


def assert_equal_but_for_roundings(found, expected):
    """Checks that no number is further off than two roundings of the largest.

    By jax 0.10 all of them are equal: XLA divides by a constant by multiplying with its inverse, and so do we by an
    argument. By 0.12 it divides.
    """
    largest = np.abs(np.asarray(expected, np.float32)).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=2 * np.spacing(largest))
