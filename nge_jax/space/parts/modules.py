"""Runs the modules of a user, each file once for each content. No jax.

A module is a file that is named by the path, a file in the current folder, or an installed module.
"""

import contextlib
import hashlib
import importlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Collection, Iterator
from importlib import util
from importlib.abc import SourceLoader
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from weakref import WeakKeyDictionary

from nge_jax.errors import InputError

# The end of a module's name by which Python does not find the module.
NAME_OF_CONTENT = re.compile(r"_[0-9a-f]{16}(?=\.|$)")
# The content that each module was run from, as a hash. A reload gives a module another spec.
_RAN: WeakKeyDictionary[ModuleType, tuple[ModuleSpec | None, str]] = WeakKeyDictionary()
_FOLDERS: set[Path] = set()  # Python finds modules there in this process alone


def digest(content: bytes) -> str:
    """Returns the hash of a file's content as workdirs record it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()[:16]}"


@contextlib.contextmanager
def blamed(
    where: str, file: str = "", advice: Callable[[Exception], str] = lambda error: ""
) -> Iterator[None]:
    """Makes an exception of a user's code one line that begins with `where` and names the line of the file.

    Args:
        where: the beginning.
        file: the file.
        advice: returns the end of the line.

    Raises:
        InputError: the code inside has raised anything.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # a user's code may raise anything
        raise InputError(f"{where}: {_describe(error, file)}{advice(error)}") from error


def line_in(file: str, error: BaseException) -> int | None:
    """Returns the last line of a file through which an exception came; None where it came through no line."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    return lines[-1] if lines else None


def _describe(error: BaseException, file: str) -> str:
    """Says in one line what a user's code has raised, and where in the file."""
    line, text = line_in(file, error), " ".join(str(error).split())[:300]
    place = f"{Path(file).name}, line {line}: " if line else ""
    kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
    return f"{place}{kind}{text}"


def find_file(place: str) -> Path | None:
    """Returns the file that a place names by the path, or in the current folder; None for another module."""
    if place.endswith(".py"):
        return Path(os.path.expanduser(place)).resolve()
    if place == "__main__" or "" in place.split("."):
        return None
    stem = Path(*place.split("."))
    files = (stem.with_suffix(".py"), stem / "__init__.py")
    return next((file.resolve() for file in files if file.is_file()), None)


def find_module(place: str, where: str) -> ModuleType:
    """Returns the module at a place; a file is run where the content has not run yet.

    Raises:
        InputError: there is no such module, or the module raises; the line begins with `where`.
    """
    path = find_file(place)
    if path is None:
        return _import(place, where)
    if not path.is_file():
        raise InputError(f"{where}: no such file {place}")
    content = path.read_bytes()
    hashed = digest(content)
    for module in modules_of(path):
        # The program itself, and a module whose values Python gave, are not run a second time.
        is_known = module in _RAN or module.__name__ == "__main__"
        if is_known and _content_of(module, hashed) == hashed:
            return module
    return _run(path, place, content, where)


def modules_of(path: Path) -> Iterator[ModuleType]:
    """Yields the modules that were run from a file, the oldest first."""
    for module in [*sys.modules.values()]:
        file = str(getattr(module, "__dict__", {}).get("__file__"))
        is_near = isinstance(module, ModuleType) and file.endswith(path.name)
        if is_near and Path(file).resolve() == path:
            yield module


def _import(place: str, where: str) -> ModuleType:
    """Imports a module that is not in the current folder."""
    try:
        return importlib.import_module(place)
    except (Exception, SystemExit) as error:
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        if absent is not None and f"{place}.".startswith(f"{absent}."):
            missing = f"no {place.replace('.', '/')}.py in {Path.cwd()}"
            raise InputError(f"{where}: {missing}, and no such module is installed") from None
        frames = traceback.extract_tb(error.__traceback__)
        files = [frame.filename for frame in frames if not frame.filename.startswith("<")]
        raise InputError(f"{where}: {_describe(error, files[-1])}") from error


