"""The test's metrics of classes, the classes' weights, and trainings that begin with a trained network."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.errors import InputError
from nge_jax.networks import transfer
from nge_jax.report import confusion as report_confusion
from nge_jax.report import train as train_report
from nge_jax.settings.checks import check_complete
from nge_jax.train import build as train_build
from nge_jax.train import evaluate as train_evaluate
from nge_jax.train import images as training_images
from nge_jax.train import runner as train_runner
from nge_jax.train import trained
from nge_jax.train.evaluate import Scores
from nge_jax.workdir import artifacts
from tests.helpers.small_training import arrays, rows, small_config


def test_means_are_those_of_the_confusions():
    confusion = np.array([[8, 2, 0], [1, 1, 0], [0, 0, 0]])  # the third class has no example
    found = train_evaluate.means(Scores(np.float64(6.0), 12, confusion))
    assert found == (0.5, 9 / 12, None, (0.8 + 0.5) / 2, 12)
    assert train_evaluate.recalls(confusion) == [0.8, 0.5, None]
    assert train_evaluate.means(Scores(0.0, 9, np.eye(6, dtype=int) * 2)).top5_accuracy == 9 / 12


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    config = small_config(folder, **{"train.epochs": 1})
    train_runner.run(config, folder / "run")
    return config, folder / "run"


def test_a_training_writes_what_its_test_took_for_what(run):
    _, path = run
    last = rows(path)[-1]
    values = json.loads((path / artifacts.CONFUSION).read_text())
    confusion = np.array(values["confusion"])
    assert confusion.shape == (10, 10) and values["labels"] == list("0123456789")
    assert confusion.sum() == last["test_examples"] == 355
    assert confusion.trace() / 355 == pytest.approx(last["test_accuracy"])
    recalls = confusion.diagonal() / confusion.sum(1)
    assert list(values["accuracy"].values()) == pytest.approx(list(recalls))
    assert last["test_balanced_accuracy"] == pytest.approx(recalls.mean())
    page = (path / "report.html").read_text()
    assert "Right when said" in page and "over 10 classes" in page
    assert (path / "confusion.svg").exists()


def test_a_balanced_accuracy_says_over_how_many_classes_it_is():
    assert report_confusion.over_classes(np.array([[2, 1], [0, 0]])) == "over 1 of 2 classes"
    assert report_confusion.over_classes(np.eye(3, dtype=int)) == "over 3 classes"


def test_confusions_that_are_no_matrix_are_refused(tmp_path):
    assert report_confusion.section(tmp_path) is None
    for confusion in ([[1, 2]], "abc", [[1, 2], [3]]):
        values = {"labels": ["a", "b"], "confusion": confusion}
        (tmp_path / artifacts.CONFUSION).write_text(json.dumps(values))
        with pytest.raises(InputError, match="confusion.json: expected a matrix") as error:
            report_confusion.section(tmp_path)
        assert "\n" not in str(error.value)


def test_balanced_weights_make_classes_count_alike(tmp_path):
    config = small_config(tmp_path, **{"train.class_weights": "balanced"})
    source = training_images.open_source(training_images.read_settings(config))
    uneven = source._replace(train_labels=lambda: np.array([0] * 30 + [1] * 10))
    weights = train_build.make_recipe(config, uneven).class_weights
    assert weights[:3] == pytest.approx((40 / 60, 40 / 20, 0.0))
    assert (weights[0] * 30 + weights[1] * 10) / 40 == pytest.approx(1)  # 1 in the mean
    config.train.class_weights = "none"
    assert train_build.make_recipe(config, uneven).class_weights is None
    config.train.class_weights = "balance"
    with pytest.raises(
        InputError, match="train.class_weights: found 'balance', expected one of none"
    ):
        check_complete(config, "train")


def test_a_network_that_begins_with_another_has_its_weights(run, tmp_path, monkeypatch):
    monkeypatch.setattr(train_report, "write_train_report", lambda *_: None)
    _, path = run
    config = small_config(tmp_path, **{"init_from": str(path), "train.epochs": 2})
    config.weights.learning_rate = 0.0
    train_runner.run(config, tmp_path / "run")
    before, after = arrays(path)[0], arrays(tmp_path / "run")[0]
    for name, array in before.items():
        if ".params" in name:
            np.testing.assert_array_equal(after[name], array, err_msg=name)
    # After the training has begun, it no longer needs the other workdir.
    config.init_from = str(path)
    train_runner.run(config, tmp_path / "run")


def test_another_number_of_classes_keeps_the_backbone_alone(run):
    variables = trained.load(run[1]).variables
    head = variables["params"]["classifier"]
    wider = jax.tree.map(jnp.zeros_like, variables)
    wider["params"]["classifier"] = jax.tree.map(
        lambda array: jnp.zeros((*array.shape[:-1], 12)), head
    )
    found, report = transfer.restore_backbone(wider, variables, "there")
    assert not any(np.any(a) for a in jax.tree.leaves(found["params"]["classifier"]))
    for name in ("stem", "cells"):
        expected = jax.tree.leaves(variables["params"][name])
        for a, b in zip(jax.tree.leaves(found["params"][name]), expected, strict=True):
            np.testing.assert_array_equal(a, b)
    left, fresh = (
        sum(a.size for a in jax.tree.leaves(t["params"]["classifier"])) for t in (variables, wider)
    )
    assert f"left behind {left} numbers (classifier); new {fresh} numbers" in str(report)
    same = jax.tree.map(jnp.zeros_like, variables)
    found, report = transfer.restore_backbone(same, variables, "there", heads=True)
    assert not report.fresh and not report.left
    kept = jax.tree.leaves(found["params"]["classifier"])
    for a, b in zip(kept, jax.tree.leaves(head), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("changes, message", [
    ({"init_from": "nowhere"}, r"^config.init_from: nowhere.*no such file"),
    ({"init_from": "RUN", "genotype": "DARTS_V2"}, "is another cell than config.genotype"),
    ({"init_from": "RUN", "network.channels": 6}, "^config.init_from: .* arrays in .* do not fit"),
])  # fmt: skip
def test_a_network_that_does_not_fit_is_refused(run, tmp_path, changes, message):
    changes = {key: str(run[1]) if value == "RUN" else value for key, value in changes.items()}
    config = small_config(tmp_path, **changes)
    with pytest.raises(InputError, match=message) as error:
        train_runner.run(config, tmp_path / "run")
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()
