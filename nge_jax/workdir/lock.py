"""One run, one workdir: a lock that a run holds as long as it lives.

It is the operating system's (flock) on the file RUN_LOCK of the workdir, so that a process which was killed has lost
it and the next run takes it over. The file says who holds it. Where a file system knows no such locks the file alone
counts, and a process of this host which has ended does not.
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
# What a file system says that knows no locks; ENOLCK also a file server that is out of them.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


@contextlib.contextmanager
def held(path: str | Path) -> Iterator[None]:
    """Holds the workdir; it is made if it is not there, and taken away again if nothing was written into it.

    Of several processes the first holds it for all: each must call this.

    Raises:
      InputError: another run holds it, or it cannot be made or written.
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
                with contextlib.suppress(OSError):  # it holds something by now
                    folder.rmdir()


def check_free(path: str | Path) -> None:
    """Refuses a workdir that another run holds, at once; changes nothing.

    Of several processes none can tell its own run's lock from another's: `held` refuses for all of them.

    Raises:
      InputError: names the process.
    """
    file = Path(path) / RUN_LOCK
    if jax.process_count() > 1 or not file.is_file():
        return
    try:
        descriptor = os.open(file, os.O_RDWR)
    except OSError:  # gone again, or not ours to write: `held` finds out
        return
    try:
        _lock(file, descriptor)
    finally:
        os.close(descriptor)


def _acquire(path):
    """Makes and locks the file; returns its descriptor, whose end is the lock's."""
    file = path / RUN_LOCK
    while True:
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--workdir: {path} cannot be made ({error.strerror})") from error
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # another run has taken its folder away in between
            continue
        except OSError as error:
            raise InputError(f"--workdir: {path} cannot be written ({error.strerror})") from error
        try:
            _lock(file, descriptor)
            # The run that held it may have removed it in between: then this is no file of anybody's.
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
    who = f"process {holder.get('pid')} on {holder.get('host')}, since {holder.get('since')}"
    raise InputError(
        f"--workdir: {file.parent} is in use by another run ({who if holder else 'which begins now'}); "
        f"wait for its end, or choose another --workdir"
    )


def _write_holder(descriptor):
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": now}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, (json.dumps(holder) + "\n").encode(), 0)


def _read_holder(descriptor):
    """Returns what the holder has written; nothing where it has not yet."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _may_live(holder):
    """Whether the process may still be there; of another host's nobody here can tell."""
    if holder.get("host") != socket.gethostname():
        return True
    try:
        os.kill(int(holder["pid"]), 0)
    except (ProcessLookupError, KeyError, ValueError, TypeError):
        return False
    except OSError:  # somebody else's
        return True
    return True


def _release(path, descriptor):
    # Removed before it is given up: who opens it in between finds that it is no longer the file of that name.
    with contextlib.suppress(OSError):
        (path / RUN_LOCK).unlink()
    os.close(descriptor)
