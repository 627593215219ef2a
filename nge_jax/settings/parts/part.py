"""A part from outside the package: a function that makes the part, and the part's keys."""

import functools
import inspect
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from nge_jax.errors import InputError
from nge_jax.settings.key import Key
from nge_jax.space.parts.modules import blamed, digest
from nge_jax.space.parts.reference import Loaded, find_value, source

# The entry points by which an installed package announces parts, spaces and callbacks for a key.
ENTRY_POINTS = {
    ("search", "relaxation"): "nge_jax.relaxations",
    ("search", "edge_model"): "nge_jax.edge_models",
    ("search", "strategy"): "nge_jax.strategies",
    ("search", "space"): "nge_jax.spaces",
    ("run", "callbacks"): "nge_jax.callbacks",
}
# The arguments of `Part.make` for each of the keys.
ARGUMENTS = {
    "relaxation": ("space", "numbers"),
    "edge_model": ("space", "numbers", "head"),
    "strategy": ("space", "numbers", "edge_model"),
}
NONE: MappingProxyType[str, Loaded] = MappingProxyType({})  # no parts


class Part(NamedTuple):
    """A part from outside: a function that makes the part, and the keys that the part adds to a config.

    Attributes:
      make: makes the part; docs/extending.md has the arguments for each kind of part.
      keys: rows as the package's own. The group of the names is the part's: "mine.rate". A number with
        `in_program=False` is an argument of the compiled programs, and `make` gets a traced number.
    """

    make: Callable[..., Any]
    keys: tuple[Key, ...] = ()


def part_of(loaded: Loaded) -> Part:
    """Returns a loaded value as a `Part`; a function alone is a part without keys."""
    return loaded.value if isinstance(loaded.value, Part) else Part(loaded.value)


def make(loaded: Loaded, key: str, *arguments: Any) -> Any:
    """Calls a part's maker for a key of a config.

    Raises:
      InputError: the maker has raised anything; the line names the key and the part.
    """
    with blamed(f"config.{key}: {loaded.name}", loaded.file):
        return part_of(loaded).make(*arguments)


def from_value(value: Any, argument: str, recorded: Any = "") -> Loaded:
    """Makes of a Python value what `reference.load` makes of a reference.

    Args:
      value: a function or a `Part`.
      argument: the name of the argument.
      recorded: the name of the part in the workdir; earlier versions named every value by its function.

    Raises:
      InputError: the value is neither a function nor a `Part`.
    """
    make = value.make if isinstance(value, Part) else value
    if not callable(make):
        found = type(value).__name__
        raise InputError(f"{argument}: found {found}, expected a function or an nge.Part")
    function = inspect.unwrap(make.func if isinstance(make, functools.partial) else make)
    named, found = _name_by_function(value, function), find_value(value, function)
    return named if found is None or not found.file or named.name == recorded else found


def _name_by_function(value: Any, function: Any) -> Loaded:
    """Names a value by a function and the function's file: no module has the value, or a notebook has it."""
    try:
        file = inspect.getsourcefile(function) or ""
    except TypeError:  # an object with __call__
        file = ""
    if file and Path(file).is_file():
        text = Path(file).read_bytes()
    else:  # a cell of a notebook, or a prompt
        code = getattr(function, "__code__", None)
        text, file = (code.co_code if code is not None else repr(type(function)).encode()), ""
    name = getattr(function, "__name__", type(function).__name__).strip("<>")
    reference = f"{Path(file).stem or 'python'}:{name}"
    return Loaded(reference, value, file, source(reference, digest(text)))


def announced() -> Iterator[tuple[str, str, str]]:
    """Yields (key, reference, distribution) of each value for a key that an installed package announces."""
    for (group, name), points in ENTRY_POINTS.items():
        for point in sorted(metadata.entry_points(group=points)):
            yield f"{group}.{name}", point.value, point.dist.name if point.dist else ""
