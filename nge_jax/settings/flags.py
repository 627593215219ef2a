"""The flags of the commands. Every mistake in them is explained in one line."""

import contextlib
import errno
import io
import os
import re
import select
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from logging import LogRecord, getLogger

from absl import flags, logging

from nge_jax.errors import InputError
from nge_jax.settings.configs import SETTING


def define_config() -> flags.FlagHolder[str | None]:
    """Defines --config=NAME[:WORDS] on absl's global flags; --config.KEY=VALUE is left to `parse`."""
    return flags.DEFINE_string(
        "config",
        None,
        "name or file of a config, with variants after a colon; --config.KEY=VALUE sets one of its keys",
    )


def define_processes() -> dict[str, flags.FlagHolder]:
    """Defines the flags by which the processes of one run find each other, see `distributed.initialize`."""
    return {
        "coordinator": flags.DEFINE_string(
            "coordinator",
            None,
            "of a run of several processes: HOST:PORT of the first; Slurm, Open MPI and Kubernetes say it themselves",
        ),
        "num_processes": flags.DEFINE_integer(
            "num_processes", None, "how many processes the run has"
        ),
        "process_id": flags.DEFINE_integer("process_id", None, "which of them this is, from 0"),
    }


def parse(argv: Sequence[str]) -> list[str]:
    """Parses absl's flags for `app.run`; returns the arguments that are no flags, --config.KEY=VALUE among them.

    Raises:
      InputError: an unknown flag or a value of the wrong type.
    """
    others, settings = _split_settings(argv)
    try:
        return flags.FLAGS(others) + settings
    except flags.Error as error:
        raise InputError(str(error).strip().splitlines()[-1]) from error


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Makes bad input one line on stderr and exit code 2; a bug keeps its traceback. Libraries show errors only.

    A reader of stdout that has read enough (`| head -1`) ends the command without a word.
    """
    logging.set_verbosity(logging.ERROR)  # Orbax and tfds tell much at absl's default
    getLogger("matplotlib").setLevel("ERROR")  # it warns of a home that cannot be written
    try:
        _show_escapes()
        in_threads = threading.excepthook
        # Orbax writes in threads, and raises once more in this one.
        threading.excepthook = lambda given: (
            None if given.exc_value and _explain(given.exc_value) else in_threads(given)
        )
        before = sys.unraisablehook
        # It stays: threads of TensorStore's end after this.
        sys.unraisablehook = lambda given: None if _is_aftermath(given.exc_value) else before(given)
        absl_logger = logging.get_absl_logger()
        absl_logger.addFilter(_is_news)
        try:
            yield
        except Exception as error:
            if any(isinstance(link, KeyboardInterrupt) for link in _chain(error)):
                raise KeyboardInterrupt from error  # a library failed while Ctrl-C ended it
            line = _explain(error)
            if line is None:
                raise
            print("error:", " ".join(line.split())[:LONGEST], file=sys.stderr)
            sys.exit(2)
        finally:
            threading.excepthook = in_threads
            absl_logger.removeFilter(_is_news)
            sys.stdout.flush()
    except BrokenPipeError:
        if not _stdout_is_closed():
            raise
        # When Python ends it would write the rest of the buffer, and be refused once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def _show_escapes() -> None:
    """Makes a character that the terminal cannot show an escape, instead of the end of the run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


# The system's errors about a user's path or disk: no bug, so no traceback.
_USERS = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO,
    errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.EFBIG,
)  # fmt: skip
LONGEST = 2000  # characters of a refusal
_FULL = re.compile("No space left on device|Disk quota exceeded")
# XLA, a loader of libraries and the system say so in words alone.
_NO_MEMORY = re.compile(
    "Out of memory.*|std::bad_alloc|failed to map segment.*|Cannot allocate memory|can't start new thread",
    re.IGNORECASE,
)


def _chain(error: BaseException) -> list[BaseException]:
    """Returns an error and the errors before it, the newest first."""
    chain = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) and before not in chain:
        chain.append(before)
    return chain


def _explain(error: BaseException) -> str | None:
    """Returns the line for an error that the user can mend; None for a bug."""
    if isinstance(error, InputError):
        return str(error)
    for link in _chain(error):  # Orbax and TensorFlow wrap it
        if (
            isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT)
        ) or _FULL.search(str(link)):
            where = f" ({link.filename})" if isinstance(link, OSError) and link.filename else ""
            return (
                f"no space is left on the disk{where}; what was saved before is still there: make room, and the same "
                "command goes on from it"
            )
        said = _NO_MEMORY.search(str(link))
        if isinstance(link, MemoryError) or said:
            reason = said[0] if said else str(link) or "the system gives no more"
            return (
                f"not enough memory ({reason}); a smaller batch or network takes less, and what was saved before is "
                "still there"
            )
    if isinstance(error, OSError) and error.errno in _USERS and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    found = re.search("Unable to initialize backend .*", str(error))
    if (isinstance(error, RuntimeError) and found) or _is_of_backends(error):
        reason = found[0] if found else "found no such device, or no jax that knows it"
        platforms = os.environ.get("JAX_PLATFORMS", "")
        return f"JAX_PLATFORMS={platforms}: {reason}; JAX_PLATFORMS=cpu runs on the CPU"
    return None


def _is_of_backends(error: BaseException) -> bool:
    """Whether jax has found none of the backends that JAX_PLATFORMS names; it says so by an assertion."""
    frames = traceback.extract_tb(error.__traceback__)
    return isinstance(error, AssertionError) and frames[-1].filename.endswith("xla_bridge.py")


def _is_aftermath(error: BaseException | None) -> bool:
    """Whether TensorStore tells of writes that were still under way when Orbax gave one of them up."""
    return isinstance(error, RuntimeError) and str(error) == "Event loop is closed"


def _is_news(record: LogRecord) -> bool:
    """Whether to show a library's message: an error that is raised as well is explained in one line instead."""
    error = record.exc_info[1] if record.exc_info else None
    return not (error and _explain(error)) and not _FULL.search(record.getMessage())


def _stdout_is_closed():
    """Whether nobody reads stdout any more; a BrokenPipeError was then about stdout."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # no file at all
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _split_settings(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the other arguments, and the settings with their values, which may follow as arguments."""
    others, settings = [], []
    rest = iter(enumerate(argv))
    for position, argument in rest:
        if not SETTING.match(argument):
            others.append(argument)
            continue
        following = argv[position + 1] if position + 1 < len(argv) else "--"
        if "=" not in argument and not following.startswith("--"):
            next(rest)
            argument = f"{argument}={following}"
        settings.append(argument)
    return others, settings
