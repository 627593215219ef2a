"""Costs in messages and tables: tiny, ordinary and huge numbers, none with an exponent."""

import pytest

from nge_jax.latency.timing import Timing
from nge_jax.space.budget.costs import (
    MILLISECONDS,
    MULTIPLY_ADDS,
    PARAMETERS,
    plain_digits,
    three_digits,
)

TINY, HUGE = 1e-6, 1e9  # milliseconds


@pytest.mark.parametrize(
    "value, given, rounded",
    [
        (TINY, "0.000001", "0.000001"),
        (0.000_012_345, "0.000012345", "0.0000123"),
        (0.0, "0", "0"),
        (4.5, "4.5", "4.5"),
        (0.9996, "0.9996", "1"),
        (99.96, "99.96", "100"),
        (12_345.6, "12,345.6", "12,346"),
        (HUGE, "1,000,000,000", "1,000,000,000"),
        (10**15 + 1, "1,000,000,000,000,001", "1,000,000,000,000,001"),
    ],
)
def test_numbers_have_no_exponent(value, given, rounded):
    assert (plain_digits(value), three_digits(value)) == (given, rounded)
    assert three_digits(-value) in (f"-{rounded}", "0")


def test_a_number_beyond_all_use_is_no_failure():
    assert [three_digits(value) for value in (1e300, float("inf"), float("nan"))] == [
        "1e+300", "inf", "nan",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [PARAMETERS, MULTIPLY_ADDS])
def test_counts_have_all_their_digits(kind):
    assert [kind.show(count) for count in (1, 20_954, 2**31 - 1, 10**15 + 1)] == [
        "1", "20,954", "2,147,483,647", "1,000,000,000,000,001",
    ]  # fmt: skip


def test_nanoseconds_are_rounded_up_to_three_digits_of_milliseconds():
    assert [MILLISECONDS.show(count) for count in (1, 1234, 12_340_001, 123_000_001, 10**15)] == [
        "0.000001", "0.00124", "12.4", "124", "1,000,000,000",
    ]  # fmt: skip


def test_a_time_that_was_measured_is_told_alike():
    assert str(Timing(0.000_123_4, 1.5, 12_345.6, 20)) == "0.000123 ms (p10 1.5, p90 12,346)"
