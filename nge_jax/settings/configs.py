"""Configs: their files, the words that vary them, and their flat form; `settings.checks` has checks of what they say.

A config file has `get_config(words="")`, which returns a ConfigDict with every key of its task; `words`, joined by
commas, choose among its variants. The files of this project come with the program and are known by name
(`search_cifar`), wherever it is installed. This module imports no jax.
"""

import difflib
import functools
import json
import os
import re
import shlex
import traceback
from collections.abc import Collection, Mapping, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from reprlib import repr as brief
from types import ModuleType
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from nge_jax.errors import InputError

KINDS = {
    bool: "True or False",
    int: "an integer",
    float: "a number",
    str: "a text",
    tuple: "numbers",
}

# A shipped config of each task; those of a task have the same keys of `run`.
FIRST_OF_TASK = {"search": "search_cifar", "train": "train_cifar10", "segment": "segment_voc"}

# A flag that sets a key: --config.search.epochs=3, --noconfig.data.flip.
SETTING = re.compile(r"--?(?:no)?config\.([^=]+)")
# {"network.channels": 4}: keys of a config, joined by dots, and the values that they take instead.
Differences = Mapping[str, Any]
# Tables of words and what each changes. Of one table one word may be given; later tables have the last say.
Variants = Sequence[Mapping[str, Differences]]


def shipped_configs() -> dict[str, Path]:
    """Returns {name: file} of the configs that come with the program."""
    package = Path(__file__).resolve().parents[1]
    folder = package / "configs"  # of a wheel; of a checkout it stands beside the package
    if not folder.is_dir():
        folder = package.with_name("configs")
    return {file.stem: file for file in sorted(folder.glob("*.py"))}


def find_config(name: str) -> Path:
    """Returns the file of a config: one that is there, or the shipped one of that name, with or without its folder.

    Raises:
      InputError: there is none, or it is what a run recorded.
    """
    file, shipped = Path(name).expanduser(), shipped_configs()
    if name in shipped:
        return shipped[name]
    if file.suffix == ".json" or os.path.isdir(file):
        found = "a folder" if os.path.isdir(file) else "a record of values"
        raise InputError(
            f"config {name!r}: found {found}, expected the name or the .py file of a config (a run goes on by the "
            "command that began it)"
        )
    if os.path.isfile(file):  # false for a name too long for a path, where pathlib raises
        return file
    if file.suffix in ("", ".py") and str(file.parent) in (".", "configs") and file.stem in shipped:
        return shipped[file.stem]
    near = suggestions(file.stem, shipped)
    raise InputError(f"config {name!r}: no such file, and no config has this name{near}")


def load_config(name: str | Path, words: str = "") -> ConfigDict:
    """Returns a config by its file or its name: `load_config("search_cifar", "rnn,small")`.

    Its keys may be given other values, but none may be added: a key with a typo in it is refused.

    Raises:
      InputError: there is no such config, it cannot be read, or it refuses the words.
    """
    file = find_config(str(name))
    try:
        module = load_module(file)
        if not callable(getattr(module, "get_config", None)):
            raise InputError(f"{file}: found no get_config, expected a function get_config(words)")
        config = module.get_config(words) if words else module.get_config()
    except InputError:
        raise
    except Exception as error:  # whatever is wrong with a user's file is said in one line
        raise InputError(f"{_place(file, error)}: {type(error).__name__}: {error}") from error
    if not isinstance(config, ConfigDict):
        found = type(config).__name__
        raise InputError(f"{file}: get_config returns {found}, expected a ConfigDict")
    return config.lock()


def read_config(given: str, settings: Sequence[str] = ()) -> ConfigDict:
    """Returns the config `given` by its name or its file, with some of its keys set.

    Args:
      given: NAME, FILE, NAME:WORDS or FILE:WORDS.
      settings: "--config.search.epochs=3", "--noconfig.data.flip" ...; a value's type is that of the key.

    Raises:
      InputError: an unknown config, variant or key, or a value of the wrong type.
    """
    name, _, words = given.partition(":")
    config = load_config(name, words)
    keys = flatten(config.to_dict())
    for setting in settings:
        match = SETTING.match(setting)
        if match and match[1] not in keys:
            file, near = find_config(name), _near_keys(match[1], keys)
            raise InputError(f"config.{match[1]}: no such key in {file.name}{near}")
    values, argv = flags.FlagValues(), ["", *(_with_words_quoted(s, keys) for s in settings)]
    holder = config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
    try:
        values(argv)
    except (flags.Error, ValueError, TypeError, KeyError, AttributeError) as error:
        message = str(error).strip().splitlines()[-1]
        if match := re.match(r"flag --config\.([\w.]+)=(.*?): ", message):
            kind = describe_type(keys[match[1]])
            message = f"config.{match[1]}: found {brief(match[2])}, expected {kind}"
        raise InputError(message[:500]) from error
    return holder.value


