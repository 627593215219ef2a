"""The trainings that fit into a time: cells and seeds give way before epochs, and nothing exceeds the time."""

import pytest

from nge_jax.study.budget import MARGIN, Fit, count_trainings, describe, fit

WANTED = Fit(random_cells=5, training_seeds=3, epochs=20)
FOUND, OTHERS = 1, 2


def seconds(chosen, an_epoch=1.0):
    count = count_trainings(FOUND, chosen.random_cells, OTHERS, chosen.training_seeds)
    return count * chosen.epochs * an_epoch * (1 + MARGIN)


def test_all_trainings_are_counted():
    assert count_trainings(found=2, random=5, others=2, seeds=3) == 3 * (2 * 6 + 2)


def test_with_enough_time_nothing_gives_way():
    assert fit(WANTED, seconds(WANTED), 1.0, FOUND, OTHERS) == WANTED
    assert describe(WANTED, WANTED) == "study.minutes: all trainings fit into the time"


def test_cells_and_seeds_give_way_before_epochs():
    chosen = fit(WANTED, seconds(WANTED) - 1, 1.0, FOUND, OTHERS)
    # 21 trainings of 4 random cells are more than 16 of 2 seeds.
    assert chosen == Fit(4, 3, 20)
    least = fit(WANTED, seconds(Fit(2, 2, 20)), 1.0, FOUND, OTHERS)
    assert least == Fit(2, 2, 20)
    line = describe(WANTED, least)
    assert line.endswith("2 of 5 random cells for each cell found, 2 of 3 training seeds")


def test_epochs_give_way_at_last():
    chosen = fit(WANTED, seconds(Fit(2, 2, 7)), 1.0, FOUND, OTHERS)
    assert chosen == Fit(2, 2, 7)
    assert describe(WANTED, chosen).endswith("7 of 20 epochs")
    assert fit(WANTED, -5.0, 1.0, FOUND, OTHERS) == Fit(2, 2, 1)


@pytest.mark.parametrize("part", [0.9, 0.5, 0.3, 0.1, 0.05])
@pytest.mark.parametrize("an_epoch", [0.01, 30.0])
def test_the_choice_keeps_to_the_time(part, an_epoch):
    time = part * seconds(WANTED, an_epoch)
    assert seconds(fit(WANTED, time, an_epoch, FOUND, OTHERS), an_epoch) <= time


def test_a_single_seed_is_no_less_than_wanted():
    assert fit(Fit(2, 1, 10), 1.0, 1.0, 1, 1) == Fit(2, 1, 1)