class _Content(SourceLoader):
    """Loads a module from content that was read before. Python's own loader may run an older edit's bytecode."""

    def __init__(self, path: Path, content: bytes):
        self._path, self._content = str(path), content

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str) -> bytes:
        return self._content


def _run(path: Path, place: str, content: bytes, where: str) -> ModuleType:
    """Runs a file as a module. The module is known before: a space in the file names an operation in the file."""
    hashed, name, before = digest(content), "", {*sys.modules}
    try:
        name = _make_name(path, place, hashed)
        if name in sys.modules:  # the module's package has imported it now
            _remember(before, path.parent)
            return sys.modules[name]
        spec = util.spec_from_file_location(name, path, loader=_Content(path, content))
        assert spec is not None and spec.loader is not None, "the loader is given"
        module = sys.modules[name] = util.module_from_spec(spec)
        _content_of(module, hashed)
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        if not isinstance(error, Exception | SystemExit):
            raise
        raise InputError(f"{where}: {_describe(error, str(path))}") from error
    _remember(before, path.parent)
    parent, _, last = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], last, module)
    return module


def _remember(before: Collection[str], folder: Path) -> None:
    """Remembers the contents of modules in a folder that were imported now: a reference does not run them again."""
    for name in [*sys.modules.keys() - before]:
        module = sys.modules[name]
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and Path(file).resolve().is_relative_to(folder):
            content_of(module)


def _make_name(path: Path, place: str, hashed: str) -> str:
    """Returns the name by which Python imports a file, where no other module has it: a part may be called random.py.

    Modules beside the file can be imported from then on, behind all installed ones.
    """
    name, folder = place, Path.cwd()
    if place.endswith(".py"):
        is_package = path.stem == "__init__"
        name, folder = (path.parent.name if is_package else path.stem), path.parents[is_package]
        name = name.replace(".", "_")  # a dot would make the file a part of a package
    for beside in (folder, path.parent):
        if str(beside) not in sys.path:
            sys.path.append(str(beside))
            _FOLDERS.add(beside)
    importlib.invalidate_caches()
    if name not in sys.modules:
        with contextlib.suppress(ImportError):  # a parent is missing
            spec = util.find_spec(name)
            if spec is not None and spec.origin and Path(spec.origin).resolve() == path:
                return name
    return f"{name}_{digest(f'{path} {hashed}'.encode())[-16:]}"


def place_of(module: ModuleType) -> str:
    """Returns how another process names a module: by the name, or by the path where it does not find the name."""
    file, package = getattr(module, "__file__", None), getattr(module, "__package__", None)
    if file is None:
        return module.__name__
    path, here = Path(file).resolve(), Path.cwd()
    if package:
        package = NAME_OF_CONTENT.sub("", package)
        return package if path.stem == "__init__" else f"{package}.{path.stem}"
    if path.is_relative_to(here):
        is_name = path.parent == here and "." not in path.stem
        return path.stem if is_name else str(path.relative_to(here))
    # Python finds modules beside the program that runs now, and modules beside a file that was named.
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    folders = _FOLDERS | ({Path(program).resolve().parent} if program else set())
    return str(path) if path.parent in folders or "." in path.stem else path.stem


def content_of(module: ModuleType) -> str:
    """Returns the hash of the content that a module was run from; "" for a module without a file.

    A module that Python has imported counts as the content that is found first.
    """
    file = getattr(module, "__file__", None)
    if not file or not Path(file).is_file():
        return ""
    return _content_of(module, digest(Path(file).read_bytes()))


def _content_of(module: ModuleType, hashed: str) -> str:
    """Returns the hash of the content that a module was run from; `hashed` where none is known yet."""
    spec = getattr(module, "__spec__", None)
    if module not in _RAN or _RAN[module][0] is not spec:
        _RAN[module] = (spec, hashed)
    return _RAN[module][1]
