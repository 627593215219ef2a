"""What the reports of all tasks share."""

import json

import pytest

from nge_jax.errors import InputError
from nge_jax.report import run as report_run
from nge_jax.report.document import Code, Picture, Section, Text
from nge_jax.space.genotype import random_genotype, to_json


def test_later_line_of_an_epoch_adds_to_it(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"epoch": 2, "a": 1}\n{"epoch": 1, "a": 0}\n{"epoch": 2, "a": 3, "b": 4}\n')
    epochs = report_run.read_epochs(tmp_path, {"A": ("a", ".1f")})
    assert epochs == [{"epoch": 1, "a": 0}, {"epoch": 2, "a": 3, "b": 4}]
    columns = {"Epoch": ("epoch", ".0f"), "A": ("a", ".1f")}
    assert report_run.epoch_table(epochs, columns).rows == [["1", "0.0"], ["2", "3.0"]]
    with pytest.raises(InputError, match="epoch 1: expected the key b"):
        report_run.read_epochs(tmp_path, {"B": ("b", ".1f")})


@pytest.mark.parametrize(
    "seconds, said",
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3901.5, "1 h 5 min"),
    ],
)
def test_durations_are_told_in_words(seconds, said):
    assert report_run._duration(seconds) == said


def test_a_long_cell_has_a_drawing_for_narrow_screens(tmp_path):
    genotype = random_genotype(1)  # nodes 0, 1 and 2 of the normal cell stand in a row
    normal, reduction, code = report_run.cells_section(tmp_path, genotype).blocks
    assert isinstance(normal, Picture) and isinstance(reduction, Picture)
    assert (normal.narrow_stem, reduction.narrow_stem) == ("cell_normal_narrow", "")
    assert code == Code(to_json(genotype), summary="genotype.json")
    assert {path.name for path in tmp_path.iterdir()} == {
        *("cell_normal.png", "cell_normal.svg", "cell_normal_narrow.svg"),
        *("cell_reduction.png", "cell_reduction.svg"),
    }


def test_a_report_ends_with_settings_and_environment(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"seed": 3, "data": {"name": "<script>"}}))
    (tmp_path / "environment.json").write_text(json.dumps({"versions": {"jax": "1"}}))
    path = report_run.write(tmp_path, "Title", {}, [Section("First", [Text("text")])])
    assert path == tmp_path / "report.html"
    text = path.read_text()
    assert text.index("First") < text.index("Settings") < text.index("Environment")
    assert "data.name" in text and "&lt;script&gt;" in text and "<script>" not in text
    markdown = (tmp_path / "report.md").read_text()
    assert "| data.name | &lt;script&gt; |\n" in markdown and "| versions.jax | 1 |\n" in markdown
