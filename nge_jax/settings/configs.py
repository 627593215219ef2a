"""Config files: how they are found and read, how their keys are set, and their flat form.

A config file has `get_config(words="")`, which returns a ConfigDict with every key of its task (see `compose`). The
argument `words`, names joined by commas, chooses among the file's variants. The files of this project come with the
program and are known by their names, such as `search_cifar`. This module imports no jax.
"""

import functools
import json
import os
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from reprlib import repr as brief
from types import MappingProxyType, ModuleType
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from nge_jax.errors import InputError, near_names, suggestions
from nge_jax.settings import keys
from nge_jax.settings.key import USER, Key, Values, describe_type
from nge_jax.settings.parts import named
from nge_jax.settings.parts.named import Parts
from nge_jax.settings.parts.part import NONE, from_value
from nge_jax.space.parts.modules import line_in

# A flag that sets a key is --config.search.epochs=3 or --noconfig.data.flip.
SETTING = re.compile(r"--?(?:no)?config\.([^=]+)")
# A name, or a part from outside, in a key of several values.
WORD = re.compile(r"[\w./~-]+:[A-Za-z_]\w*|[A-Za-z_]\w*")
# Values by whole names of keys, such as {"network.channels": 4}.
Differences = Mapping[str, Any]
# Options of the program, which a user may write as keys.
OPTIONS = ("workdir", "overwrite", "summary", "config")
LISTED_KEYS = 20  # a refusal lists at most so many


def shipped_configs() -> dict[str, Path]:
    """Returns {name: file} of the configs that come with the program."""
    package = Path(__file__).resolve().parents[1]
    folder = package / "configs"  # a wheel has it there, a checkout beside the package
    if not folder.is_dir():
        folder = package.with_name("configs")
    return {file.stem: file for file in sorted(folder.glob("*.py"))}


def find_config(name: str) -> Path:
    """Returns the file of a config: a file that is there, or the shipped one with this name, with or without a folder.

    Raises:
      InputError: there is no such file, or a run has recorded it.
    """
    file, shipped = Path(name).expanduser(), shipped_configs()
    if name in shipped:
        return shipped[name]
    is_file = os.path.isfile(file)  # false for a name too long for a path, where pathlib raises
    if file.suffix == ".json" or os.path.isdir(file) or (is_file and file.suffix != ".py"):
        found = "a folder" if os.path.isdir(file) else f"a {file.suffix or 'plain'} file"
        found = "a record of values" if file.suffix == ".json" else found
        raise InputError(
            f"config {name!r}: found {found}, expected the name or the .py file of a config (a run goes on by the "
            "command that began it)"
        )
    if is_file:
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
    values = _with_parts_set(flatten(config.to_dict()), settings)
    config = extend(config, named.missing_keys(values, named.find(values)))
    known = flatten(config.to_dict())
    for setting in settings:
        match = SETTING.match(setting)
        if match and match[1] not in known:
            file, near = find_config(name), key_hint(match[1], known, known)
            raise InputError(f"config.{match[1]}: no such key in {file.name}{near}")
    values, argv = flags.FlagValues(), ["", *(_with_words_quoted(s, known) for s in settings)]
    holder = config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
    try:
        values(argv)
    except (flags.Error, ValueError, TypeError, KeyError, AttributeError) as error:
        message = str(error).strip().splitlines()[-1]
        if match := re.match(r"flag --config\.([\w.]+)=(.*?): ", message):
            kind = describe_type(known[match[1]])
            message = f"config.{match[1]}: found {brief(match[2])}, expected {kind}"
        raise InputError(message[:500]) from error
    return holder.value


def given_names(settings: Sequence[str]) -> list[str]:
    """Returns the names of the keys that `settings` of `read_config` set."""
    return [match[1] for setting in settings if (match := SETTING.match(setting))]


def _with_parts_set(values: Differences, settings: Sequence[str]) -> dict[str, Any]:
    """Returns a config's values with the parts that `settings` name; a config gets the parts' keys before it is set."""
    values, known = dict(values), keys.keys_of(values)
    for setting in settings:
        match = SETTING.match(setting)
        if match and match[1] in known and known[match[1]].outside:
            text = setting.partition("=")[2]
            is_tuple = isinstance(values[match[1]], tuple)
            values[match[1]] = WORD.findall(text) if is_tuple else text
    return values


def extend(config: ConfigDict, more: Differences) -> ConfigDict:
    """Returns a config with more keys, locked."""
    if not more:
        return config
    config = config.copy_and_resolve_references().unlock()
    for name, value in more.items():
        group, _, last = name.rpartition(".")
        if group not in config:
            config[group] = ConfigDict()
        config[group][last] = value
    return config.lock()


def complete(
    config: Any, given: Parts = NONE, settings: Mapping[str, Any] = MappingProxyType({})
) -> Any:
    """Adds to a search's config the keys of its parts from outside, and the hashes of the parts' files.

    Args:
      config: a config; whatever is no search's config stays as it is.
      given: parts that Python gave as values.
      settings: values that Python gives to keys, also to keys of the parts, by whole names.

    Raises:
      InputError: a part cannot be loaded or declares a wrong key, or `search.sources` states other files. Or a key of
        `settings` is unknown, or has values of another type.
    """
    if not isinstance(config, ConfigDict) or config.get("task") != "search":
        return config
    values = flatten(config.to_dict())
    values |= {name: value for name, value in settings.items() if name in values}
    parts = named.find(values, given)
    if settings:
        _check_settings(settings, {**keys.keys_of(values), **named.declared_keys(parts)})
        config = extend(config, named.missing_keys(values, parts)).copy_and_resolve_references()
        differ(config, settings)
        values = flatten(config.to_dict())
    sources = named.sources(values, parts)
    if not sources or "search.sources" not in values:  # a lack of the key is refused later
        return config
    config = extend(config, named.missing_keys(values, parts))
    config = config.copy_and_resolve_references()
    config.search.sources = sources
    return config


