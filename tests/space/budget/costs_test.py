"""Costs in messages and tables, in the units of their keys."""

import pytest

from nge_jax.space.budget.costs import (
    MILLISECONDS,
    MULTIPLY_ADDS,
    PARAMETERS,
)


@pytest.mark.parametrize("kind", [PARAMETERS, MULTIPLY_ADDS])
def test_counts_have_all_their_digits(kind):
    assert [kind.show(count) for count in (1, 20_954, 2**31 - 1, 10**15 + 1)] == [
        "1", "20,954", "2,147,483,647", "1,000,000,000,000,001",
    ]  # fmt: skip


def test_nanoseconds_are_rounded_up_to_three_digits_of_milliseconds():
    assert [MILLISECONDS.show(count) for count in (1, 1234, 12_340_001, 123_000_001, 10**15)] == [
        "0.000001", "0.00124", "12.4", "124", "1,000,000,000",
    ]  # fmt: skip
