"""Sweeps the settings of a search or a training with an Optuna study: pip install 'nge_jax[sweep]'

  python experiments/sweep.py search_digits:gradient,smoke embedding.learning_rate=1e-4..1e-2:log \\
      'search.edge_model=nge|alpha' search.epochs=4 --trials=20
  python experiments/sweep.py ... --ray=auto                     trials on the workers of a Ray cluster
  python experiments/sweep.py ... --storage=sqlite:///study.db   Optuna's storage; default: a journal in the workdir

KEY=LOW..HIGH is a range of the key's type, and :log makes it logarithmic. KEY=A|B|C is a choice. KEY=VALUE sets a key
for all trials, as behind `nge search`. Optuna's TPE chooses the settings, and its pruner ends trials early.

A trial is a run like another, in the folder of its number in the workdir: `nge report WORKDIR` lists them. Its value is
the metric in the last row of metrics.jsonl. A trial whose settings are refused together counts as pruned.

The same command goes on after a kill, and --trials may be larger. A trial that was lost is made again by Optuna's own
callback for lost trials, with the same settings in the same folder. It goes on from the run's last checkpoint. Ray
starts a killed worker's trial again at once.
"""

import argparse
import functools
import math
import re
import runpy
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

try:
    import optuna
except ModuleNotFoundError:
    print("error: found no optuna, expected pip install 'nge_jax[sweep]'", file=sys.stderr)
    sys.exit(2)
from ml_collections import ConfigDict
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from nge_jax.errors import PREEMPTED_EXIT_CODE, InputError, Preempted
from nge_jax.main import exit_codes
from nge_jax.runtime import runners
from nge_jax.settings.checks import check_complete
from nge_jax.settings.configs import flatten, read_config
from nge_jax.trials.workers import cluster
from nge_jax.workdir import artifacts, json_lines, lock

# Pruning is the example's: a callback that reports each epoch to the trial.
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "optuna_study.py"
NUMBER = r"[-+]?[\d.]+(?:e[-+]?\d+)?"
RANGE = re.compile(rf"({NUMBER})\.\.({NUMBER})(:log)?", re.IGNORECASE)
METRICS = {"search": "embedding_accuracy", "train": "validation_accuracy"}
PRUNERS = {"median": MedianPruner, "hyperband": HyperbandPruner, "none": NopPruner}
JOURNAL = "study.journal"
MOST_REFUSED = 3  # after so many refused trials, and none that ended, the sweep stops


class Setting(NamedTuple):
    """A key that the study chooses.

    Attributes:
      kind: "float", "int" or "categorical", as in the name of Optuna's function.
      arguments: the function's arguments behind the name.
    """

    kind: str
    arguments: Mapping[str, Any]

    def suggest(self, trial: Any, key: str) -> Any:
        """Asks an Optuna trial for the key's value."""
        return getattr(trial, f"suggest_{self.kind}")(key, **self.arguments)

    @property
    def extremes(self) -> Sequence[Any]:
        """Lists the values that the key's limits must allow: all choices, or both ends."""
        ends = self.arguments.get("low"), self.arguments.get("high")
        return self.arguments.get("choices", ends)


class Sweep(NamedTuple):
    """All that a worker needs to know of a sweep.

    Attributes:
      config: a config's name, with variants.
      fixed: "KEY=VALUE" of all trials.
      settings: the keys that the study chooses.
      metric: a key of the rows of metrics.jsonl.
      folder: holds the trials' workdirs.
    """

    config: str
    fixed: tuple[str, ...]
    settings: Mapping[str, Setting]
    metric: str
    folder: Path

    def read(self, values: Mapping[str, Any]) -> ConfigDict:
        """Returns the config of a trial with these values of the settings.

        Raises:
          InputError: there is no such key, or the value is refused.
        """
        words = [*self.fixed, *(f"{key}={value}" for key, value in values.items())]
        config = read_config(self.config, [f"--config.{word}" for word in words])
        check_complete(config, config.task)
        return config


Call = Callable[[Sweep, optuna.Trial, Mapping[str, Any]], float | None]  # as `run_trial`


