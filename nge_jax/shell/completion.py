"""Completion of commands, configs, variants, keys and runs in bash and zsh, by argcomplete.

eval "$(register-python-argcomplete nge)"
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from nge_jax.errors import InputError
from nge_jax.settings import keys
from nge_jax.settings.configs import flatten, load_config, load_module, shipped_configs
from nge_jax.space.genotype import list_genotypes

WITH_RUNS = ("eval", "predict", "export", "report", "compare")


def complete(tasks: Sequence[str], commands: Sequence[str]) -> None:
    """Answers the shell, which has called the command for this, and ends the process."""
    import argcomplete

    parser = argparse.ArgumentParser(prog="nge")
    subparsers = parser.add_subparsers(dest="command")
    for task in tasks:
        command = subparsers.add_parser(task)
        _add(command, "config", configs)
        _add(command, "settings", settings, nargs="*")
        for flag in ("--data", "--workdir", "--overwrite", "--summary"):
            command.add_argument(flag)
    for name in commands:
        command = subparsers.add_parser(name)
        if name == "configs":
            _add(command, "name", configs, nargs="?")
        elif name == "show":
            _add(command, "cell", lambda **_: [*list_genotypes(), *runs()])
        elif name in WITH_RUNS:
            _add(command, "runs", runs, nargs="*")
    argcomplete.autocomplete(parser, always_complete_options=False)


def _add(parser: argparse.ArgumentParser, name: str, completer, **options) -> None:
    parser.add_argument(name, **options).completer = completer  # pyright: ignore


def configs(prefix: str = "", parsed_args: argparse.Namespace | None = None, **_) -> list[str]:
    """Lists shipped configs of the task, with variants behind a colon, and .py files of the current folder."""
    name, colon, words = prefix.partition(":")
    if colon and name in shipped_configs():
        before = "".join(f"{word}," for word in words.split(",")[:-1])
        tables = load_module(shipped_configs()[name]).VARIANTS
        return [f"{name}:{before}{word}" for table in tables for word in table]
    task = getattr(parsed_args, "command", "")
    shipped = [n for n in shipped_configs() if task == "configs" or n.startswith(f"{task}_")]
    return [*shipped, *(file.name for file in Path().glob("*.py"))]


def settings(prefix: str = "", parsed_args: argparse.Namespace | None = None, **_) -> list[str]:
    """Lists the keys of the config as KEY=, and the known names of a key as KEY=NAME."""
    name, _, words = str(getattr(parsed_args, "config", "")).partition(":")
    try:
        known = keys.keys_of(flatten(load_config(name, words).to_dict()))
    except InputError:  # the config is not typed whole
        return []
    key, is_set, _ = prefix.partition("=")
    if not is_set:
        return [f"{name}=" for name in known]
    return [f"{key}={choice}" for choice in known[key].choices] if key in known else []


def runs(prefix: str = "", **_) -> Iterator[str]:
    """Yields workdirs below the current folder, at most two folders deep."""
    del prefix
    for pattern in ("*/environment.json", "*/*/environment.json"):
        yield from (str(file.parent) for file in sorted(Path().glob(pattern)))
