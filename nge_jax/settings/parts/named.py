"""The parts from outside that a config names: the keys that they declare, the numbers, and the record of the files."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from nge_jax.errors import InputError, prefixed
from nge_jax.settings import keys
from nge_jax.settings.key import Key, Limits, Values, describe_type
from nge_jax.settings.parts.part import ARGUMENTS, NONE, part_of
from nge_jax.space.parts import checks, functions
from nge_jax.space.parts.reference import Loaded, in_common, load

Parts = Mapping[str, Loaded]  # the keys are references


class Numbers(NamedTuple):
    """The values of a part's keys, by the last part of the name.

    Attributes:
      arguments: numbers that compiled programs take as arguments.
      constants: all other values.
    """

    arguments: dict[str, float]
    constants: dict[str, Any]


def find(values: Values, given: Parts = NONE) -> dict[str, Loaded]:
    """Loads the parts from outside that a search's values name.

    Args:
      values: a config's, by whole names of keys.
      given: parts that Python gave as values; they are not loaded.

    Raises:
      InputError: a part cannot be loaded, or declares a wrong key.
    """
    found: dict[str, Loaded] = {}
    for key, reference in _references(values):
        if reference not in found:
            found[reference] = given.get(reference) or load(reference, f"config.{key}: ")
            check_part(key, found[reference])
            _check_declared(key, found[reference], found)
    return found


def _references(values: Values) -> Iterator[tuple[str, str]]:
    """Yields each key that may name a part of a search, with each reference among the key's values."""
    for name, key in keys.keys_of(values).items():
        value = values.get(name)
        for word in value if isinstance(value, tuple | list) else (value,):
            if key.outside == "part" and key.is_outside(word):
                yield name, str(word)


def declared_keys(parts: Parts) -> dict[str, Key]:
    """Returns the keys that parts of `find` declare, by whole names."""
    return {row.name: row for part in parts.values() for row in part_of(part).keys}


def _check_declared(key: str, part: Loaded, parts: Parts) -> None:
    """Refuses a part that declares a key of another part by a different row."""
    rows = {row.name: row for row in part_of(part).keys}
    for other in parts.values():
        for row in part_of(other).keys:
            if rows.get(row.name, row) != row:
                where = f"config.{key}: {part.name}: {row.name}"
                raise InputError(f"{where}: found another row in {other.name}, expected the same")


def missing_keys(values: Values, parts: Parts) -> dict[str, Any]:
    """Returns the keys that a config of these values lacks and its parts declare, with the defaults."""
    return {n: row.default for n, row in declared_keys(parts).items() if n not in values}


def sources(values: Values, parts: Parts) -> tuple[str, ...]:
    """Returns what a search records of the files of parts, space and operations, for the key `search.sources`.

    Raises:
      InputError: the space or an operation cannot be loaded, or the key states other files.
    """
    rows = {part.source for part in parts.values()} | {*_space_sources(values)}
    found, stated = tuple(sorted(rows)), tuple(values.get("search.sources", ()))
    if stated and stated != in_common(found, stated):
        raise InputError(
            f"config.search.sources: found {stated}, expected {found}, as the files are"
        )
    return found


def _space_sources(values: Values) -> tuple[str, ...]:
    space, key = values.get("search.space"), keys.find("search", "search.space")
    if key is None or not key.is_outside(space):
        return ()
    with prefixed("config.search.space: "):
        return checks.sources(str(space))


def numbers_of(part: Loaded, values: Values) -> Numbers:
    """Divides the values of a part's keys into arguments of the programs and constants, as the rows say."""
    arguments, constants = {}, {}
    for row in part_of(part).keys:
        name = row.name.rpartition(".")[2]
        if row.in_program:
            constants[name] = values[row.name]
        else:
            arguments[name] = float(values[row.name])
    return Numbers(arguments, constants)


def _check_arguments(key: str, make: Any, where: str) -> None:
    """Refuses a function that takes other arguments than the makers of a key's parts."""
    kind = "edge_model" if key == "search.edge_models" else key.rpartition(".")[2]
    others = [k for k in ARGUMENTS if k != kind and functions.takes(make, ARGUMENTS[k])]
    advice = f", as a part for search.{' or search.'.join(others)}" if others else ""
    functions.check_arguments(make, ARGUMENTS[kind], where, advice)


def check_part(key: str, part: Loaded) -> None:
    """Refuses what is no part, and wrong rows of keys."""
    where = f"config.{key}: {part.name}"
    if not callable(part_of(part).make):
        found = type(part.value).__name__
        raise InputError(f"{where}: found {found}, expected a function or an nge.Part")
    _check_arguments(key, part_of(part).make, where)
    for row in part_of(part).keys:
        if not isinstance(row, Key):
            raise InputError(
                f"{where}: found {type(row).__name__} among the keys, expected nge.Key"
            )
        group, _, last = row.name.rpartition(".")
        if not group.isidentifier() or not last.isidentifier() or group in keys.GROUPS:
            expected = "a group of its own and a name, such as mine.rate"
            if group and group in keys.GROUPS:
                expected += f" (the package has the group {group})"
            raise InputError(f"{where}: found the key {row.name!r}, expected {expected}")
        if not row.in_program and not isinstance(row.allowed, Limits):
            raise InputError(
                f"{where}: {row.name}: an argument of programs is a number with Limits"
            )
        if not row.has_type(row.default) or type(row.default) not in (bool, int, float, str, tuple):
            found = describe_type(row.default)
            raise InputError(f"{where}: {row.name}: found {found} as the default, expected a value")
        with_name = row._replace(tasks=("search",))
        with prefixed(f"{where}: the default of "):
            with_name.check(row.default)
    names = [row.name for row in part_of(part).keys]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{where}: found several rows of the key {twice[0]}, expected one")
