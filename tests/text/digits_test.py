"""Numbers in messages and tables: tiny, ordinary and huge ones, none with an exponent."""

import pytest

from nge_jax.latency.timing import Timing
from nge_jax.settings.key import FLOAT, Limits
from nge_jax.text.digits import plain_digits, three_digits

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


def test_a_time_that_was_measured_is_told_alike():
    assert str(Timing(0.000_123_4, 1.5, 12_345.6, 20)) == "0.000123 ms (p10 1.5, p90 12,346)"


@pytest.mark.parametrize(
    "limits, value, expected",
    [
        (Limits(float, 0, 1e9), 2e9, "at most 1,000,000,000"),
        (Limits(float, 2.0, 1e9, above=True), 1, "more than 2"),
        (Limits(float, 1e-6, 0.5), 0, "0.000001 or more"),
        (Limits(float, 0, FLOAT), 1e39, "at most 3.4e+38"),
        (
            Limits(float, 0, 1e6, length=(1, 2)),
            (),
            "1 to 2 numbers, each 0 or more and at most 1,000,000",
        ),
    ],
)
def test_a_whole_limit_has_no_point(limits, value, expected):
    assert limits.describe(value) == expected
