"""Exceptions that end a command in one line: a user's mistake, exit code 2, and a run asked to stop, exit code 75."""

import contextlib
import difflib
from collections.abc import Collection, Iterator


class InputError(ValueError):
    """Refuses a flag, config value, file, data folder or working directory.

    The message is one line that names the key or the file, what was found and what was expected;
    `nge_jax.main` prints it and exits with code 2. Every other exception keeps its traceback.
    """


class ArgumentError(InputError):
    """Refuses an argument of a function that knows neither configs nor flags.

    The message begins with the argument's name.

    Args:
      argument: its name.
      reason: what was found and what was expected.
      mentioned: other arguments, which stand in backquotes in the reason. Whatever else stands so keeps its name.
    """

    def __init__(self, argument: str, reason: str, *mentioned: str):
        super().__init__(f"{argument}: {reason}")
        self.argument, self.reason, self.mentioned = argument, reason, mentioned


class GenotypeError(InputError):
    """Refuses a genotype; the message names the offending field."""


class Preempted(Exception):
    """The run has saved its state and stops, because it was asked to; the message says where."""


PREEMPTED_EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: not done, the same command goes on


@contextlib.contextmanager
def arguments_as(**names: str) -> Iterator[None]:
    """Gives refused arguments the names by which the user has set them.

    `with arguments_as(data_dir="config.data.dir"): ...` turns "data_dir: no prepared cifar10 in ..." into
    "config.data.dir: no prepared cifar10 in ...". An argument that is not among `names` keeps its own.
    """
    try:
        yield
    except ArgumentError as error:
        reason = error.reason
        for argument in names.keys() & set(error.mentioned):
            reason = reason.replace(f"`{argument}`", names[argument])
        others = [argument for argument in error.mentioned if argument not in names]
        raise ArgumentError(names.get(error.argument, error.argument), reason, *others) from error


@contextlib.contextmanager
def prefixed(where: str) -> Iterator[None]:
    """Begins the line of a refusal with `where`, such as "config.search.space: "."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}{error}") from None


def suggestions(given: str, known: Collection[str], of_all: str = "expected one of") -> str:
    """Returns ", did you mean ...?" with the names that are near, or else ", expected one of ..." with all names."""
    near = near_names(given, known)
    return f", did you mean {' or '.join(near)}?" if near else f", {of_all} {', '.join(known)}"


def near_names(given: str, known: Collection[str]) -> list[str]:
    """Returns at most three names that are near, in another case too where none is near as it is."""
    folded = {name.casefold(): name for name in known}
    return difflib.get_close_matches(given, known, n=3) or [
        folded[name] for name in difflib.get_close_matches(given.casefold(), folded, n=3)
    ]
