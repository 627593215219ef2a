"""A lock by which only one run at a time uses a workdir.

It is a lock of the operating system (flock) on the workdir's file RUN_LOCK. A killed process loses the lock, and the
next run takes it. The file names the process that holds the lock. On a file system without such locks, the file itself
is the lock, unless it names a process of this host that has ended.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from nge_jax.devices import distributed
from nge_jax.errors import InputError

RUN_LOCK = "run.lock"
# The errors of file systems without locks. A file server without free locks also gives ENOLCK.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def held(path: str | Path) -> Iterator[None]:
    """Holds the lock of a workdir. Makes the workdir if it is missing, and removes it if it stays empty.

    The first of several processes holds the lock for all. Each process must call this function.

    Raises:
      InputError: another run holds the lock, or the workdir cannot be made or written.
    """
    path, lock, refusal = Path(path), None, None
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    if distributed.is_first():
        try:
            lock = _acquire(path)
        except InputError as error:
            refusal = error
    refused = refusal is not None
    if jax.process_count() > 1:
        refused = multihost_utils.process_allgather(np.array(refused)).any()
    if refused:
        raise refusal or InputError(f"--workdir: the first process cannot use {path}")
    try:
        yield
    finally:
        if lock is not None:
            _release(path, lock)
            for folder in made:
                with contextlib.suppress(OSError):  # the folder is not empty
                    folder.rmdir()


def check_free(path: str | Path) -> None:
    """Refuses a workdir that another run holds, without waiting or changing anything.

    With several processes it does nothing, because a process cannot tell its run's lock from another run's. Then `held`
    refuses for all.

    Raises:
      InputError: names the process.
    """
    file = Path(path) / RUN_LOCK
    if jax.process_count() > 1 or not file.is_file():
        return
    try:
        descriptor = os.open(file, os.O_RDWR)
    except OSError:  # the file is gone or cannot be written, and `held` will refuse if necessary
        return
    try:
        _lock(file, descriptor)
    finally:
        os.close(descriptor)


def is_held(path: str | Path) -> bool:
    """Tells whether a run of another process holds the lock of a workdir."""
    try:
        check_free(path)
    except InputError:
        return True
    return False


def _acquire(path):
    """Makes and locks the file; returns its descriptor, which holds the lock until it is closed."""
    file = path / RUN_LOCK
    while True:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--workdir: {path} cannot be made ({error.strerror})") from error
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # another run has removed the folder in between
            continue
        except OSError as error:
            raise InputError(f"--workdir: {path} cannot be written ({error.strerror})") from error
        try:
            _lock(file, descriptor)
            # The run that held the lock may have removed the file in between. Then a lock on it counts for nobody.
            if file.exists() and os.path.samestat(os.fstat(descriptor), file.stat()):
                _write_holder(descriptor)
                return descriptor
        except OSError as error:
            os.close(descriptor)
            raise InputError(f"--workdir: {path} cannot be written ({error.strerror})") from error
        except InputError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(file, descriptor):
    """Raises InputError if another run holds the file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    except BlockingIOError:
        holder = _read_holder(descriptor)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        holder = _read_holder(descriptor)
        if not holder or not _may_live(holder):
            return
    process = f"process {holder.get('pid')} on {holder.get('host')}, since {holder.get('since')}"
    raise InputError(
        f"--workdir: {file.parent} is in use by another run ({process if holder else 'which begins now'}); "
        f"wait for its end, or choose another --workdir"
    )


def _write_holder(descriptor):
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": now}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, (json.dumps(holder) + "\n").encode(), 0)


def _read_holder(descriptor):
    """Returns the facts that the holder has written; empty if it has not yet written them."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _may_live(holder):
    """Tells whether the process may still run. For a process of another host the answer is always yes."""
    if holder.get("host") != socket.gethostname():
        return True
    try:
        os.kill(int(holder["pid"]), 0)
    except (ProcessLookupError, KeyError, ValueError, TypeError):
        return False
    except OSError:  # the process runs and belongs to another user
        return True
    return True


def _release(path, descriptor):
    # The file is removed before the lock ends. A run that opens it in between finds that the name is gone.
    with contextlib.suppress(OSError):
        (path / RUN_LOCK).unlink()
    os.close(descriptor)
