"""The parts that the reports of all tasks share."""

import base64
import json
import re
import shlex

import pytest

from nge_jax.errors import InputError
from nge_jax.report import reproduce
from nge_jax.report import run as report_run
from nge_jax.report.document import Code, Picture, Section, Text
from nge_jax.settings import configs
from nge_jax.space.genotype import random_genotype


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
    assert code == Code(genotype.to_json(), summary="genotype.json")
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


START = {
    "device_kind": "cpu",
    "device_count": 1,
    "device_platform": "cpu",
    "processor": "Abacus 3000",
    "host_cpus": 2,
    "started": "2026-01-01T10:00:00+0000",
    "ended": "2026-01-01T10:01:30+0000",
    "compile_seconds": 20.4,
    "peak_memory_bytes": 1.5e9,
}


def facts(folder, environment):
    (folder / "config.json").write_text("{}")
    (folder / "environment.json").write_text(json.dumps(environment))
    return report_run.run_facts(folder, [{"epoch": 1, "seconds": 60.0}])


def test_times_and_memory_are_of_all_starts(tmp_path):
    again = START | {"ended": "2026-01-02T10:00:10+0000", "started": "2026-01-02T10:00:00+0000"}
    assert facts(tmp_path, START | {"resumed": {"1": again | {"peak_memory_bytes": 2e9}}}) == {
        "Device": "Abacus 3000, 2 CPUs",
        "Epochs": "1",
        "Total time": "1 min 40 s",
        "Compiling": "41 s",
        "Search": "1 min 0 s",
        "Ended": "2026-01-02 10:00 +0000",
        "Peak memory": "2.00 GB",
    }
    set_back = START | {"ended": "2025-12-31T10:00:00+0000"}
    assert "Total time" not in facts(tmp_path, set_back)
    counted = set_back | {"started_monotonic": 50.5, "ended_monotonic": 140.5}
    assert facts(tmp_path, counted)["Total time"] == "1 min 30 s"
    killed = {key: value for key, value in START.items() if key != "ended"}
    assert (
        facts(tmp_path, killed | {"resumed": {"1": again}})["Total time"] == "at least 1 min 41 s"
    )
    long = killed | {"resumed": {"1": again | {"ended": "2026-01-02T10:03:00+0000"}}}
    assert facts(tmp_path, long)["Total time"] == "at least 3 min 0 s"


def test_an_older_run_tells_what_it_has(tmp_path):
    old = {"device_kind": "NVIDIA H100", "device_count": 2}
    assert facts(tmp_path, old) == {
        "Device": "2 × NVIDIA H100",
        "Epochs": "1",
        "Search": "1 min 0 s",
    }


@pytest.mark.parametrize(
    "key, value",
    [
        ("started", "yesterday"),
        ("ended", 7),
        ("compile_seconds", "long"),
        ("peak_memory_bytes", None),
        ("resumed", {"1": "x"}),
        ("resumed", [1]),
    ],
)
def test_what_somebody_has_edited_is_left_out(tmp_path, key, value):
    assert facts(tmp_path, START | {key: value})["Search"] == "1 min 0 s"


def test_a_page_carries_the_runs_files(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "environment.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1}')
    (tmp_path / "architecture.npz").write_bytes(b"x" * (report_run.LARGEST_DOWNLOAD + 1))
    path = report_run.write(tmp_path, "Title", {}, [])
    links = re.findall('<a download="(.*?)" href="data:(.*?);base64,(.*?)">', path.read_text())
    assert [name for name, *_ in links] == ["metrics.jsonl", "config.json", "environment.json"]
    for name, _, content in links:
        assert base64.b64decode(content) == (tmp_path / name).read_bytes()
    assert "[metrics.jsonl](metrics.jsonl)" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    "task, given, settings",
    [
        ("search", "search_digits:evolution,smoke", ["seed=3", "weights.learning_rate=0.5"]),
        ("train", "train_imagenet:imagenette", ["data.jitter=(0.1,0.2,0.3,0.0)", "data.dir=a b"]),
        ("segment", "segment_voc", ["run.pictures=3"]),
        ("search", "search_digits:gradient", ["search.seeds=4,5", "search.edge_models=nge,alpha"]),
        ("search", "search_digits:gradient", ["search.edge_models=alpha"]),
    ],
)
def test_the_command_makes_the_settings_again(tmp_path, task, given, settings):
    config = configs.read_config(given, [f"--config.{setting}" for setting in settings])
    recorded = configs.to_values(config)
    (tmp_path / "config.json").write_text(json.dumps(recorded))
    nge, said, name, *rest = shlex.split(reproduce.command(tmp_path))
    assert (nge, said) == ("nge", task)
    assert len(rest) == len(settings) + 1 and rest.pop().startswith("--workdir=runs/")
    again = configs.read_config(name, [f"--config.{setting}" for setting in rest])
    assert configs.to_values(again) == recorded


@pytest.mark.parametrize(
    "written, expected",
    [("nge,alpha", ["nge", "alpha"]), ("(nge,)", ["nge"]), ("('nge', 'rnn')", ["nge", "rnn"]), ("", []), ("()", [])],
)  # fmt: skip
def test_words_of_a_key_need_no_quotes(written, expected):
    config = configs.read_config("search_digits", [f"--config.search.edge_models={written}"])
    assert configs.to_values(config)["search"]["edge_models"] == expected


def test_the_command_says_what_an_older_run_did_not_know(tmp_path):
    config = configs.read_config("search_imagenet", ["--config.data.class_fraction=1.0"])
    recorded = configs.to_values(config)
    older = recorded | {
        "data": {k: v for k, v in recorded["data"].items() if k != "class_fraction"}
    }
    (tmp_path / "config.json").write_text(json.dumps(older))
    _, _, name, *rest = shlex.split(reproduce.command(tmp_path))
    again = configs.read_config(name, [f"--config.{setting}" for setting in rest[:-1]])
    assert name == "search_imagenet" and configs.to_values(again) == recorded
