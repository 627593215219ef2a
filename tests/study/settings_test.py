"""The arguments of `nge study`: whose keys they are, and how wrong ones are refused."""

import pytest

from nge_jax.errors import InputError
from nge_jax.study import settings
from nge_jax.study.settings import KEYS, Settings, divide


def test_the_settings_are_the_rows():
    assert [key.name for key in KEYS] == [f"study.{name}" for name in Settings._fields]
    assert divide([]).study == Settings(1, 3, 5, 0.0, True)
    for key in KEYS:
        key.check(key.default)
        assert key.name in settings.describe()
    assert max(map(len, settings.describe().splitlines())) <= 80


def test_arguments_are_divided_by_whose_keys_they_set():
    arguments = divide(
        ["seed=1", "study.seeds=4", "recipe.train.epochs=3", "study.plain=false", "study.minutes=2"]
    )
    assert arguments.search == ("seed=1",) and arguments.recipe == ("train.epochs=3",)
    assert arguments.study == Settings(4, 3, 5, 2.0, False)


@pytest.mark.parametrize(
    "argument, message",
    [
        ("study.sedes=2", "config.study.sedes: no such key of a study, did you mean study.seeds"),
        ("study.seeds=0", "config.study.seeds: found 0, expected 1 or more"),
        ("study.random_cells=1", "config.study.random_cells: found 1, expected 2 or more"),
        ("study.seeds=2.5", "config.study.seeds: found '2.5', expected an integer"),
        ("study.minutes=inf", "config.study.minutes: found inf, expected 0 or more"),
        ("study.plain=maybe", "config.study.plain: found 'maybe', expected True or False"),
        ("study.minutes=x", "config.study.minutes: found 'x', expected a number"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_key(argument, message):
    with pytest.raises(InputError, match=message):
        divide([argument])
