"""The engine of the commands: runs the task that a config names, `python -m nge_jax.main --config=...`.

No module of jax is imported before the names of the config are known to be right: a typo is answered at once.

Exit codes: 0 done; 2 bad input, one line on stderr; 75 stopped by SIGTERM, a checkpoint is saved, and the same command
goes on from the checkpoint; 130 interrupted; 1 a bug, with its traceback.
"""

import os

# Set before jax is imported, because jax sets another level. XLA's alarms about slow compilation have level 2, and a
# run itself says how long it compiles. Messages that end the process have level 3.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import contextlib
import functools
import importlib
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import app, flags
from ml_collections import ConfigDict

from nge_jax.errors import PREEMPTED_EXIT_CODE, InputError, Preempted, arguments_as
from nge_jax.runtime import runners
from nge_jax.runtime.runners import STUDY, TASKS, runner_name
from nge_jax.settings import checks, keys
from nge_jax.settings import flags as runtime_flags
from nge_jax.settings.checks import check_complete
from nge_jax.settings.configs import flatten, given_names, read_config, to_values
from nge_jax.space import genotype
from nge_jax.workdir import artifacts

USAGE = """\
Give a config, for example

  {0} --config=configs/search_digits.py            search on scikit-learn's digits, in minutes
  {0} --config=configs/search_cifar.py             search on CIFAR-10, the paper's settings
  {0} --config=configs/search_cifar.py:rnn         a variant of it (see the file's docstring)
  {0} --config=configs/search_cifar.py --config.seed=1 --workdir=runs/seed1

A run goes on where it stopped when the same command is given again. More: {0} --help, nge --help
"""

_CONFIG = runtime_flags.define_config()
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "where the run's files go; default: runs/<config name>[-<variant>]"
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "remove the results of an earlier run in the workdir, start afresh"
)
_SUMMARY = flags.DEFINE_bool("summary", False, "print the sizes of the network's parts, do no more")
_EVAL_ONLY = flags.DEFINE_bool(
    "eval_only", False, "test a checkpoint of a training, do no more, as nge eval"
)
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    f"of --eval_only: {artifacts.NEWEST}, {artifacts.BEST} or the number of a step; default: {artifacts.NEWEST}",
)
_PROCESSES = runtime_flags.define_processes()


def main(argv: list[str]) -> None:
    """Runs what the parsed flags say; `argv`, as `runtime_flags.parse` leaves it."""
    unexpected = [argument for argument in argv[1:] if not argument.startswith("-")]
    if unexpected:
        expected = "expected flags such as --config=FILE"
        raise InputError(f"unexpected argument {unexpected[0]!r}, {expected}")
    if _CONFIG.value is None:
        print(USAGE.format("python -m nge_jax.main"), end="", file=sys.stderr)
        sys.exit(2)
    if _CHECKPOINT.value is not None and not _EVAL_ONLY.value:
        raise InputError(
            f"--checkpoint: found {_CHECKPOINT.value}, expected none without --eval_only"
        )
    run_task(
        read_config(_CONFIG.value, argv[1:]),
        _WORKDIR.value or default_workdir(_CONFIG.value),
        overwrite=_OVERWRITE.value,
        eval_only=_EVAL_ONLY.value,
        checkpoint=_CHECKPOINT.value or artifacts.NEWEST,
        summary=_SUMMARY.value,
        name=_CONFIG.value,
        given=given_names(argv[1:]),
        processes={name: flag.value for name, flag in _PROCESSES.items()},
    )


def run_task(
    config: ConfigDict,
    path: str | Path,
    *,
    overwrite: bool = False,
    eval_only: bool = False,
    checkpoint: str = artifacts.NEWEST,
    summary: bool = False,
    name: str = "",
    given: Collection[str] = (),
    processes: Mapping[str, Any] | None = None,
) -> Any:
    """Runs the task of a config in the workdir `path`, or goes on where it stopped; returns the runner's result.

    Args:
      config: of one of TASKS.
      path: the workdir; "~" expands. With `eval_only` also an exported network, or the name of one in PRETRAINED.
      overwrite: removes the results of an earlier run.
      eval_only: tests a checkpoint of a training instead.
      checkpoint: the one that is tested, see `trained.load`.
      summary: prints the sizes of the network's parts instead.
      name: the config's, as the user gave it; shown.
      given: the names of the keys that the user gives beside the config. A key that the run does not read is refused.
      processes: arguments of `distributed.initialize`.

    Raises:
      InputError, GenotypeError: the config, the data or the workdir is refused, before any compute.
      Preempted: the process was asked to stop and has saved a checkpoint.
    """
    task = find_task(config.get("task"))
    if eval_only:
        from nge_jax.workdir import recorded

        recorded.check_trains(artifacts.find_run(path), config.to_dict())
    check_complete(config, task)
    if not eval_only:
        _check_read(to_values(config), given, None if overwrite else path)
    if not eval_only and "genotype" in config:
        genotype.load(config.genotype)  # the runner reads it, too, seconds later
    if summary:
        print(runners.load(config.to_dict()).summary(config))
        _show_estimate(config, Path(path).expanduser())
        return None
    from nge_jax.console import banner
    from nge_jax.devices.compilation_cache import use_compilation_cache
    from nge_jax.workdir import folder as workdir
    from nge_jax.workdir import lock

    path = artifacts.find_run(path) if eval_only else workdir.expand(path)
    line = "" if eval_only else banner.opening(task, path, name)
    runner = _start(runner_name(config.to_dict()), path, line, processes or {})
    use_compilation_cache()
    if eval_only:
        with arguments_as(checkpoint="--checkpoint"):
            return runner.evaluate_only(config, path, checkpoint)
    lock.check_free(path)
    return runner.run(config, path, overwrite=overwrite)


