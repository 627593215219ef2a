"""The cache that keeps compiled programs for the next run."""

import contextlib
import errno
import functools
import os
import re
import sys
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

# The warning with which jax compiles anew. The program's name begins the names of the files that may hold it.
TROUBLE = re.compile(
    r"Error (reading|writing) persistent compilation cache entry for '([^']+)': (.*)", re.DOTALL
)


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache folder, unless the environment names another folder.

    If the folder cannot be written, a warning says that each run compiles anew. A killed run may leave a program that
    is written in part. Such a file is removed when it is found, because jax never replaces a file.
    """
    given = os.environ.get("JAX_COMPILATION_CACHE_DIR")  # jax reads this variable, too
    try:
        if given is None:
            base = os.environ.get("XDG_CACHE_HOME", "")
            # The XDG standard says that a relative path is ignored.
            home = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
            folder = home / "nge_jax" / "xla"
        elif not given or "://" in given:  # no cache, or a store that is no folder
            return
        else:
            folder = Path(given).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"{folder} cannot be written")
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder is known
        print(
            f"warning: no compilation cache ({error}); programs are compiled anew", file=sys.stderr
        )
        jax.config.update("jax_compilation_cache_dir", None)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if getattr(warnings.showwarning, "func", None) is not _show_warning:
        warnings.showwarning = functools.partial(_show_warning, warnings.showwarning)


def _show_warning(before: Callable, message: Warning | str, *where: Any, **others: Any) -> None:
    """Shows a warning by the function `before`, but a warning of the cache as one line."""
    trouble = TROUBLE.match(str(message))
    if trouble is None:
        before(message, *where, **others)
        return
    verb, program, reason = trouble.groups()
    done = "read" if verb == "reading" else "written"
    line = f"warning: the compiled program {program} cannot be {done} in the cache ({reason})"
    tqdm.write(f"{' '.join(line.split())}; it is compiled anew", file=sys.stderr)
    folder: str | None = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    for file in Path(folder or "").glob(f"{program}-*-cache"):
        with contextlib.suppress(OSError):
            if not _is_whole(file.read_bytes()):
                file.unlink()


def _is_whole(data: bytes) -> bool:
    """Tells whether zlib reads a file to its end.

    If jax compresses by Zstandard, zlib reads no file, and valid files count as broken, too.
    """
    reader = zlib.decompressobj()
    try:
        reader.decompress(data)
    except zlib.error:
        return False
    return reader.eof