def _with_words_quoted(setting: str, keys: Mapping[str, Any]) -> str:
    """Writes words given to a key of several values as Python does: "nge,alpha" or "(nge,alpha,)" as ('nge', 'alpha').

    Nothing stands for no value.
    """
    flag, _, value = setting.partition("=")
    match = SETTING.match(setting)
    if match is None or not isinstance(keys.get(match[1]), tuple):
        return setting
    bare = value.strip()
    bare = bare[1:-1] if bare.startswith("(") and bare.endswith(")") else bare
    words = [word.strip() for word in bare.removesuffix(",").split(",")]
    if words == [""]:
        return f"{flag}=()"
    return f"{flag}={tuple(words)!r}" if all(map(str.isidentifier, words)) else setting


def load_module(file: Path) -> ModuleType:
    """Runs a config file and returns it as a module, under no name that others could import."""
    module = ModuleType(file.stem)
    module.__file__ = str(file)
    SourceFileLoader(file.stem, str(file)).exec_module(module)
    return module


def train_command(name: str, genotype: Path) -> str:
    """Returns the command that trains a cell by a config, which is named by its name if it is a shipped one."""
    return shlex.join(["nge", "train", shipped_name(name) or name, f"genotype={genotype}"])


def shipped_name(name: str) -> str | None:
    """Returns the name of the shipped config that a name or a path leads to; None where it is a user's, or none."""
    try:
        file = find_config(name)
    except InputError:  # a user's file, seen from another folder
        return None
    return file.stem if file.resolve() == shipped_configs().get(file.stem) else None


def to_values(config: ConfigDict) -> dict[str, Any]:
    """Returns a config's values as its JSON has them, tuples as lists: what a workdir records and compares."""
    return json.loads(config.to_json())


def loop_settings(config: ConfigDict) -> dict[str, int]:
    """Returns what a checked config tells `loop.run`."""
    return {
        "checkpoint_every_steps": config.run.checkpoint_every_steps,
        "keep_checkpoints": config.run.keep_checkpoints,
        "steps_per_dispatch": config.run.steps_per_dispatch,
        "skip_nonfinite": config.run.skip_nonfinite,
    }


def differ(config: ConfigDict, differences: Differences) -> None:
    """Gives keys of a config other values.

    Raises:
      KeyError: the config has no such key.
    """
    for key, value in differences.items():
        *groups, last = key.split(".")
        group = functools.reduce(ConfigDict.__getitem__, groups, config)
        if last not in group:
            raise KeyError(f"no key {key}")
        group[last] = value


def apply_words(config: ConfigDict, words: str, variants: Variants, file: str) -> ConfigDict:
    """Returns the config with the variants that `words` names, in the order of the tables.

    Args:
      config: of no variant; it is changed.
      words: joined by commas, in any order; "" names none.
      variants: see `Variants`.
      file: the config's, for messages.

    Raises:
      InputError: an unknown word, or two of one table.
    """
    given, name = words.split(",") if words else [], Path(file).name
    known = [word for table in variants for word in table]
    for word in given:
        if word not in known:
            near = suggestions(word, known, of_all="expected one of")
            raise InputError(f"{name}: unknown variant {word!r}{near}")
    for table in variants:
        chosen = [word for word in given if word in table]
        if len(chosen) > 1:
            raise InputError(f"{name}: {words!r} names two of {', '.join(table)}")
        for word in chosen:
            differ(config, table[word])
    return config


def suggestions(given: str, known: Collection[str], of_all: str = "expected one of") -> str:
    """Returns ", did you mean ...?" of what is near, or else ", expected one of ..." of all."""
    near = difflib.get_close_matches(given, known, n=3)
    return f", did you mean {' or '.join(near)}?" if near else f", {of_all} {', '.join(known)}"


def flatten(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Joins nested keys by dots: {"data": {"name": 1}} becomes {"data.name": 1}."""
    flat = {}
    for key, value in record.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def describe_type(value: Any) -> str:
    """Returns what a value of this one's type is called: "an integer"."""
    return KINDS.get(type(value), type(value).__name__)


def _near_keys(key: str, keys: Collection[str]) -> str:
    """Like `suggestions`, of keys inside of this one or with the same last part if there are any."""
    inside = [other for other in keys if other.startswith(key + ".")]
    near = inside or [other for other in keys if other.split(".")[-1] == key.split(".")[-1]]
    return f", did you mean {', '.join(near)}?" if near else suggestions(key, keys, "it has")


@functools.cache
def shipped_values(name: str) -> dict[str, Any]:
    """Returns the values of a shipped config of no variant, by its name; not to be changed."""
    return load_config(name).to_dict()


def _place(file: Path, error: Exception) -> str:
    """Where in the config file an exception comes from."""
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(file)
    ]
    line = getattr(error, "lineno", None) or (lines[-1] if lines else None)
    return f"{file}, line {line}" if line else str(file)
