"""Loads a part by its reference.

    mine:dirichlet               mine.py in the current folder, else an installed module
    path/to/mine.py:dirichlet    a file

A module runs once for each content of the file. Nothing registers itself: a part is found by its reference alone.
"""

import contextlib
import functools
import hashlib
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from importlib import metadata, util
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

from nge_jax.errors import InputError, suggestions
from nge_jax.settings.key import Key, is_reference

REFERENCE = re.compile(r"(?P<module>[^:]+):(?P<attribute>[A-Za-z_]\w*)")
EXPECTED = "expected module:attribute or path/to/file.py:attribute"
# Keys of the group `search` that name parts. An installed package announces parts as entry points nge_jax.relaxations,
# nge_jax.edge_models and nge_jax.strategies.
ENTRY_POINTS = {
    "relaxation": "nge_jax.relaxations",
    "edge_model": "nge_jax.edge_models",
    "strategy": "nge_jax.strategies",
}


class Part(NamedTuple):
    """A part from outside: a function that makes the part, and the keys that the part adds to a config.

    Attributes:
      make: makes the part; docs/extending.md has the arguments for each kind of part.
      keys: rows as the package's own. The group of the names is the part's: "mine.rate". A number with
        `in_program=False` is an argument of the compiled programs, and `make` gets a traced number.
    """

    make: Callable[..., Any]
    keys: tuple[Key, ...] = ()


class Loaded(NamedTuple):
    """A part that was loaded.

    Attributes:
      name: the reference, as the config has it.
      value: the value of the attribute.
      file: the file that the value comes from; "" where there is none.
      source: the module, the attribute and a hash of the file, as a workdir records them.
    """

    name: str
    value: Any
    file: str
    source: str

    @property
    def part(self) -> Part:
        """The value as a `Part`; a function alone is a part without keys."""
        return self.value if isinstance(self.value, Part) else Part(self.value)

    def make(self, key: str, *arguments: Any) -> Any:
        """Calls the part's maker for a key of a config.

        Raises:
          InputError: the maker has raised anything; the line names the key and the part.
        """
        with blamed(f"config.{key}: {self.name}", self.file):
            return self.part.make(*arguments)


NONE: MappingProxyType[str, Loaded] = MappingProxyType({})  # no parts


def short_name(reference: str) -> str:
    """Returns a reference without the place of the module: "mine:gat" for "path/to/mine.py:gat"; else the name."""
    if not is_reference(reference):
        return reference
    module, _, attribute = reference.rpartition(":")
    stem = Path(module).stem if module.endswith(".py") else module.rpartition(".")[2]
    return f"{stem}:{attribute}"


def load(reference: str, key: str) -> Loaded:
    """Loads the part that a key of a config names.

    Raises:
      InputError: there is no such module or attribute, or the module raises; the line names the key and the part.
    """
    match = REFERENCE.fullmatch(reference)
    if match is None:
        raise InputError(f"config.{key}: found {reference!r}, {EXPECTED}")
    place, attribute = match["module"], match["attribute"]
    with blamed(f"config.{key}: {reference}"):
        module = _load_module(place, f"config.{key}: {reference}")
    if not hasattr(module, attribute):
        names = [name for name in vars(module) if not name.startswith("_")]
        near = suggestions(attribute, names) if names else ""
        where = f"{module.__file__} has no {attribute}"
        raise InputError(f"config.{key}: {reference}: {where}{near}")
    file = str(module.__file__ or "")
    digest = _digest(Path(file).read_bytes()) if file else ""
    return Loaded(
        reference, getattr(module, attribute), file, f"{short_name(reference)} {digest}".strip()
    )


def from_value(value: Any, argument: str) -> Loaded:
    """Makes of a Python value what `load` makes of a reference. The function's name and module name the value.

    Raises:
      InputError: the value is neither a function nor a `Part`.
    """
    make = value.make if isinstance(value, Part) else value
    if not callable(make):
        found = type(value).__name__
        raise InputError(f"{argument}: found {found}, expected a function or an nge.Part")
    function = inspect.unwrap(make.func if isinstance(make, functools.partial) else make)
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
    return Loaded(reference, value, file, f"{reference} {_digest(text)}")


@contextlib.contextmanager
def blamed(where: str, file: str = "") -> Iterator[None]:
    """Makes an exception of a part's code one line that begins with `where` and names the line of the file.

    Raises:
      InputError: the code inside has raised anything.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # a user's code may raise anything
        lines = [
            f"line {frame.lineno}"
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == file
        ]
        text = " ".join(str(error).split())[:300]
        place = f"{Path(file).name}, {lines[-1]}: " if lines else ""
        raise InputError(f"{where}: {place}{type(error).__name__}: {text}") from error


def announced() -> Iterator[tuple[str, str, str]]:
    """Yields (key, reference, distribution) of each part that an installed package announces."""
    for key, group in ENTRY_POINTS.items():
        for point in sorted(metadata.entry_points(group=group)):
            yield f"search.{key}", point.value, point.dist.name if point.dist else ""


def _load_module(place: str, where: str) -> ModuleType:
    """Runs a file, or imports an installed module."""
    if place.endswith(".py"):
        file = Path(place).expanduser()
        if not file.is_file():
            raise InputError(f"{where}: no such file {place}")
        return _run_file(str(file.resolve()), file.read_bytes())
    stem = Path(*place.split("."))
    for file in (stem.with_suffix(".py"), stem / "__init__.py"):
        if file.is_file():
            return _run_file(str(file.resolve()), file.read_bytes())
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise  # the module is there, and lacks another
        expected = f"no {stem}.py in {Path.cwd()}, and no such module is installed"
        raise InputError(f"{where}: {expected}") from None


@functools.lru_cache
def _run_file(path: str, content: bytes) -> ModuleType:
    """Runs a file once for each content. Modules beside the file can be imported, behind all installed ones."""
    file = Path(path)
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    # The name is no other module's: a part may be called random.py.
    name = f"{file.stem}_{_digest(content)[-16:]}"
    spec = util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "a .py file has a loader"
    module = util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and Flax look there
    try:
        with blamed(path, path):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()[:16]}"
