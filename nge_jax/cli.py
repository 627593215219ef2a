"""The command `nge`: searches, trains and shows, by the names of configs, cells and runs.

`nge_jax.main` runs the task commands, and `nge_jax.commands` has the others. Each command imports its modules when it
runs: help and mistakes are answered at once, without JAX.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nge_jax import commands
from nge_jax.commands import Parser, make_parser
from nge_jax.errors import InputError, suggestions

if TYPE_CHECKING:
    from ml_collections import ConfigDict

HELP = """\
usage: nge COMMAND ...            Neural Graph Embedding for architecture search

  nge search CONFIG [KEY=VALUE ...]    search a cell
  nge train CONFIG [KEY=VALUE ...]     train the network of a cell and test it
  nge segment CONFIG [KEY=VALUE ...]   fine-tune that network for segmentation
             [--data DIR] [--workdir W] [--overwrite] [--summary]
  nge study CONFIG [KEY=VALUE ...]     is the cell found better than random?

  nge eval RUN                         test the network of a run or a file again
  nge predict RUN IMAGES ...           classify or segment images and folders
  nge export RUN OUTPUT                write the network for use without nge_jax
  nge latency RUN|CELL [--table F]     milliseconds of a network, of its parts
  nge report RUN                       write the report of a run again
  nge compare RUN RUN ... [--html F]   runs side by side

  nge show CELL [-o cell.svg]          a cell by its name, file or run
  nge cells                            published cells, sizes of their networks
  nge configs [NAME]                   the configs, or the keys of one
  nge init NAME [--data DIR]           a config of your own, with comments

A first run takes some minutes:        nge search search_digits
and ends with a command like this:     nge train train_digits genotype=runs/...
More: nge COMMAND --help; nge --version
"""
# The result of each task command, for the refusal of another task's config.
TASKS = {"search": "search", "train": "training", "segment": "segmentation"}


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs the command on these arguments (None: the process's own); exit codes are those of `nge_jax.main`."""
    # `nge_jax.main` sets the same, but a config is read before it is imported, and that imports jax.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "_ARGCOMPLETE" in os.environ:  # a shell asks for completions
        from nge_jax.shell import completion

        completion.complete([*TASKS], [*COMMANDS])
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given:
        print(HELP, end="", file=sys.stderr)
        sys.exit(2)
    command, rest = given[0], given[1:]
    if command in ("-h", "--help", "help"):
        print(HELP, end="")
    elif command == "--version":
        print(f"nge_jax {_version()}")
    elif command.startswith("-"):
        _run_flags(given)
    else:
        _run_command(command, rest)


def _run_flags(arguments: list[str]) -> None:
    """`nge --config=...`: the flags of `nge_jax.main`."""
    from nge_jax import main

    sys.argv[1:] = arguments
    main.run()


def _run_command(command: str, arguments: list[str]) -> None:
    from nge_jax.settings.flags import refusals

    try:
        with refusals():
            if command in TASKS:
                _run_task(command, arguments)
            elif command in COMMANDS:
                COMMANDS[command](arguments)
            else:
                near = suggestions(command, (*TASKS, *COMMANDS))
                raise InputError(f"{command!r} is no command{near}")
    except KeyboardInterrupt:
        sys.exit(130)


def _make_task_parser(task: str) -> Parser:
    """Makes the parser of `nge search|train|segment CONFIG [KEY=VALUE ...]`."""
    parser = make_parser(
        task,
        f"Runs the {TASKS[task]} that a config describes. The same command goes on where it stopped.",
        epilog="nge configs lists the configs, nge configs NAME the keys of one. Exit codes: 0 done, 2 bad input, "
        "75 asked to stop by SIGTERM and saved, 130 interrupted.",
    )
    _add_run(parser, "runs/NAME[-WORDS]")
    parser.add_argument(
        "--overwrite", action="store_true", help="remove an earlier run's results, start afresh"
    )
    parser.add_argument(
        "--summary", action="store_true", help="print the sizes of the network's parts, do no more"
    )
    several = parser.add_argument_group("of a run of several processes")
    several.add_argument("--coordinator", metavar="HOST:PORT", help="of the first of them")
    several.add_argument("--num_processes", metavar="N", type=int, help="how many there are")
    several.add_argument("--process_id", metavar="I", type=int, help="which this is, from 0")
    return parser


