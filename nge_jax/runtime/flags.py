"""The --config flag and its overrides, with every mistake in them explained in one line."""

import contextlib
import difflib
import os
import re
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from absl import flags, logging
from ml_collections import ConfigDict, config_flags

from nge_jax.errors import InputError
from nge_jax.runtime import config as config_checks

_OVERRIDE = re.compile(r"--?(?:no)?config\.([^=]+)")


def define_config() -> flags.FlagHolder[ConfigDict]:
    """Defines --config=FILE[:VARIANT] and --config.KEY=VALUE on absl's global flags."""
    return config_flags.DEFINE_config_file(
        "config", None, "config file, with a variant after a colon if it has any"
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


def parse(argv: list[str]) -> list[str]:
    """absl's flag parser for `app.run`; returns the arguments that are no flags.

    Raises:
      InputError: an unknown flag, config file, variant or config key, or a value of the wrong type.
    """
    _check_keys(argv)
    try:
        return flags.FLAGS(argv)
    except (flags.Error, ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise InputError(_last_line(error)) from error


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Bad input is one line on stderr and exit code 2; a bug keeps its traceback. Libraries show errors only.

    A reader of stdout that has read enough (`| head -1`) ends the command without a word.
    """
    logging.set_verbosity(logging.ERROR)  # Orbax and tfds tell much at absl's default
    try:
        try:
            yield
        except InputError as error:
            print("error:", " ".join(str(error).split()), file=sys.stderr)
            sys.exit(2)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _stdout_is_closed():
            raise
        # What is left in the buffer would be refused once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def config_name() -> str:
    """`search_cifar:rnn` of a parsed `--config=configs/search_cifar.py:rnn`, whatever was overridden."""
    file, _, variant = flags.FLAGS["config"].config_filename.partition(":")
    return Path(file).stem + (f":{variant}" if variant else "")


def _stdout_is_closed():
    """Whether nobody reads stdout any more, so that it was what a BrokenPipeError was about."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # no file at all
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _check_keys(argv):
    """Refuses overrides of keys that the config does not have, naming those that it has."""
    given = None
    for position, argument in enumerate(argv):
        if re.match(r"--?config(=|$)", argument):
            given = (
                argument.partition("=")[2] if "=" in argument else "".join(argv[position + 1 :][:1])
            )
    if given is None:
        return
    file = Path(given.partition(":")[0])
    if not file.is_file():
        raise InputError(
            f"--config: no such file {str(file)!r}, expected a config such as configs/search_cifar.py"
        )
    flag_values = flags.FlagValues()
    holder = config_flags.DEFINE_config_file("config", flag_values=flag_values, sys_argv=[])
    try:
        flag_values(["", f"--config={given}"])
    except flags.Error as error:  # what get_config refuses
        raise InputError(f"--config={given}: {_last_line(error)}") from error
    keys = config_checks.flatten(holder.value.to_dict())
    for argument in argv:
        match = _OVERRIDE.match(argument)
        if match and match[1] not in keys:
            raise InputError(f"--config.{match[1]}: no such key in {file}{_near(match[1], keys)}")


def _near(key, keys):
    inside = [other for other in keys if other.startswith(key + ".")]
    last = [other for other in keys if other.split(".")[-1] == key.split(".")[-1]]
    near = inside or last or difflib.get_close_matches(key, keys, n=3)
    return f", did you mean {', '.join(near)}?" if near else f", it has {', '.join(keys)}"


def _last_line(error):
    """The message proper: config_flags puts the traceback of the config file before it."""
    line = str(error).strip().splitlines()[-1]
    return re.sub(r"^\w*(Error|Exception): ", "", line)