def parse_setting(text: str, default: Any) -> Setting | None:
    """Reads "LOW..HIGH", "LOW..HIGH:log" or "A|B"; None for a single value. `default` has the key's type.

    Raises:
      InputError: the range is of no number's key, or its ends are wrong.
    """
    if "|" in text:
        return Setting("categorical", {"choices": tuple(text.split("|"))})
    if (match := RANGE.fullmatch(text)) is None:
        return None
    number = {int: int, float: float}.get(type(default))
    try:
        if number is None:
            raise ValueError(f"a range is of a number, and the key has {default!r}")
        low, high = number(match[1]), number(match[2])
        if low >= high or match[3] and low <= 0:
            raise ValueError("expected LOW below HIGH, and above 0 with :log")
    except ValueError as error:
        raise InputError(f"found {text!r}: {error}") from None
    arguments = {"low": low, "high": high, "log": match[3] is not None}
    return Setting(number.__name__, arguments)


def make_sweep(config: str, words: Sequence[str], metric: str, folder: Path) -> Sweep:
    """Makes a sweep, and checks every end of its settings before a trial begins.

    Raises:
      InputError: names a key.
    """
    defaults = flatten(read_config(config).to_dict())
    fixed, settings = [], {}
    for word in words:
        key, sign, text = word.partition("=")
        if not sign:
            raise InputError(f"found {word!r}, expected KEY=VALUE, KEY=LOW..HIGH or KEY=A|B")
        try:
            setting = parse_setting(text, defaults.get(key))
        except InputError as error:
            raise InputError(f"config.{key}: {error}") from None
        if setting is None:
            fixed.append(word)
        else:
            settings[key] = setting
    if not settings:
        raise InputError("found no setting to choose, expected KEY=LOW..HIGH or KEY=A|B")
    sweep = Sweep(config, tuple(fixed), settings, metric, folder)
    for key, setting in settings.items():
        for value in setting.extremes:
            values = sweep.read({key: value})
    return sweep._replace(metric=metric or _default_metric(values))


def _default_metric(config: ConfigDict) -> str:
    if config.task == "search" and config.search.get("evaluator") == "trained":
        return "best_accuracy"
    if config.task not in METRICS:
        raise InputError(f"--metric: found none, expected a key of the rows of a {config.task}")
    return METRICS[config.task]


def run_trial(sweep: Sweep, trial: optuna.Trial, values: Mapping[str, Any]) -> float | None:
    """Runs a trial, or goes on with its run, in this process; returns the value, or None for a pruned trial.

    A run that is asked to stop ends the process, and the trial stays unfinished in the storage.

    Args:
      sweep: the sweep.
      trial: the trial. A worker has a copy, by which it asks the pruner and not the sampler.
      values: the values of the sweep's settings.
    """
    from nge_jax.devices.compilation_cache import use_compilation_cache

    use_compilation_cache()
    pruning = runpy.run_path(str(EXAMPLE))["Pruning"](trial, sweep.metric)
    path = sweep.folder / str(trial.user_attrs["folder"])
    try:
        config = sweep.read(values)
        runners.load(config.to_dict()).run(config, path, callbacks=[pruning])
    except InputError as error:
        trial.set_user_attr("refused", str(error))
        return None
    except Preempted as notice:
        if pruning.pruned:
            return None
        print(f"\n{notice}; the same command goes on from here", file=sys.stderr)
        raise SystemExit(PREEMPTED_EXIT_CODE) from None
    value = json_lines.read(path / artifacts.METRICS)[-1].get(sweep.metric, math.nan)
    return value if math.isfinite(value) else None


def open_study(given: argparse.Namespace, sweep: Sweep) -> optuna.Study:
    """Opens the study in its storage, or makes it.

    Raises:
      InputError: the storage has another sweep of this name.
    """
    file = JournalFileBackend(str(sweep.folder / JOURNAL))
    study = optuna.create_study(
        storage=given.storage or JournalStorage(file),
        study_name=given.name or sweep.folder.resolve().name,
        direction=given.direction,
        pruner=PRUNERS[given.pruner](),
        load_if_exists=True,
    )
    facts = {"config": sweep.config, "fixed": " ".join(sweep.fixed), "metric": sweep.metric}
    facts |= {key: str(setting.arguments) for key, setting in sweep.settings.items()}
    known = study.user_attrs
    for key in sorted({*facts, *known} if known else ()):
        if facts.get(key) != known.get(key):
            raise InputError(
                f"{sweep.folder}: {key}: found {facts.get(key)}, expected {known.get(key)}, by which the sweep "
                f"{study.study_name} began; choose another --workdir or --name for another sweep"
            )
    for key, value in facts.items():
        study.set_user_attr(key, value)
    # A sampler with the seed of the first start would draw the first settings again.
    study.sampler = TPESampler(seed=len(study.trials), constant_liar=True)
    return study


