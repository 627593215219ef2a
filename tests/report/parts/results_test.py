"""Results side by side: means of runs that differ by their seed alone, and the CSV."""

import csv
import statistics

import pytest

from nge_jax import cli
from nge_jax.report.parts import read, results
from tests.helpers.recorded_runs import write_run


@pytest.fixture
def runs(tmp_path):
    """Three seeds of one config, and a run of another learning rate."""
    paths = [
        write_run(tmp_path / f"seed-{seed}", accuracy=accuracy, seed=seed)
        for seed, accuracy in enumerate((0.5, 0.75, 0.875))
    ]
    return [*paths, write_run(tmp_path / "other", accuracy=0.25, weights={"learning_rate": 1.0})]


def test_runs_that_differ_by_their_seed_have_a_mean(runs):
    found = read.read_runs(runs)
    assert results.same_but_seed(found) == [[0, 1, 2]]
    table = results.results_table(found)
    row = dict(zip(table.header, table.rows[-1], strict=True))
    assert len(table.rows) == 5 and row["Run"] == "mean of 3 seeds"
    assert row["Test accuracy"] == "70.83% ± 19.09%"
    assert row["Task"] == "train" and row["Data"] == "cifar10"


def test_the_place_of_data_is_no_difference_and_two_runs_of_one_seed_are_no_sample(tmp_path):
    data = [{"name": "cifar10", "dir": place} for place in ("here", "there")]
    one, two, again = (
        write_run(tmp_path / name, accuracy=0.5, seed=seed, data=data[n])
        for name, seed, n in (("one", 0, 0), ("two", 1, 1), ("again", 1, 0))
    )
    assert results.same_but_seed(read.read_runs([one, two])) == [[0, 1]]
    assert results.same_but_seed(read.read_runs([two, again])) == []


def test_a_result_that_one_run_lacks_has_no_mean(runs):
    lines = (runs[0] / "metrics.jsonl").read_text().replace("test_accuracy", "other")
    (runs[0] / "metrics.jsonl").write_text(lines)
    table = results.results_table(read.read_runs(runs))
    row = dict(zip(table.header, table.rows[-1], strict=True))
    assert row["Test accuracy"] == "–" and "±" in row["Training loss"]


def test_the_csv_has_all_digits(runs, tmp_path, capsys):
    file = tmp_path / "results.csv"
    cli.run(["compare", *map(str, runs), "--csv", str(file)])
    assert capsys.readouterr().out.endswith(f"table: {file}\n")
    rows = [*csv.DictReader(file.read_text().splitlines())]
    assert [row["Run"] for row in rows[-3:]] == ["other", "mean of 3 seeds", "sd of 3 seeds"]
    mean, deviation = (float(row["Test accuracy"]) for row in rows[-2:])
    assert mean == pytest.approx(2.125 / 3)
    assert deviation == pytest.approx(statistics.stdev((0.5, 0.75, 0.875)))
    with pytest.raises(SystemExit, match="^2$"):
        cli.run(["compare", *map(str, runs), "--csv", str(file)])
    assert "--csv: " in capsys.readouterr().err