def _check_settings(settings: Mapping[str, Any], known: Mapping[str, Key]) -> None:
    """Refuses values of unknown keys, and values of other types."""
    for name, value in settings.items():
        if name not in known:
            raise InputError(f"settings: {name}: no such key{near_keys(name, known)}")
        if not known[name].has_type(value):
            default = known[name].default
            expected = f"{describe_type(default)} such as {default!r}"
            raise InputError(f"settings: {name}: found {brief(value)}, expected {expected}")


def with_parts(
    config: ConfigDict, values: Mapping[str, Any], recorded: Differences = MappingProxyType({})
) -> tuple[ConfigDict, Parts]:
    """Returns a config that names parts given as Python values, and the parts by these names.

    Args:
      config: a search's.
      values: a name, a reference, a function or a `Part` for keys of the group `search`; None leaves the key as it is.
      recorded: the values of the workdir's run, by whole names of keys.

    Raises:
      InputError: a value is no part.
    """
    given, changes = {}, {}
    for key, value in values.items():
        if isinstance(value, str):
            changes[f"search.{key}"] = value
        elif value is not None:
            part = from_value(value, key, recorded.get(f"search.{key}"))
            changes[f"search.{key}"], given[part.name] = part.name, part
    if changes and isinstance(config, ConfigDict) and "search" in config:
        config = config.copy_and_resolve_references()
        differ(config, changes)
    return config, given


def _with_words_quoted(setting: str, keys: Mapping[str, Any]) -> str:
    """Writes words for a key of several values as Python does: "nge,alpha" or "(nge,alpha,)" as ('nge', 'alpha').

    An empty text stands for no value.
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
    return f"{flag}={tuple(words)!r}" if all(map(WORD.fullmatch, words)) else setting


def shipped_module(name: str) -> ModuleType:
    """Returns the file of a shipped config as a module."""
    return load_module(shipped_configs()[name])


def load_module(file: Path) -> ModuleType:
    """Runs a config file and returns it as a module, under no name that others could import."""
    module = ModuleType(file.stem)
    module.__file__ = str(file)
    SourceFileLoader(file.stem, str(file)).exec_module(module)
    return module


def train_command(name: str, genotype: Path) -> str:
    """Returns the command that trains a cell by a config; a shipped config is named without its path."""
    return shlex.join(["nge", "train", shipped_name(name) or name, f"genotype={genotype}"])


def shipped_name(name: str) -> str | None:
    """Returns the name of the shipped config that a name or a path leads to; None for a user's file, or for no file."""
    try:
        file = find_config(name)
    except InputError:  # a user's file, seen from another folder
        return None
    return file.stem if file.resolve() == shipped_configs().get(file.stem) else None


def to_values(config: ConfigDict) -> dict[str, Any]:
    """Returns a config's values as a workdir records and compares them: as JSON has them, with lists for tuples."""
    return json.loads(config.to_json())


def has_user_images(config: ConfigDict) -> bool:
    """Whether a config is for a user's own images, see `keys.kind_of_data`."""
    return keys.kind_of_data(flatten(config.to_dict())) == USER


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


def flatten(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Joins nested keys by dots: {"data": {"name": 1}} becomes {"data.name": 1}."""
    flat = {}
    for key, value in record.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def key_hint(key: str, values: Values, known: Collection[str]) -> str:
    """Ends the refusal of a key that a config lacks: which runs have the key, or which keys are near.

    Args:
      key: the whole name.
      values: the config's; they decide which keys there are.
      known: the keys that there are.
    """
    if owners := keys.describe_owners(key, values):
        near = _alike(key, known)
        return f", {owners}" + f", did you mean {', '.join(near)}?" * bool(near)
    return near_keys(key, known)


def _alike(key: str, keys: Collection[str]) -> list[str]:
    """Lists the keys inside of this one, or else those with the same last part."""
    inside = [other for other in keys if other.startswith(key + ".")]
    return inside or [other for other in keys if other.split(".")[-1] == key.split(".")[-1]]


def near_keys(key: str, keys: Collection[str]) -> str:
    """Does as `suggestions`; keys inside of this one, or with the same last part, come first.

    A name of an option is answered with the option. Many keys are not listed.
    """
    near = (
        _alike(key, keys)
        or [f"--{option}" for option in OPTIONS if option == key]
        or near_names(key, keys)
    )
    if near:
        return f", did you mean {', '.join(near)}?"
    if len(keys) <= LISTED_KEYS:
        return f", it has {', '.join(keys)}"
    return ", `nge configs NAME` lists the keys"


def _place(file: Path, error: Exception) -> str:
    """Where in the config file an exception comes from."""
    line = getattr(error, "lineno", None) or line_in(str(file), error)
    return f"{file}, line {line}" if line else str(file)
