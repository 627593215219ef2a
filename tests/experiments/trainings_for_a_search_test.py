"""The number of trainings that a search is worth, against drawn searches."""

import numpy as np
import pytest

import trainings_for_a_search as trainings


def test_the_expectation_is_the_mean_of_drawn_searches():
    tests = np.array(
        [90.0, 95.0, 80.0, 10.0]
    )  # the cell that validates best is not the best in the test
    drawn = np.random.default_rng(0).integers(0, 4, (200_000, 3)).min(1)
    mean, deviation = trainings.expectation(tests, 3)
    assert mean == pytest.approx(tests[drawn].mean(), abs=0.2)
    assert deviation == pytest.approx(tests[drawn].std(), abs=0.2)


def test_one_training_is_a_random_cell_and_more_are_better():
    tests = np.array([95.0, 90.0, 85.0, 50.0])
    assert trainings.expectation(tests, 1) == pytest.approx((80.0, tests.std()))
    assert trainings.worth(tests, 80.0) == 1
    assert trainings.worth(tests, 94.0) == 6
    assert trainings.worth(tests, 95.5) is None
