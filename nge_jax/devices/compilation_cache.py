"""Where compiled programs are kept for the next run."""

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

# jax warns so, and compiles; the program's name begins the names of the files that may hold it.
TROUBLE = re.compile(
    r"Error (reading|writing) persistent compilation cache entry for '([^']+)': (.*)", re.DOTALL
)


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache folder, unless JAX has been told of another.

    Without a folder that can be written a run compiles each time, which is said. A program that a killed run has
    written in part is removed when it is found: jax would find it again each time, since it replaces none.
    """
    given = os.environ.get("JAX_COMPILATION_CACHE_DIR")  # which jax itself reads
    try:
        if given is None:
            base = os.environ.get("XDG_CACHE_HOME", "")
            # The standard has a relative path ignored.
            home = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
            folder = home / "nge_jax" / "xla"
        elif not given or "://" in given:  # none, or a store that is no folder
            return
        else:
            folder = Path(given).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"{folder} cannot be written")
    except (OSError, RuntimeError) as error:  # or there is no home
        print(
            f"warning: no compilation cache ({error}); programs are compiled anew", file=sys.stderr
        )
        jax.config.update("jax_compilation_cache_dir", None)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if getattr(warnings.showwarning, "func", None) is not _show_warning:
        warnings.showwarning = functools.partial(_show_warning, warnings.showwarning)


def _show_warning(before: Callable, message: Warning | str, *where: Any, **others: Any) -> None:
    """Shows a warning: `before` does, but for those of the cache, which become a line."""
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
    """Whether zlib reads a file to its end; where jax compresses by Zstandard it reads none, and valid ones go too."""
    reader = zlib.decompressobj()
    try:
        reader.decompress(data)
    except zlib.error:
        return False
    return reader.eof
