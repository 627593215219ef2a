"""How a config file makes its config: the values that it states, the defaults of all other keys, words and rules.

This module imports no jax.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from nge_jax.errors import InputError, suggestions
from nge_jax.settings import keys
from nge_jax.settings.configs import Differences, differ, flatten, key_hint
from nge_jax.settings.key import TASKS, Values
from nge_jax.settings.parts import named

# Tables of words, each with the keys that it changes. A config takes one word of a table; later tables prevail.
Variants = Sequence[Mapping[str, Differences]]
# A rule returns, given all values, those keys that follow from others.
Rule = Callable[[Values], Differences]


class Stated(NamedTuple):
    """A value that a config states, with its source or its reason, which `nge configs` shows."""

    value: Any
    source: str


def make_config(
    settings: Mapping[str, Any],
    words: str,
    variants: Variants,
    file: str,
    rules: Sequence[Rule] = (),
) -> ConfigDict:
    """Makes a config of the values that its file states, the defaults of all other keys, its words and rules.

    Args:
      settings: the stated values, plain or `Stated`, by whole names of keys; "task" is among them.
      words, variants, file: see `find_differences`.
      rules: they are applied after the words, in this order.

    Raises:
      InputError: there is no such key for the config's task and data, or `find_differences` refuses the words.
    """
    stated = {name: v.value if isinstance(v, Stated) else v for name, v in settings.items()}
    task = stated.get("task")
    if task not in TASKS:
        raise InputError(f"{file}: task: found {task!r}, expected one of {', '.join(TASKS)}")
    differences = find_differences(words, variants, file)
    parts = named.find({**stated, **differences})
    known = {**keys.keys_of(stated), **named.declared_keys(parts)}
    for name in stated:
        if name not in known:
            where = f"no such key for the task {task} with {keys.kind_of_data(stated)}"
            raise InputError(f"{file}: {name}: {where}{key_hint(name, stated, known)}")
    config = ConfigDict()
    for name, key in known.items():
        group = config if not key.group else config.get(key.group)
        if group is None:
            group = config[key.group] = ConfigDict()
        group[name.rpartition(".")[2]] = stated.get(name, key.default)
    differ(config, differences)
    for rule in rules:
        differ(config, rule(flatten(config.to_dict())))
    return config


def words_for(name: str) -> dict[str, Differences]:
    """Returns a table of variants with a word for each name that a key of a search may hold.

    Raises:
      KeyError: a search has no such key.
    """
    key = keys.find("search", name)
    if key is None:
        raise KeyError(f"no key {name}")
    return {word: {name: word} for word in key.choices}


def with_default(words: str, default: str, tables: Variants) -> str:
    """Adds a word that says how to search, where no word of these tables does.

    Args:
      words: see `find_differences`.
      default: the word, of a table.
      tables: the tables whose words say how to search.
    """
    given = words.split(",") if words else []
    says = any(word in table for word in given for table in tables)
    return words if says else ",".join([default, *given])


def restated(base: ModuleType, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Gives the module of a shipped config other values, and returns all values that it states then.

    The values prevail also over `TRAINED`, the way in which some configs search by default. Other words prevail over
    the values.

    Args:
      base: the module, which nothing else uses.
      settings: the values by whole names of keys.
    """
    for name in settings:
        getattr(base, "TRAINED", {}).pop(name, None)
    stated = base.SETTINGS | settings
    vars(base).update(SETTINGS=stated)
    return stated


def find_differences(words: str, variants: Variants, file: str) -> Differences:
    """Returns the keys that the variants in `words` change; later tables prevail.

    Args:
      words: names of variants, joined by commas in any order; "" names none.
      variants: see `Variants`.
      file: the config's file, for messages.

    Raises:
      InputError: an unknown word, or two of one table.
    """
    given, name = words.split(",") if words else [], Path(file).name
    differences: dict[str, Any] = {}
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
            differences |= table[word]
    return differences
