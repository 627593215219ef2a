"""The command: reads the flags, refuses what is wrong with them, runs the task that the config names."""

import importlib
import os
import re
import sys
from pathlib import Path

import jax
from absl import app, flags, logging

from nge_jax import command_line, workdir
from nge_jax.errors import InputError
from nge_jax.genotype import GenotypeError

TASKS = {"search": "nge_jax.search", "train": "nge_jax.train"}
USAGE = """\
Give a config, for example

  {0} --config=configs/search_digits.py            search on scikit-learn's digits, in minutes
  {0} --config=configs/search_cifar.py             search on CIFAR-10, the paper's settings
  {0} --config=configs/search_cifar.py:rnn         a variant of it (see the file's docstring)
  {0} --config=configs/search_cifar.py --config.seed=1 --workdir=runs/seed1

A run goes on where it stopped when the same command is given again. More: {0} --help
"""

_CONFIG = command_line.define_config()
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "where the run's files go; default: runs/<config name>[-<variant>]"
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "remove the results of an earlier run in the workdir, start afresh"
)


def main(argv: list[str]) -> None:
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.ERROR)  # Orbax and tfds tell much at absl's default
    if len(argv) > 1:
        raise InputError(f"unexpected argument {argv[1]!r}, expected flags such as --config=FILE")
    if _CONFIG.value is None:
        print(USAGE.format("python -m nge_jax.main"), end="", file=sys.stderr)
        sys.exit(2)
    config = _CONFIG.value
    task = config.task if "task" in config else None
    if task not in TASKS:
        raise InputError(f"config.task: found {task!r}, expected one of {', '.join(TASKS)}")
    name = re.sub(r"[^\w.-]+", "-", command_line.config_name())
    path = Path(_WORKDIR.value or Path("runs") / name)
    workdir.check(path, config, overwrite=_OVERWRITE.value)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # which jax itself reads
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(cache / "nge_jax" / "xla"))
    runner = importlib.import_module(TASKS[task])
    runner.run(config, path, overwrite=_OVERWRITE.value)


def run() -> None:
    """The console command `nge`: bad input is one line on stderr and exit code 2, a bug a traceback."""
    try:
        app.run(main, flags_parser=command_line.parse)
    except (InputError, GenotypeError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    run()
