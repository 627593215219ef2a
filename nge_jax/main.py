"""The command: reads the flags, refuses what is wrong with them, runs the task that the config names."""

import importlib
import os
import re
import sys
from pathlib import Path

import jax
from absl import app, flags

from nge_jax.errors import InputError
from nge_jax.runtime import distributed, workdir
from nge_jax.runtime import flags as runtime_flags
from nge_jax.runtime.distributed import Preempted

TASKS = {
    "search": "nge_jax.search.runner",
    "train": "nge_jax.train.runner",
    "segment": "nge_jax.segment.runner",
}
USAGE = """\
Give a config, for example

  {0} --config=configs/search_digits.py            search on scikit-learn's digits, in minutes
  {0} --config=configs/search_cifar.py             search on CIFAR-10, the paper's settings
  {0} --config=configs/search_cifar.py:rnn         a variant of it (see the file's docstring)
  {0} --config=configs/search_cifar.py --config.seed=1 --workdir=runs/seed1

A run goes on where it stopped when the same command is given again. More: {0} --help
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
    "eval_only", False, "test the newest checkpoint of a training, do no more"
)
_PROCESSES = runtime_flags.define_processes()


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise InputError(f"unexpected argument {argv[1]!r}, expected flags such as --config=FILE")
    if _CONFIG.value is None:
        print(USAGE.format("python -m nge_jax.main"), end="", file=sys.stderr)
        sys.exit(2)
    config = _CONFIG.value
    task = config.task if "task" in config else None
    if task not in TASKS:
        raise InputError(f"config.task: found {task!r}, expected one of {', '.join(TASKS)}")
    if _EVAL_ONLY.value and task == "search":
        raise InputError(f"--eval_only: found the config of a {task}, expected of a training")
    if _SUMMARY.value:
        summary = importlib.import_module("nge_jax.summary")
        of = {
            "search": summary.of_search,
            "train": summary.of_training,
            "segment": summary.of_segmentation,
        }
        print(of[task](config))
        return
    distributed.initialize(**{name: flag.value for name, flag in _PROCESSES.items()})
    if task == "search" and distributed.has_company():
        raise InputError("--num_processes: a search runs in one process, on all of its devices")
    name = re.sub(r"[^\w.-]+", "-", runtime_flags.config_name())
    path = Path(_WORKDIR.value or Path("runs") / name)
    workdir.check(path, config, overwrite=_OVERWRITE.value)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # which jax itself reads
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(cache / "nge_jax" / "xla"))
    runner = importlib.import_module(TASKS[task])
    if _EVAL_ONLY.value:
        runner.evaluate_only(config, path)
        return
    runner.run(config, path, overwrite=_OVERWRITE.value)


def run() -> None:
    """The console command `nge`.

    Exit codes: 0 done; 2 bad input, one line on stderr; 75 asked to stop by SIGTERM, a checkpoint is saved and the
    same command goes on from it; 130 interrupted; 1 a bug, with its traceback.
    """
    try:
        with runtime_flags.refusals():
            app.run(main, flags_parser=runtime_flags.parse)
    except Preempted as notice:
        print(f"\n{notice}; the same command goes on from here", file=sys.stderr)
        sys.exit(distributed.PREEMPTED_EXIT_CODE)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    run()