def _add_run(parser: Parser, workdir: str) -> None:
    """Adds the config, the keys, the data and the workdir, whose default is `workdir`."""
    parser.add_argument("config", metavar="CONFIG", help="name or file, with variants: NAME:WORDS")
    parser.add_argument(
        "settings", metavar="KEY=VALUE", nargs="*", default=[], help="sets a key, such as seed=1"
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="folder of the data sets: the key data.dir; of search_folder and train_folder the images themselves, of "
        "segment_voc also a VOCdevkit",
    )
    parser.add_argument(
        "--workdir", metavar="W", help=f"where the run's files go; default: {workdir}"
    )


def _run_task(task: str, arguments: list[str]) -> None:
    """Runs `nge search|train|segment CONFIG [KEY=VALUE ...]`."""
    given = _make_task_parser(task).parse_intermixed_args(arguments)

    config = _read_config(task, given.config, given.settings, given.data)

    from nge_jax import main

    processes = ("coordinator", "num_processes", "process_id")
    with main.exit_codes():
        main.run_task(
            config,
            given.workdir or main.default_workdir(given.config),
            overwrite=given.overwrite,
            summary=given.summary,
            name=given.config,
            given=_names(given.settings),
            processes={name: getattr(given, name) for name in processes},
        )


def _read_config(task: str, name: str, settings: Sequence[str], data: str | None) -> "ConfigDict":
    """Reads the config of a task with KEY=VALUE and --data."""
    from nge_jax.settings.configs import differ, flatten, read_config

    config = read_config(name, [_setting(text) for text in settings])
    found = config.get("task")
    if found != task and found in TASKS:
        raise InputError(f"{name} is the config of a {TASKS[found]}, run it by: nge {found} {name}")
    if data is not None:
        from nge_jax.data.place import data_keys

        differ(config, data_keys(flatten(config.to_dict()), data))
    return config


def _study(arguments: list[str]) -> None:
    """Runs `nge study CONFIG [KEY=VALUE ...]`."""
    from nge_jax.study import settings

    parser = make_parser(
        "study",
        "Searches, trains the cells found and random cells of the same cost by the same\n"
        "recipe, and says whether the cells found are better. The workdir's folder\n"
        "network has the network of the first cell found. The same command goes on where\n"
        "it stopped. recipe.KEY=VALUE sets a key of the config that trains the cells,\n"
        "such as recipe.train.epochs=10. The settings of the study stand below.",
        epilog=settings.describe(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_run(parser, "runs/study-NAME[-WORDS]")
    given = parser.parse_intermixed_args(arguments)
    for text in given.settings:
        _setting(text)  # refuses what is no KEY=VALUE
    divided = settings.divide(given.settings)
    config = _read_config("search", given.config, divided.search, given.data)

    from nge_jax import main

    default = main.default_workdir(given.config)
    path = given.workdir or default.with_name(f"study-{default.name}")
    with main.exit_codes():
        main.run_study(
            path,
            given.config,
            given=_names(divided.search),
            config=config,
            settings=divided.study,
            recipe_keys=divided.recipe,
        )


COMMANDS = {**commands.COMMANDS, "study": _study}


def _setting(text: str) -> str:
    """Returns the flag of a KEY=VALUE."""
    if not re.match(r"[\w.]+=", text):
        raise InputError(f"unexpected argument {text!r}, expected KEY=VALUE such as seed=1")
    return f"--config.{text}"


def _names(settings: Sequence[str]) -> list[str]:
    """Returns the names of the keys of KEY=VALUE."""
    return [text.partition("=")[0] for text in settings]


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("nge_jax")
    except metadata.PackageNotFoundError:  # run from a checkout
        return "of a checkout"


if __name__ == "__main__":
    run()
