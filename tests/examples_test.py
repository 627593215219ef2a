"""The examples: short, right by their own checks, and parts of searches on the digits, through to an export."""

import ast
import importlib.util
import os
import runpy
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import nge_jax as nge
from nge_jax.data import small
from nge_jax.errors import Preempted
from nge_jax.runtime import callbacks
from nge_jax.settings.configs import read_config
from nge_jax.space.parts import reference
from tests.conftest import ROOT
from tests.helpers.small_search import result, stand_ins

FOLDER = ROOT / "examples"
FILES = sorted(FOLDER.glob("*.py"))
THIRTY = ("wandb_callback", "mlflow_callback", "optuna_study")  # less than thirty lines of code


def example(name, attribute):
    return reference.load(f"{FOLDER}/{name}.py:{attribute}").value


def settings(*texts):
    return [f"--config.{text}" for text in texts]


def lines_of_code(text):
    """Counts lines with a statement, docstrings left out."""
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)]
    docstrings = {
        line
        for node in nodes
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, node.end_lineno + 1)
    }
    lines = {line for node in nodes for line in range(node.lineno, node.end_lineno + 1)}
    blank = {n for n, line in enumerate(text.splitlines(), 1) if not line.strip()}
    return len(lines - docstrings - blank)


def test_an_example_has_at_most_sixty_lines_and_the_docs_name_it():
    page = "".join(file.read_text() for file in (ROOT / "docs").glob("*.md"))
    for file in FILES:
        text = file.read_text()
        assert len(text.splitlines()) <= 60, file
        assert file.stem not in THIRTY or lines_of_code(text) < 30, file
        assert f"examples/{file.name}" in page, file


def test_the_examples_are_right_by_their_own_checks():
    relaxation = reference.load(f"{FOLDER}/relaxation.py:reference").value
    nge.testing.check_relaxation(example("relaxation", "annealed"), reference=relaxation)
    nge.testing.check_edge_model(example("edge_model", "gat"), betas=True)
    nge.testing.check_edge_model(example("edge_model", "gat"), nge.NAS_BENCH_201, {"slope": 0.0})
    nge.testing.check_strategy(example("strategy", "bandit"), numbers={"epsilon": 0.5})
    plain, conv = (example("operation", name) for name in ("reference", "GROUP_CONV_3X3"))
    nge.testing.check_operation(conv, (4,), reference=plain)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        nge.testing.check_operation(
            conv, (4,), (1,), reference=lambda weights, x, stride: -plain(weights, x, stride)
        )
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        half = {"first": 1.0, "last": 1.0}
        nge.testing.check_relaxation(
            example("relaxation", "annealed"), numbers=half,
            reference=lambda logits, key, progress, numbers: relaxation(2 * logits, key, progress, numbers),
        )  # fmt: skip


def test_the_nodes_of_an_edge_model_are_compared_with_a_reference():
    def make(space, numbers, head):
        def init(key):
            return {"w": jax.random.normal(key, (64, 64)) / 8}

        return head(init, lambda x, theta: jnp.tanh(x @ theta["w"]))

    nge.testing.check_edge_model(make, reference=lambda x, theta, _: np.tanh(x @ theta["w"]))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        nge.testing.check_edge_model(make, reference=lambda x, theta, _: x @ theta["w"])


def test_a_bandit_asks_mostly_for_what_was_rewarded():
    numbers = {"epsilon": 0.0}
    strategy = example("strategy", "bandit").make(nge.DARTS, numbers, None)
    state = strategy.init(None)
    cell = np.full((1, 2, 14), 3)
    state = strategy.tell(state, cell, np.ones(1))
    assert (strategy.probs(state).argmax(-1) == 3).all()


def test_a_search_by_two_examples_at_once_is_stopped_by_a_third(tmp_path, monkeypatch):
    monkeypatch.chdir(FOLDER)
    config = read_config(
        "search_digits:gradient,smoke",
        settings(
            "search.relaxation=relaxation.py:annealed",
            "search.edge_model=edge_model.py:gat",
            "annealed.last=0.25",
        ),
    )
    config.search.update({"epochs": 4, "images_per_epoch": 16})
    config.run.random_cells = 0
    stop = callbacks.Callback(on_epoch=lambda row, state: row["epoch"] == 2)
    digits = small.load("digits", "")
    with stand_ins(
        digits._replace(train_labels=digits.train_labels % 3)
    ):  # the stand-in has 3 classes
        with pytest.raises(Preempted):
            nge.search.run(config, tmp_path, callbacks=[stop])
        nge.search.run(config, tmp_path)
    temperatures = [row["temperature"] for row in result(tmp_path).rows]
    np.testing.assert_allclose(temperatures, np.linspace(2, 0.25, 4))


@pytest.mark.parametrize("name", ["embedding_accuracy", "validation_accuracy"])
def test_early_stop_counts_the_epochs_without_a_better_accuracy(capsys, name):
    """Rows of a search by a supernet and rows of trainings name the accuracy otherwise."""
    watch = example("callback", "EarlyStop")(patience=2)
    rows = [{"epoch": e, name: a} for e, a in enumerate((0.1, 0.3, 0.2, 0.3), 1)]
    assert [watch.on_epoch(row, None) for row in rows] == [False, False, False, True]
    watch.on_end("done")
    assert capsys.readouterr().out == "best accuracy 30.0% after epoch 2; done\n"


