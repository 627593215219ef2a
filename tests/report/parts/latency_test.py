"""The times of a search's cell in the report, and the record that they come from."""

import json

import pytest

from nge_jax.errors import InputError
from nge_jax.latency import record
from nge_jax.report.parts import latency
from nge_jax.workdir import artifacts


def measured(device="a phone", median=2.0, parameters=100):
    row = {"device": device, "network": "3 cells", "parameters": parameters, "multiply_adds": 9}
    return row | {"median": median, "low": 1.9, "high": 2.5, "share": 1.0}


def rows_of(workdir):
    (section,) = latency.sections(workdir)
    return [list(row) for row in section.blocks[1].rows]


def test_expected_summed_and_measured_times_stand_below_each_other(tmp_path):
    assert latency.sections(tmp_path) == []
    artifacts.write_sizes(tmp_path, [("network", 100, 9)])
    record.add_measured(tmp_path, measured())
    record.add_sums(tmp_path, "phone.csv", 2.5, 2.75)
    record.add_measured(tmp_path, measured("another", 5.0, parameters=101))
    assert rows_of(tmp_path) == [
        ["expected", "the last P, by phone.csv", "2.75", "", ""],
        ["summed", "the cell found, by phone.csv", "2.5", "", ""],
        ["measured", "3 cells, on a phone", "2", "1.9 to 2.5", "+25.0%"],
        ["measured", "3 cells, on another", "5", "1.9 to 2.5", ""],
    ]


def test_a_second_measurement_takes_the_place_of_the_first(tmp_path):
    for median in (2.0, 4.0):
        record.add_measured(tmp_path, measured(median=median))
    assert [row[2] for row in rows_of(tmp_path)] == ["4"]


def test_a_measurement_leaves_out_rows_that_are_none(tmp_path):
    (tmp_path / artifacts.LATENCY).write_text(json.dumps({"measured": [3]}))
    record.add_measured(tmp_path, measured())
    assert [row[2] for row in rows_of(tmp_path)] == ["2"]


def test_a_cell_that_no_p_gives_has_no_expected_time(tmp_path):
    record.add_sums(tmp_path, "phone.csv", 2.5, None)
    assert [row[0] for row in rows_of(tmp_path)] == ["summed"]


@pytest.mark.parametrize(
    "content", [{"table": {}}, {"measured": [{}]}, {"measured": [3]}, {"table": 3}]
)
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / artifacts.LATENCY).write_text(json.dumps(content))
    with pytest.raises(InputError, match="expected the times of a search"):
        latency.sections(tmp_path)
