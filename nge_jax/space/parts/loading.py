"""Finds an operation or a space by name: the package's, or a user's own as `module:attribute`. No jax.

The module is a name that Python can import, from the current folder too, or the path of a .py file:
`mine:conv_5x5`, `ideas/mine.py:conv_5x5`.
"""

import functools
import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from nge_jax.errors import InputError
from nge_jax.space.parts.operation import Operation
from nge_jax.space.parts.package import OPERATIONS

REFERENCE = re.compile(r"[^:]*[^:\s]:[A-Za-z_]\w*")


def is_reference(text: str) -> bool:
    """Tells whether a text has the form `module:attribute`."""
    return REFERENCE.fullmatch(text) is not None


def is_operation(name: str) -> bool:
    """Tells whether a name may be the name of an operation; a user's own is not loaded."""
    return name in OPERATIONS or is_reference(name)


def load(text: str) -> Any:
    """Returns what `module:attribute` names; the module is run where it has not been imported yet.

    Raises:
        InputError: the text has another form, the module cannot be run, or it has no such attribute.
    """
    if not is_reference(text):
        raise InputError(f"{text}: expected module:attribute")
    module, _, attribute = text.rpartition(":")
    loaded = _import(module, text)
    if not hasattr(loaded, attribute):
        raise InputError(f"{text}: found no {attribute} in {loaded.__file__ or module}")
    return getattr(loaded, attribute)


def _import(name: str, text: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    try:
        if not name.endswith(".py"):
            with _current_folder():
                return importlib.import_module(name)
        # The path is the module's name, so that a value knows where it was defined.
        spec = importlib.util.spec_from_file_location(name, Path(name).expanduser())
        assert spec is not None and spec.loader is not None, "a .py file has a loader"
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module
    except Exception as error:  # whatever is wrong with a user's file is said in one line
        raise InputError(f"{text}: {type(error).__name__}: {error}") from error


class _current_folder:
    """Lets imports find modules in the current folder, as `python` does for a script there."""

    def __enter__(self) -> None:
        sys.path.insert(0, "")

    def __exit__(self, *_: object) -> None:
        sys.path.remove("")


@functools.cache
def find_operation(name: str) -> Operation:
    """Returns the package's operation of this name, or the operation that `module:attribute` names.

    Raises:
        InputError: there is no such operation.
    """
    if name in OPERATIONS:
        return OPERATIONS[name]
    if not is_reference(name):
        known = ", ".join(OPERATIONS)
        raise InputError(f"operation {name}: expected one of {known}, or module:attribute")
    found = load(name)
    if not isinstance(found, Operation):
        raise InputError(f"operation {name}: found {type(found).__name__}, expected an Operation")
    return found


def loaded_operation(name: str) -> Operation | None:
    """Returns what `find_operation` does; None for a user's own operation whose module is not loaded."""
    module = name.rpartition(":")[0]
    if name in OPERATIONS or module in sys.modules:
        return find_operation(name)
    return None


def reference(operation: Operation | str) -> str:
    """Returns the name by which `find_operation` finds an operation again, in another process too.

    Raises:
        InputError: the operation stands in no module under a name of its own.
    """
    if isinstance(operation, str):
        return operation
    if OPERATIONS.get(operation.name) is operation:
        return operation.name
    # The module that defines the function comes first, and the program itself, which imports from others, last.
    first = getattr(operation.apply, "__module__", "")
    names = sorted(sys.modules, key=lambda name: (name != first, name == "__main__"))
    for name in names:
        for attribute, value in [*getattr(sys.modules[name], "__dict__", {}).items()]:
            if value is operation:
                return f"{_module_name(sys.modules[name])}:{attribute}"
    raise InputError(
        f"operation {operation.name}: found it in no module, expected NAME = Operation(...) at the top level of one, "
        "so that later runs find it"
    )


def _module_name(module: ModuleType) -> str:
    """Returns how another process names a module: a file by its path, by its stem where it is in this folder."""
    file = getattr(module, "__file__", None)
    if file is None:
        return module.__name__
    path = Path(file).resolve()
    if path.is_relative_to(Path.cwd()):
        inside = path.relative_to(Path.cwd())
        return path.stem if inside.name == str(inside) else str(inside)
    return module.__name__ if module.__name__.rpartition(".")[2] == path.stem else str(path)