def nge_command(folder, *arguments, **env):
    """Runs `nge ...` in a folder outside the checkout."""
    command = [sys.executable, "-m", "nge_jax", *map(str, arguments)]
    env = os.environ | {"PYTHONPATH": str(ROOT)} | env
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=900)


@pytest.mark.whole
def test_a_cell_by_the_examples_is_trained_and_exported(tmp_path):
    parts = [f"{key}={FOLDER}/{file}" for key, file in (
        ("search.relaxation", "relaxation.py:annealed"), ("search.edge_model", "edge_model.py:gat"),
        ("run.callbacks", "callback.py:early_stop"),
    )]  # fmt: skip
    Image.new("L", (8, 8), 90).save(tmp_path / "seven.png")
    for arguments in (
        ("search", "search_digits:gradient,smoke", *parts, "search.seeds=0,1", "--workdir=s"),
        ("report", "s"),
        ("train", "train_digits:smoke", "genotype=s/seed-1", "--workdir=t"),
        ("predict", "t", "seven.png", "--output=answers.jsonl"),
        ("export", "t", "out"),
        ("search", "search_digits:random,smoke", f"search.strategy={FOLDER}/strategy.py:bandit", "--workdir=b"),
    ):  # fmt: skip
        done = nge_command(tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
    assert "seven.png" in (tmp_path / "answers.jsonl").read_text()
    assert (tmp_path / "out" / "weights.safetensors").exists()
    assert "bandit" in (tmp_path / "b" / "report.md").read_text()


def needs(package):
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"{package} is not installed: pip install {package}")


def watched(tmp_path, name):
    """Begins, logs and ends a run of two epochs by an example's callback."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.html").write_text("<p>")  # every run has one, a cell not every run
    watch = callbacks.load((f"{FOLDER}/{name}.py:watch",))
    watch.on_begin(tmp_path / "run", {"task": "search", "search": {"epochs": 2}})
    for epoch in (1, 2):
        assert not watch.on_epoch(
            {"epoch": epoch, "step": 3 * epoch, "weight_loss": 1 / epoch}, None
        )
    watch.on_end(nge.search.SearchResult(None, None, tmp_path / "run"))


@pytest.mark.parametrize(
    "package, begins, ends", [("wandb", "init", "finish"), ("mlflow", "start_run", "end_run")]
)
def test_a_run_begins_where_a_stopped_run_left_another_open(
    tmp_path, monkeypatch, package, begins, ends
):
    calls = []
    tracker = types.ModuleType(package)  # the real ones need not be installed
    tracker.__getattr__ = lambda name: lambda *_, **options: calls.append(name)
    monkeypatch.setitem(sys.modules, package, tracker)
    watch = runpy.run_path(str(FOLDER / f"{package}_callback.py"))["watch"]
    for _ in range(2):
        watch.on_begin(tmp_path, {"task": "search"})
    assert [name for name in calls if name in (begins, ends)] == [ends, begins] * 2


@needs("wandb")
def test_weights_and_biases_keeps_a_run_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(nge.search.SearchResult, "__repr__", lambda self: "a cell")
    watched(tmp_path, "wandb_callback")
    assert [*tmp_path.glob("wandb/offline-run-*/run-*.wandb")]


@needs("mlflow")
def test_mlflow_keeps_a_run_in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MLflow leaves a mlflow.db there
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/mlruns")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    watched(tmp_path, "mlflow_callback")
    (losses,) = (tmp_path / "mlruns").glob("*/*/metrics/weight_loss")
    assert [line.split()[1:] for line in losses.read_text().splitlines()] == [
        ["1.0", "3"],
        ["0.5", "6"],
    ]
    assert [*(tmp_path / "mlruns").glob("*/*/artifacts/report.html")]


@needs("optuna")
def test_optuna_prunes_and_goes_on_with_a_study(tmp_path, monkeypatch):
    import optuna

    study_module = reference.load(f"{FOLDER}/optuna_study.py:objective").value
    accuracies = iter([(0.5, 0.6), (0.1, 0.2), (0.4, 0.7)])

    def run(config, path, *, overwrite, callbacks):
        for epoch, accuracy in enumerate(next(accuracies), 1):
            if callbacks[0].on_epoch({"epoch": epoch, "embedding_accuracy": accuracy}, None):
                raise Preempted("stopped")

    monkeypatch.setattr(nge.search, "run", run)
    for trials in (1, 2):  # the second start goes on with the study
        study = optuna.create_study(
            storage=f"sqlite:///{tmp_path}/study.db", study_name="digits", direction="maximize",
            load_if_exists=True, pruner=optuna.pruners.MedianPruner(n_startup_trials=1),
        )  # fmt: skip
        study.optimize(study_module, n_trials=trials)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "PRUNED", "PRUNED"] or states == [
        "COMPLETE",
        "PRUNED",
        "COMPLETE",
    ]
    assert study.trials[1].intermediate_values == {1: 0.1}
