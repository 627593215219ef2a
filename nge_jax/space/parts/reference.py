"""Finds the value that a reference names, and the reference of a value. No jax.

    mine:dirichlet               mine.py in the current folder, else an installed module
    path/to/mine.py:dirichlet    a file

Nothing registers itself: a value is found by its reference alone.
"""

import contextlib
import itertools
import re
import sys
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from nge_jax.errors import InputError, suggestions
from nge_jax.space.parts.modules import (
    blamed,
    content_of,
    digest,
    find_file,
    find_module,
    modules_of,
    place_of,
)

REFERENCE = re.compile(r"(?P<module>[^:]*[^:\s]):(?P<attribute>[A-Za-z_]\w*)")
CHANGED = "has changed since "
EXPECTED = "expected module:attribute or path/to/file.py:attribute"


class Loaded(NamedTuple):
    """A value that a reference names.

    Attributes:
        name: the reference.
        value: the value of the attribute.
        file: the file that the value comes from; "" where there is none.
        source: the module, the attribute and a hash of the file, as a workdir records them.
    """

    name: str
    value: Any
    file: str
    source: str


def is_reference(text: Any) -> bool:
    """Tells whether a value is a text of the form `module:attribute`."""
    return isinstance(text, str) and REFERENCE.fullmatch(text) is not None


def short_name(text: str) -> str:
    """Returns a reference without the place of the module: "mine:gat" for "path/to/mine.py:gat"; else the text."""
    if not is_reference(text):
        return text
    module, _, attribute = text.rpartition(":")
    stem = Path(module).stem if module.endswith(".py") else module.rpartition(".")[2]
    return f"{stem}:{attribute}"


def load(text: str, where: str = "") -> Loaded:
    """Loads the value that a reference names; the file is run where the content has not run yet.

    Args:
        text: the reference.
        where: begins the line of a refusal, such as "config.search.relaxation: ".

    Raises:
        InputError: the text is no reference, there is no such module or attribute, or the module raises. The line names
            the reference, the file and the line of the file.
    """
    match = REFERENCE.fullmatch(text)
    if match is None:
        raise InputError(f"{where}found {text!r}, {EXPECTED}")
    place, attribute, where = match["module"], match["attribute"], where + text
    with blamed(where):
        module = find_module(place, where)
        if not hasattr(module, attribute):
            names = _own_names(module)
            near = suggestions(attribute, names) if names else ""
            file = getattr(module, "__file__", None) or place
            raise InputError(f"{where}: {file} has no {attribute}{near}")
        return _make_loaded(text, getattr(module, attribute), module)


def _own_names(module: ModuleType) -> list[str]:
    """Lists the names that a reference may mean: no module, and no function or class of another module."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and not (hasattr(value, "__qualname__") and value.__module__ != module.__name__)
    ]


def _make_loaded(text: str, value: Any, module: ModuleType) -> Loaded:
    file = getattr(module, "__file__", None) or ""
    return Loaded(text, value, file, source(text, content_of(module)))


def find_loaded(text: str) -> Any:
    """Returns the value that a reference names where the module has been run; else None, and nothing is run."""
    place, _, attribute = text.rpartition(":")
    with contextlib.suppress(OSError, ValueError):  # no name of a file
        path = find_file(place)
        modules = [sys.modules.get(place)] if path is None else [*modules_of(path)]
        return getattr(modules[-1], attribute, None) if modules else None
    return None


def is_current(loaded: Loaded) -> bool:
    """Tells whether a reference still names a loaded value: the file is the same and has the content that ran."""
    path = find_file(loaded.name.rpartition(":")[0])
    if path is None:
        return find_loaded(loaded.name) is loaded.value
    if not path.is_file() or Path(loaded.file).resolve() != path:
        return False
    return source(loaded.name, digest(path.read_bytes())) == loaded.source


def find_value(value: Any, function: Any) -> Loaded | None:
    """Finds the reference by which `load` finds a value again, in another process too; None where no module has it.

    Args:
        value: the value.
        function: a function of the value. Its module comes first. The program, which imports from others, comes last.
    """
    first = getattr(function, "__module__", "")
    for name in sorted(sys.modules, key=lambda name: (name != first, name == "__main__")):
        module = sys.modules[name]
        for attribute, other in [*getattr(module, "__dict__", {}).items()]:
            if other is value and isinstance(module, ModuleType):
                return _make_loaded(f"{place_of(module)}:{attribute}", value, module)
    return None


def source(text: str, content: str) -> str:
    """Returns what a workdir records of a reference and the hash of the file's content, which may be empty."""
    return f"{short_name(text)} {content}".strip()


def recorded_name(row: str) -> str:
    """Returns the name in a row of `source`."""
    return row.rpartition(" sha256:")[0] or row


def changed_files(
    rows: Collection[str], recorded: Collection[str], since: str = "the run began"
) -> list[str]:
    """Says which files have changed: "mine.py has changed since the run began (mine:conv)".

    Args:
        rows: the rows of `source` as the files are now.
        recorded: the rows as they were.
        since: when the rows were recorded.
    """
    by_file = itertools.groupby(_changed(rows, recorded), lambda name: name.rpartition(":")[0])
    return [f"{file}.py {CHANGED}{since} ({', '.join(names)})" for file, names in by_file]


def renamed_files(rows: Collection[str], recorded: Collection[str]) -> list[str]:
    """Says which files have another name now: "mine.py is named yours.py now (mine:conv)"."""
    now = {(name.rpartition(":")[2], content): name for name, content in map(_parts_of, rows)}
    here, told = {*map(recorded_name, rows)}, []
    for name, content in map(_parts_of, sorted(recorded)):
        file, _, attribute = name.rpartition(":")
        if content and name not in here and (attribute, content) in now:
            other = now[attribute, content].rpartition(":")[0]
            told.append(f"{file}.py is named {other}.py now ({name})")
    return told


def _parts_of(row: str) -> tuple[str, str]:
    """Divides a row of `source` into the name and the hash, which may be empty."""
    name = recorded_name(row)
    return name, row[len(name) :].strip()


def _changed(rows: Collection[str], recorded: Collection[str]) -> list[str]:
    before, now = _by_name(recorded), _by_name(rows)
    return sorted(name for name, found in now.items() if before.get(name, found) != found)


def _by_name(rows: Collection[str]) -> dict[str, set[str]]:
    """Returns the rows of each name: files of the same name in several folders have the same names."""
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(recorded_name(row), set()).add(row)
    return found


def in_common(rows: Collection[str], recorded: Collection[str]) -> tuple[str, ...]:
    """Returns the rows of `source` whose names are recorded: an older version recorded parts alone."""
    names = {*map(recorded_name, recorded)}
    return tuple(row for row in rows if recorded_name(row) in names)
