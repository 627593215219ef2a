"""The CSV of latencies, and times of a call by a clock in the test's hand."""

import re

import pytest

from nge_jax.errors import InputError
from nge_jax.latency import table, timing
from nge_jax.latency.parts import Part
from nge_jax.latency.timing import Timing

PART = Part("sep_conv_3x3", 8, 8, 2, 16, 16)


def test_a_table_is_read_again_with_its_remarks(tmp_path):
    text = table.to_csv({PART: Timing(0.5, 0.25, 1.0, 30)}, ["device: a phone"])
    assert text.splitlines()[:2] == ["# device: a phone", ",".join(table.COLUMNS)]
    (tmp_path / "t.csv").write_text(text)
    assert table.read(tmp_path / "t.csv") == {PART: 0.5}


def test_columns_may_stand_in_another_order_and_there_may_be_more(tmp_path):
    columns = [*reversed((*Part._fields, table.TIME)), "remark"]
    row = [*reversed((*map(str, PART), "0.75")), "warm"]
    (tmp_path / "t.csv").write_text(",".join(columns) + "\n" + ",".join(row) + "\n")
    assert table.read(tmp_path / "t.csv") == {PART: 0.75}


@pytest.mark.parametrize(
    "content, message",
    [
        ("a,b\n1,2\n", "found no column name, expected name, inputs"),
        ("", "found no column name"),
        (",".join(table.COLUMNS) + "\n", "found no rows"),
        (",".join(table.COLUMNS) + "\nx,1,1,1,1,1,fast,1,1\n", "row 1: found x,1,1,1,1,1,fast"),
        (",".join(table.COLUMNS) + "\nx,1,1,1,1,1,-3,1,1\n", "row 1: found -3.0 ms"),
        (",".join(table.COLUMNS) + "\nx,1,1,1,1,1,nan,1,1\n", "row 1: found nan ms"),
        (",".join(table.COLUMNS) + "\nx,1,1,1,1,1,1e300,1,1\n", "row 1: found 1e+300 ms"),
        (",".join(table.COLUMNS) + 2 * "\nx,1,1,1,1,1,3,1,1", "row 2: found x a second time"),
        (",".join(table.COLUMNS) + "\nx,1\n", "row 1: found x,1,None"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, content, message):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(InputError, match=re.escape(message)):
        table.read(tmp_path / "t.csv")


def test_times_are_percentiles_after_the_warm_up():
    now, calls = 0.0, 0

    def call():
        nonlocal now, calls
        calls += 1
        # Slow at first; then every tenth call is slow.
        now += 5.0 if calls <= timing.WARM_UP_CALLS else (0.9 if calls % 10 == 0 else 0.1)

    found = timing.measure(call, seconds=10.0, clock=lambda: now)
    assert found.median == pytest.approx(100) and found.low == pytest.approx(100)
    assert timing.LEAST_CALLS < found.calls < 100
    assert str(found).startswith("100 ms (p10 100, p90 ")
