"""The report of a training, from a workdir as the run leaves it."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from nge_jax.errors import GenotypeError
from nge_jax.report.train import write_train_report
from nge_jax.space import genotype
from tests.helpers.page import Page

SIZES = [("CIFAR-10, 20 cells, 36 channels", 3_349_342, 539_123_456)]


def write_training(workdir: Path) -> None:
    config = {"task": "train", "seed": 1, "data": {"name": "digits"}}
    (workdir / "config.json").write_text(json.dumps(config))
    environment = {"versions": {}, "device_kind": "NVIDIA H100", "device_count": 2}
    (workdir / "environment.json").write_text(json.dumps(environment))
    line = {"seconds": 10.0, "images_per_second": 99.0, "learning_rate": 0.025}
    line |= {"validation_loss": 2.0, "validation_accuracy": 0.5}
    epochs = [{"epoch": e, "train_loss": 1 / e, "train_accuracy": e / 4, **line} for e in (1, 2, 3)]
    epochs[-1] |= {"test_accuracy": 0.9722, "test_examples": 360}
    (workdir / "metrics.jsonl").write_text("\n".join(map(json.dumps, epochs)))


def test_training_report(tmp_path):
    write_training(tmp_path)
    cells = genotype.to_json(genotype.KNOWN["DARTS_V2"])
    (tmp_path / "genotype.json").write_text(cells)
    page = Page(write_train_report(tmp_path, SIZES).read_text())
    words = page.text.replace("\n", "")
    assert "Test accuracy97.22% of 360 images" in words and "Training30 s" in words
    # The cells, one of them again for narrow screens, and the curves for both kinds of screens.
    assert page.tags.count("svg") == 5
    assert "Validation accuracy" in words and "25.00%2.000050.00%" in words
    assert cells in page.text and "3,349,342" in page.text
    assert all(reference.startswith(("#", "data:")) for reference in page.references)


def test_a_report_says_that_a_training_has_ended_early(tmp_path):
    write_training(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for epochs, patience, words in (
        (9, 2, "Epochs3 of 9, ended by train.patience=2"),
        (9, 4, "Epochs3"),
        (3, 2, "Epochs3"),
    ):
        values = config | {"train": {"epochs": epochs, "patience": patience}}
        (tmp_path / "config.json").write_text(json.dumps(values))
        lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
        lines[-1]["epochs_without_gain"] = 2
        (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
        found = Page(write_train_report(tmp_path, SIZES).read_text()).text.replace("\n", "")
        assert words in found and ("ended by" in found) == ("ended by" in words)


def test_classes_of_any_name_are_drawn_and_listed(tmp_path):
    write_training(tmp_path)
    labels = ["caf\udce9", "a\x07\n", "an_extremely_long_name", "$tea$"]  # the first is no UTF-8
    confusion = [[3, 1, 0, 0], [0, 4, 0, 0], [0, 0, 4, 0], [0, 0, 0, 4]]
    values = {"labels": labels, "confusion": confusion}
    (tmp_path / "confusion.json").write_text(json.dumps(values))
    page = Page(write_train_report(tmp_path, SIZES).read_text())
    names = {element.text for element in ElementTree.parse(tmp_path / "confusion.svg").iter()}
    assert {r"caf\xe9", r"a\x07\n", "an_extremely_…", "$tea$"} <= names
    assert r"caf\xe9" in page.text and r"a\x07\n" in page.text and "\x07" not in page.text


def test_a_genotype_that_is_none_is_refused_before_anything_is_drawn(tmp_path):
    write_training(tmp_path)
    (tmp_path / "genotype.json").write_text("{}")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(GenotypeError, match=r"genotype\.json"):
        write_train_report(tmp_path, SIZES)
    assert sorted(tmp_path.iterdir()) == before
