"""Runs side by side, made of what workdirs record."""

import json

import numpy as np
import pytest

from nge_jax import cli
from nge_jax.errors import InputError
from nge_jax.report import compare, confusion
from nge_jax.report.parts import read, results
from nge_jax.space import genotype
from nge_jax.workdir import artifacts


def workdir(folder, name, accuracies, cell="DARTS_V2", **settings):
    """Writes the workdir of a training that has ended; settings are given by keys joined by dots."""
    path = folder / name
    path.mkdir(parents=True)
    config = {"task": "train", "seed": 0, "genotype": cell, "data": {"name": "cifar10", "dir": name},
              "run": {"keep_checkpoints": len(name)}}  # fmt: skip
    for key, value in settings.items():
        config[key] = value
    (path / "config.json").write_text(json.dumps(config))
    rows = [
        {"epoch": n, "step": n, "train_loss": 1 / n, "train_accuracy": accuracy, "seconds": 1.5}
        for n, accuracy in enumerate(accuracies, 1)
    ]
    rows[-1]["test_accuracy"] = accuracies[-1]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path / "genotype.json").write_text(genotype.to_json(genotype.load(cell)))
    return path


@pytest.fixture
def runs(tmp_path):
    one = workdir(tmp_path, "one", [0.5, 0.75])
    return [one, workdir(tmp_path, "two", [0.25, 0.5, 0.875], cell="random:1", seed=1)]


def test_results_and_differences_stand_side_by_side(runs):
    several = read.read_runs(runs)
    table = results.results_table(several)
    assert list(table.header) == [
        "Run", "Task", "Data", "Epochs", "Training loss", "Training accuracy", "Test accuracy", "Seconds",
    ]  # fmt: skip
    assert list(table.rows[1]) == [
        "two",
        "train",
        "cifar10",
        "3",
        "0.3333",
        "87.50%",
        "87.50%",
        "4.5",
    ]
    # The place of a run's data and the run's execution are no differences.
    assert compare.differences_table(several).rows == [
        ["seed", "0", "1"],
        ["genotype", "DARTS_V2", "random:1"],
    ]
    operations = compare.operations_table(several)
    assert operations.rows[0][:2] == ["one", "1 dil_conv_3x3, 5 sep_conv_3x3, 2 skip_connect"]


def test_sizes_and_random_cells_stand_beside_where_they_were_counted(runs):
    one, two = runs
    artifacts.write_sizes(one, [("the network", 1234, 56789), ("another", 1, 2)])
    values = {"found": 0.5, "random": {"random:0": 0.25, "random:1": 0.5}}
    artifacts.write_json(one / "random_cells.json", values)
    table = results.results_table(read.read_runs(runs))
    columns = {head: cells for head, *cells in compare.turned(table).rows}
    assert columns["Parameters"] == ["1,234", "–"] and columns["Multiply-adds"] == ["56,789", "–"]
    assert columns["Cell in its weights"] == ["50.00%", "–"]
    assert columns["Random cells"] == ["37.50%", "–"]
    counted = read.read_runs(runs, lambda path: [(path.name, 3, 4)])
    assert [run.sizes for run in counted] == [
        (1234, 56789),
        (3, 4),
    ]  # a report's counts stay
    (two / "sizes.json").write_text('{"networks": [{"name": "x"}]}')
    with pytest.raises(InputError, match="sizes.json: expected networks with name, parameters"):
        read.read_runs(runs)


@pytest.mark.parametrize(
    "name", ["none", "x" * 300]
)  # the second is longer than a file's name may be
def test_what_is_no_folder_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=f"{name}: no such folder, expected the workdir of a run"):
        read.read_runs([tmp_path / name])


def test_a_setting_that_one_task_alone_has_is_no_difference(runs):
    one, _ = runs
    config = json.loads((one / "config.json").read_text())
    (one / "config.json").write_text(
        json.dumps(config | {"task": "search", "search": {"epochs": 3}})
    )
    rows = compare.differences_table(read.read_runs(runs)).rows
    assert [row[0] for row in rows] == ["task", "seed", "genotype"]


def test_the_command_prints_the_tables_and_writes_a_page(runs, tmp_path, capsys):
    page = tmp_path / "page.html"
    cli.run(["compare", *map(str, runs), "--html", str(page)])
    printed = capsys.readouterr().out
    # The results need more than a terminal's 80 columns, and are transposed.
    assert "Task               train    train\n" in printed
    assert "genotype  DARTS_V2  random:1" in printed
    text = page.read_text()
    assert text.count("<figure>") == 5  # the curves and two cells of each
    narrow = text.count('<div class="scroll narrow"')
    assert text.count("<svg") == 5 + narrow and narrow
    assert "Settings that differ" in text
    assert "one: the normal cell." in text
    with pytest.raises(SystemExit):
        cli.run(["compare", *map(str, runs), "--html", str(page)])
    assert "exists and is not overwritten" in capsys.readouterr().err
    assert page.read_text() == text


def test_runs_of_one_name_are_told_apart_and_one_run_has_no_differences(tmp_path, capsys):
    first, second = workdir(tmp_path / "a", "run", [0.5]), workdir(tmp_path / "b", "run", [0.5])
    assert [run.name for run in read.read_runs([first, second])] == [str(first), str(second)]
    cli.run(["compare", str(first)])
    assert "Setting" not in capsys.readouterr().out


def test_names_that_are_no_text_stand_in_tables_and_pictures(tmp_path):
    runs = read.read_runs([workdir(tmp_path / at, "caf\udce9", [0.5]) for at in "ab"])
    assert [run.name for run in runs] == [rf"{tmp_path}/{at}/caf\xe9" for at in "ab"]
    assert compare.page(runs).count(r"caf\xe9") > 4


def test_dollar_signs_of_a_name_make_no_formula(tmp_path):
    runs = read.read_runs([workdir(tmp_path, "$_$", [0.5])])
    drawing = compare.curves_figure(runs)
    (name,) = drawing.legends[0].get_texts()
    assert name.get_text() == "$_$" and not name.get_parse_math()
    confusion.confusion_figure(np.eye(2, dtype=int), ["$_$", "b"])


@pytest.mark.parametrize("missing", ["", "metrics.jsonl", "config.json"])
def test_what_is_no_run_is_refused_in_one_line(tmp_path, capsys, missing):
    path = workdir(tmp_path, "run", [0.5])
    if missing:
        (path / missing).unlink()
    else:
        path = tmp_path / "nowhere"
    with pytest.raises(SystemExit, match="^2$"):
        cli.run(["compare", str(path)])
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and str(path / missing) in printed.err