def make_again(study: optuna.Study) -> None:
    """Has the trials that were lost made again; no other process works on the study."""
    callback = RetryHeartbeatStaleTrialCallback(inherit_intermediate_values=True)
    again = {n for trial in study.trials for n in callback.retry_history(trial)}
    for trial in study.trials:
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
        if trial.state in (TrialState.RUNNING, TrialState.FAIL) and trial.number not in again:
            callback(study, trial)


def count_ended(study: optuna.Study) -> int:
    """Counts the trials that ended or were pruned; a trial whose settings were refused did not run."""
    trials = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    return sum("refused" not in trial.user_attrs for trial in trials)


def refusals(study: optuna.Study) -> list[str]:
    """Lists why the settings of trials were refused, in the trials' order."""
    found = [trial.user_attrs.get("refused") for trial in study.get_trials(deepcopy=False)]
    return [reason for reason in found if reason]


def objective(call: Call, sweep: Sweep, trial: optuna.Trial) -> float:
    """Chooses a trial's settings, and has the trial made by `call`."""
    study = trial.study
    trial.set_user_attr("folder", trial.user_attrs.get("folder", trial.number))
    value = call(
        sweep, trial, {key: setting.suggest(trial, key) for key, setting in sweep.settings.items()}
    )
    if value is None:
        if len(refusals(study)) >= MOST_REFUSED and not count_ended(study):
            study.stop()
        raise optuna.TrialPruned
    return value


def on_cluster(address: str) -> tuple[Call, int]:
    """Makes what has trials made by a Ray cluster; returns it and the number of trials at a time."""
    # This process computes nothing, and leaves the GPUs to the workers.
    jax.config.update("jax_platforms", "cpu")
    ray = cluster.connect(address, "--ray")
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    remote = ray.remote(num_cpus=1, num_gpus=int(gpus > 0), max_retries=-1)(run_trial)
    return lambda *values: ray.get(remote.remote(*values)), gpus or int(resources["CPU"])


def run(given: argparse.Namespace) -> None:
    """Makes the trials that are left, and tells the best."""
    sweep = make_sweep(given.config, given.words, given.metric, given.workdir.expanduser())
    with lock.held(sweep.folder):
        study = open_study(given, sweep)
        make_again(study)
        left = given.trials - count_ended(study)
        if left > 0:
            call, workers = on_cluster(given.ray) if given.ray else (run_trial, 1)
            make = functools.partial(objective, call, sweep)
            study.optimize(make, n_trials=left, n_jobs=min(left, workers))
    if not study.get_trials(states=(TrialState.COMPLETE,)):
        reasons = refusals(study)[-1:] or ["all were pruned"]
        raise InputError(f"{sweep.folder}: found no trial that has ended: {reasons[0]}")
    best = study.best_trial
    words = " ".join(f"{key}={value}" for key, value in best.params.items())
    print(f"best of {count_ended(study)} trials: {sweep.metric} {best.value:.6g} by {words}")
    print(f"its run: {sweep.folder / str(best.user_attrs['folder'])}")


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("config", metavar="CONFIG", help="a config's name, with variants")
    made.add_argument("words", metavar="KEY=VALUE|LOW..HIGH|A|B", nargs="+")
    made.add_argument("--workdir", type=Path, default=Path("runs/sweep"))
    made.add_argument("--trials", type=int, default=20, help="the trials of all starts together")
    made.add_argument("--metric", default="", help="a key of the rows of metrics.jsonl")
    made.add_argument("--direction", choices=("maximize", "minimize"), default="maximize")
    made.add_argument("--pruner", choices=PRUNERS, default="median")
    made.add_argument("--storage", help="an URL of Optuna's, such as sqlite:///study.db")
    made.add_argument("--name", help="the study's name in the storage; default: the workdir's")
    made.add_argument("--ray", default="", help="auto, or HOST:PORT of a Ray cluster")
    return made


if __name__ == "__main__":
    with exit_codes():
        warnings.simplefilter("ignore", ExperimentalWarning)
        run(parser().parse_intermixed_args())
