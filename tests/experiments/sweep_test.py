"""Sweeps with a stand-in for the runs: settings, pruning, lost trials, refusals; and with Ray's workers."""

import json
import os
import pickle
import sys
import textwrap
import types
from pathlib import Path

import numpy as np
import pytest

from nge_jax.errors import InputError, Preempted
from nge_jax.runtime import runners
from tests.conftest import ROOT

pytest.importorskip("optuna", reason="pip install 'nge_jax[sweep]'")
import optuna

import sweep

optuna.logging.set_verbosity(optuna.logging.ERROR)
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
WORDS = ("embedding.learning_rate=1e-4..1e-2:log", "search.edge_model=nge|alpha", "search.epochs=3")
CONFIG = "search_digits:gradient"


class Lost(BaseException):
    """Stands for SIGKILL."""


class Runner:
    """Stands for the runner of searches: three epochs, each with the accuracy that `accuracy` gives.

    Args:
      accuracy: (config, epoch) -> accuracy, or raises.
    """

    def __init__(self, accuracy):
        self.accuracy, self.calls = accuracy, []

    def run(self, config, path, callbacks):
        rate, model = config.embedding.learning_rate, config.search.edge_model
        self.calls.append((Path(path).name, rate, model))
        Path(path).mkdir(exist_ok=True)
        file = Path(path) / "metrics.jsonl"
        begun = len(file.read_text().splitlines()) if file.exists() else 0  # as from a checkpoint
        for epoch in range(begun + 1, config.search.epochs + 1):
            row = {"epoch": epoch, "embedding_accuracy": self.accuracy(config, epoch)}
            with file.open("a") as lines:
                lines.write(json.dumps(row) + "\n")
            if callbacks[0].on_epoch(row, None):
                raise Preempted("stopped")


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes a sweep of trials whose epochs have the accuracy that a function gives."""

    def made(accuracy, *arguments, words=WORDS, config=CONFIG):
        runner = Runner(accuracy)
        monkeypatch.setattr(runners, "load", lambda values: runner)
        options = [f"--workdir={tmp_path / 'sweep'}", *arguments]
        sweep.run(sweep.parser().parse_args([config, *words, *options]))
        return runner.calls

    return made


def trials(tmp_path):
    storage = sweep.JournalStorage(sweep.JournalFileBackend(f"{tmp_path}/sweep/{sweep.JOURNAL}"))
    return optuna.load_study(study_name="sweep", storage=storage).trials


def test_settings_have_the_types_of_their_keys():
    text = "search.batch_size=8..64:log", "search.warmup=0..0.5", "data.flip=True|False"
    made = sweep.make_sweep(CONFIG, text, "", Path("."))
    kinds = {key: (s.kind, s.extremes) for key, s in made.settings.items()}
    assert kinds == {
        "search.batch_size": ("int", (8, 64)),
        "search.warmup": ("float", (0.0, 0.5)),
        "data.flip": ("categorical", ("True", "False")),
    }
    assert made.settings["search.batch_size"].arguments["log"]
    config = made.read({"search.batch_size": 9, "search.warmup": 0.25, "data.flip": "False"})
    assert (config.search.batch_size, config.search.warmup, config.data.flip) == (9, 0.25, False)


@pytest.mark.parametrize(
    "word, message",
    [
        ("search.epochs", "found 'search.epochs', expected KEY=VALUE"),
        ("search.epocs=2..4", "config.search.epocs: "),
        ("search.warmup=0..2", "config.search.warmup: found 2.0, expected "),
        ("search.epochs=4..2", "config.search.epochs: found '4..2': expected LOW below HIGH"),
        ("search.warmup=0..1:log", "config.search.warmup: found '0..1:log': expected LOW below"),
        (
            "search.edge_model=1..2",
            "config.search.edge_model: found '1..2': a range is of a number",
        ),
        ("search.edge_model=nge|alfa", "config.search.edge_model: found 'alfa', expected "),
    ],
)
def test_a_wrong_setting_is_refused_before_a_trial(word, message):
    with pytest.raises(InputError, match=f"^{message}[^\n]*$"):
        sweep.make_sweep(CONFIG, ["search.skip_dropout=0..0.1", word], "", Path("."))


def test_the_best_trial_is_told_and_hopeless_trials_end_early(made, tmp_path, capsys):
    accuracies = iter([0.5, 0.4, 0.1, 0.9])
    made(lambda config, epoch: next(accuracies) if epoch == 1 else 0.8, "--trials=1")
    with pytest.MonkeyPatch.context() as patched:  # a median of one trial
        one = lambda: sweep.MedianPruner(n_startup_trials=1)  # noqa: E731
        patched.setitem(sweep.PRUNERS, "median", one)
        calls = made(lambda config, epoch: next(accuracies) if epoch == 1 else 0.7, "--trials=4")
    states = [trial.state.name for trial in trials(tmp_path)]
    assert len(calls) == 3 and states == ["COMPLETE", "PRUNED", "PRUNED", "COMPLETE"]
    assert trials(tmp_path)[1].intermediate_values == {1: 0.4}
    told = capsys.readouterr().out
    assert "best of 4 trials: embedding_accuracy 0.8 by embedding.learning_rate=" in told
    assert f"its run: {tmp_path}/sweep/0\n" in told
    assert made(None, "--trials=4") == []  # nothing is left


@pytest.mark.parametrize("storage", ["", "--storage=sqlite:///{}/study.db"])
def test_lost_trials_are_made_again_in_their_folders(made, tmp_path, storage):
    def lost_at(number):
        left = [number]

        def accuracy(config, epoch):
            left[0] -= 1
            if not left[0]:
                raise Lost
            return 0.5

        return accuracy

    options = ["--trials=3", *([storage.format(tmp_path)] if storage else [])]
    with pytest.raises(Lost):
        made(lost_at(5), *options)  # in the second trial's second epoch
    for _ in range(2):  # lost twice
        with pytest.raises(Lost):
            made(lost_at(1), *options)
    calls = made(lambda config, epoch: 0.6 + epoch / 100, *options)
    names = [call[0] for call in calls]
    assert names[0] == "1" and len(names) == 2 and len({*names}) == 2
    rows = [json.loads(line) for line in (tmp_path / "sweep/1/metrics.jsonl").open()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    if not storage:
        ended = [t for t in trials(tmp_path) if t.state.name == "COMPLETE"]
        assert len(ended) == 3 and len({t.params["embedding.learning_rate"] for t in ended}) == 3
        first, *_, last = [t for t in trials(tmp_path) if t.user_attrs["folder"] == 1]
        assert first.params == last.params and last.intermediate_values == {
            1: 0.5,
            2: 0.62,
            3: 0.63,
        }


def test_a_sweep_that_is_asked_to_stop_prunes_no_trial(made, tmp_path):
    def accuracy(config, epoch):
        if epoch == 2:
            raise Preempted("stopped after step 1")
        return 0.5

    with pytest.raises(SystemExit, match="75"):
        made(accuracy, "--trials=1")
    calls = made(lambda config, epoch: 0.6, "--trials=1")
    assert [name for name, *_ in calls] == ["0"]
    assert [trial.state.name for trial in trials(tmp_path)] == ["FAIL", "COMPLETE"]


def test_another_sweep_is_refused(made):
    made(lambda config, epoch: 0.5, "--trials=1")
    other = (*WORDS[:2], "search.epochs=2")
    with pytest.raises(InputError, match=r"fixed: found search.epochs=2, expected search.epochs=3"):
        made(lambda config, epoch: 0.5, words=other)
    with pytest.raises(InputError, match=r"embedding.learning_rate: found None, expected {'low': "):
        made(lambda config, epoch: 0.5, words=WORDS[1:])


def test_settings_that_are_refused_together_do_not_end_a_sweep(made, tmp_path):
    def accuracy(config, epoch):
        if config.search.edge_model == "nge":
            raise InputError("config.search.edge_model: found 'nge'")
        return 0.5

    calls = made(accuracy, "--trials=6")
    refused = [t for t in trials(tmp_path) if "refused" in t.user_attrs]
    assert 0 < len(refused) < 6 and {t.state.name for t in refused} == {"PRUNED"}
    assert len(made(accuracy, "--trials=6")) <= len(refused) and len(calls) == 6


def test_a_sweep_whose_every_trial_is_refused_stops(made):
    def accuracy(config, epoch):
        raise InputError("config.data.dir: no such folder")

    with pytest.raises(InputError, match="found no trial that has ended: config.data.dir: no such"):
        made(accuracy, "--trials=20")


def test_a_value_that_is_no_number_counts_as_pruned(made, tmp_path):
    losses = iter([np.nan, 0.5])
    made(lambda config, epoch: next(losses), "--trials=2", words=(*WORDS[:2], "search.epochs=1"))
    assert [t.state.name for t in trials(tmp_path)] == ["PRUNED", "COMPLETE"]


def test_trials_go_to_the_workers_of_a_cluster(made, tmp_path, monkeypatch):
    tasks = []

    def remote(**options):
        """A worker gets copies."""
        tasks.append(options)
        return lambda call: types.SimpleNamespace(
            remote=lambda *values: lambda: call(*pickle.loads(pickle.dumps(values)))
        )

    ray = types.SimpleNamespace(
        is_initialized=lambda: True, cluster_resources=lambda: {"CPU": 2.0}, remote=remote,
        get=lambda ref: ref(),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "ray", ray)
    calls = made(lambda config, epoch: 0.5, "--trials=4", "--ray=auto")
    assert len({rate for _, rate, _ in calls}) == 4
    assert tasks == [{"num_cpus": 1, "num_gpus": 0, "max_retries": -1}]
    assert [trial.state.name for trial in trials(tmp_path)] == ["COMPLETE"] * 4
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match="^--ray: found 'auto', expected the package ray"):
        made(None, "--trials=5", "--ray=auto")


# A sweep on a local cluster of two workers. The first worker that trains epoch 2 is killed.
KILLED = """
    import os, runpy, signal, sys
    import ray

    def run(config, path, callbacks):
        from pathlib import Path
        path = Path(path)
        path.mkdir(exist_ok=True)
        for epoch in (1, 2, 3):
            mark = path.parent / "killed"
            if epoch == 2 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            (path / "metrics.jsonl").write_text('{"epoch": %d, "embedding_accuracy": 0.5}\\n' % epoch)
            callbacks[0].on_epoch({"epoch": epoch, "embedding_accuracy": 0.5}, None)

    class runners:
        load = staticmethod(lambda values: type("runner", (), {"run": staticmethod(run)}))

    script, *words = sys.argv[1:]
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    made = runpy.run_path(script)
    made["run_trial"].__globals__["runners"] = runners
    made["run"](made["parser"]().parse_args(words))
"""


@pytest.mark.whole
def test_ray_itself_makes_a_killed_workers_trial_again(tmp_path, python):
    pytest.importorskip("ray", reason="pip install 'nge_jax[ray]'")
    paths = os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))
    words = [CONFIG, *WORDS, f"--workdir={tmp_path / 'sweep'}", "--trials=4", "--ray=auto"]
    script = str(ROOT / "experiments/sweep.py")
    done = python("-c", textwrap.dedent(KILLED), script, *words, timeout=300, PYTHONPATH=paths)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sweep/killed").exists()
    assert [trial.state.name for trial in trials(tmp_path)] == ["COMPLETE"] * 4
    assert len({trial.params["embedding.learning_rate"] for trial in trials(tmp_path)}) == 4
