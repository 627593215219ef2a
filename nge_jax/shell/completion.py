"""Completion of commands, configs, variants, keys and runs in bash and zsh, by argcomplete.

eval "$(register-python-argcomplete nge)"
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from nge_jax.errors import InputError
from nge_jax.settings import keys
from nge_jax.settings.configs import (
    find_config,
    flatten,
    load_config,
    load_module,
    shipped_configs,
)
from nge_jax.settings.parts.part import announced
from nge_jax.space.genotype import list_genotypes
from nge_jax.study.settings import KEYS as STUDY_KEYS

WITH_RUNS = ("eval", "predict", "export", "report", "compare")
WITH_CELLS = ("show", "latency")


def complete(tasks: Sequence[str], commands: Sequence[str]) -> None:
    """Answers the shell, which has called the command for this, and ends the process."""
    import argcomplete

    parser = argparse.ArgumentParser(prog="nge")
    subparsers = parser.add_subparsers(dest="command")
    for task in (*tasks, "study"):
        command = subparsers.add_parser(task, help="")  # zsh shows it
        _add(command, "config", configs)
        _add(command, "settings", settings, nargs="*")
        for flag in ("--data", "--workdir", "--overwrite", "--summary"):
            command.add_argument(flag)
    for name in (name for name in commands if name != "study"):
        command = subparsers.add_parser(name, help="")
        if name == "configs":
            _add(command, "name", configs, nargs="?")
        elif name == "init":
            command.add_argument("name")
            command.add_argument("--data")
            _add(command, "--like", lambda **_: [*shipped_configs()])
        elif name in WITH_CELLS:
            _add(command, "cell", cells)
        elif name in WITH_RUNS:
            _add(command, "runs", runs, nargs="*")
    argcomplete.autocomplete(parser, always_complete_options=False)


def _add(parser: argparse.ArgumentParser, name: str, completer, **options) -> None:
    parser.add_argument(name, **options).completer = completer  # pyright: ignore


def configs(prefix: str = "", parsed_args: argparse.Namespace | None = None, **_) -> list[str]:
    """Lists shipped configs of the task and .py files of the current folder, and behind a colon variants."""
    name, colon, words = prefix.partition(":")
    if colon:
        before = "".join(f"{word}," for word in words.split(",")[:-1])
        return [f"{name}:{before}{word}" for word in _variants(name)]
    command = getattr(parsed_args, "command", "")
    task = "search" if command == "study" else command
    shipped = [n for n in shipped_configs() if task == "configs" or n.startswith(f"{task}_")]
    return [*shipped, *(file.name for file in Path().glob("*.py"))]


def _variants(name: str) -> list[str]:
    try:
        load_config(name)
    except InputError:  # the file cannot be run
        return []
    tables = getattr(load_module(find_config(name)), "VARIANTS", ())
    return [word for table in tables for word in table]


def settings(prefix: str = "", parsed_args: argparse.Namespace | None = None, **_) -> list[str]:
    """Lists the keys of the config as KEY=; the known names of a key, and parts of installed packages, as KEY=NAME."""
    name, _, words = str(getattr(parsed_args, "config", "")).partition(":")
    try:
        known = dict(keys.keys_of(flatten(load_config(name, words).to_dict())))
    except InputError:  # the config is not typed whole
        return []
    if getattr(parsed_args, "command", "") == "study":
        known |= {row.name: row for row in STUDY_KEYS}
    key, is_set, _ = prefix.partition("=")
    if not is_set:
        return [f"{name}=" for name in known]
    if key not in known:
        return []
    parts = [reference for name, reference, _ in announced() if name == key]
    names = cells() if key == "genotype" else [*known[key].choices, *parts]
    return [f"{key}={name}" for name in names]


def cells(prefix: str = "", **_) -> list[str]:
    """Lists published cells, and runs, which may have found a cell."""
    return [*list_genotypes(), *runs(prefix)]


def runs(prefix: str = "", **_) -> Iterator[str]:
    """Yields workdirs below the current folder, at most two folders deep."""
    del prefix
    for pattern in ("*/environment.json", "*/*/environment.json"):
        yield from (str(file.parent) for file in sorted(Path().glob(pattern)))
