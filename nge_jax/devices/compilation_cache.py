"""Where compiled programs are kept for the next run."""

import errno
import os
import sys
from pathlib import Path

import jax


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache folder, unless JAX has been told of another.

    Without a folder that can be written a run compiles each time, which is said.
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