def run_study(path: str | Path, name: str, *, given: Collection[str] = (), **arguments: Any) -> Any:
    """Runs a study in the workdir `path`; see `run_task`, and `study.build.build` for the other arguments.

    Raises:
      InputError, GenotypeError: the config, the data or the workdir is refused, before any compute.
      Preempted: the process was asked to stop during a search, which has saved a checkpoint.
    """
    from nge_jax.console import banner
    from nge_jax.devices.compilation_cache import use_compilation_cache
    from nge_jax.workdir import folder as workdir
    from nge_jax.workdir import lock

    check_complete(arguments["config"], "search")
    _check_read(to_values(arguments["config"]), given, path)
    path = workdir.expand(path)
    runner = _start(STUDY, path, banner.opening("study", path, name), {})
    use_compilation_cache()
    lock.check_free(path)
    return runner.run(path, functools.partial(runner.build, name=name, **arguments))


def _check_read(values: Mapping[str, Any], given: Collection[str], path: str | Path | None) -> None:
    """Refuses given keys that a search does not read, but for those with which the run in `path` began."""
    flat, begun = flatten(values), {}
    if path is not None and not keys.unread(flat).keys().isdisjoint(given):
        from nge_jax.workdir import folder as workdir

        begun = workdir.recorded_values(path)
    checks.check_read(flat, given, begun)


def _show_estimate(config: ConfigDict, path: Path) -> None:
    """Shows the time and the memory of a run of this config, as an earlier run of the same length of epochs took."""
    from nge_jax.console import banner
    from nge_jax.settings.configs import to_values
    from nge_jax.workdir import earlier, environment

    found = earlier.find(path, to_values(config), environment.environment())
    epochs = config.get("search" if config.task == "search" else "train", {}).get("epochs", 0)
    if found is None or not epochs:
        banner.show("time: known after a first run of these settings on this device")
        return
    banner.show(*banner.estimate(found, round(found.steps_per_epoch * epochs)))


def _start(name: str, path: Path, line: str, processes: Mapping[str, Any]) -> ModuleType:
    """Shows the banner's first line. Importing the runner and starting the devices take seconds after it."""
    from nge_jax.console import banner
    from nge_jax.console.waiting import Waiting
    from nge_jax.devices import distributed
    from nge_jax.workdir import folder as workdir

    alone = distributed.is_alone(**processes)
    if line and alone:  # others do not know yet which of them is the first
        workdir.check_place(path)
        banner.show(line, alone=True)
    with Waiting("starting", at_once=False) if alone else contextlib.nullcontext():
        runner = importlib.import_module(name)
        distributed.initialize(**processes)
    if line and not alone:
        banner.show(line)
    return runner


def find_task(name: Any) -> str:
    """Returns the one of TASKS that a config names by `name`, its key `task`.

    Raises:
      InputError: the config names none.
    """
    if name not in TASKS:
        raise InputError(f"config.task: found {name!r}, expected one of {', '.join(TASKS)}")
    return name


def default_workdir(given: str) -> Path:
    """Returns runs/search_cifar-rnn of the config `configs/search_cifar.py:rnn`, whatever keys were set."""
    file, _, words = given.partition(":")
    name = Path(file).stem + (f":{words}" if words else "")
    return Path("runs") / re.sub(r"[^\w.-]+", "-", name)


@contextlib.contextmanager
def exit_codes() -> Iterator[None]:
    """Ends the process as this module's docstring says."""
    try:
        with runtime_flags.refusals():
            yield
    except Preempted as notice:
        print(f"\n{notice}; the same command goes on from here", file=sys.stderr)
        sys.exit(PREEMPTED_EXIT_CODE)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)


def run() -> None:
    """Runs the command on the process's arguments."""
    with exit_codes():
        app.run(main, flags_parser=runtime_flags.parse)


if __name__ == "__main__":
    run()
