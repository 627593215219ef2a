"""The flags of the commands, and settings of a config's keys, with every mistake in them explained in one line."""

import contextlib
import os
import re
import select
import signal
import sys
from collections.abc import Iterator, Sequence

from absl import flags, logging
from ml_collections import ConfigDict, config_flags

from nge_jax.errors import InputError
from nge_jax.runtime.config import (
    describe_type,
    find_config,
    flatten,
    load_config,
    suggestions,
)

_SETTING = re.compile(r"--?(?:no)?config\.([^=]+)")


def define_config() -> flags.FlagHolder[str]:
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
        raise InputError(_last_line(error)) from error


def read_config(given: str, settings: Sequence[str] = ()) -> ConfigDict:
    """Returns the config `given` by its name or its file, with some of its keys set.

    Args:
      given: NAME, FILE, NAME:WORDS or FILE:WORDS.
      settings: "--config.search.epochs=3", "--noconfig.data.flip" ...; a value's type is that of the key.

    Raises:
      InputError: an unknown config, variant or key, or a value of the wrong type.
    """
    name, _, words = given.partition(":")
    config = load_config(name, words)
    keys = flatten(config.to_dict())
    for setting in settings:
        match = _SETTING.match(setting)
        if match and match[1] not in keys:
            file, near = find_config(name), _near(match[1], keys)
            raise InputError(f"config.{match[1]}: no such key in {file.name}{near}")
    values, argv = flags.FlagValues(), ["", *settings]
    holder = config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
    try:
        values(argv)
    except (flags.Error, ValueError, TypeError, KeyError, AttributeError) as error:
        message = _last_line(error)
        if match := re.match(r"config\.([\w.]+)=(.*?): ", message):
            kind = describe_type(keys[match[1]])
            message = f"config.{match[1]}: found {match[2]!r}, expected {kind}"
        raise InputError(message) from error
    return holder.value


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Makes bad input one line on stderr and exit code 2; a bug keeps its traceback. Libraries show errors only.

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


def _stdout_is_closed():
    """Whether nobody reads stdout any more, so that it was what a BrokenPipeError was about."""
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
        if not _SETTING.match(argument):
            others.append(argument)
            continue
        following = argv[position + 1] if position + 1 < len(argv) else "--"
        if "=" not in argument and not following.startswith("--"):
            next(rest)
            argument = f"{argument}={following}"
        settings.append(argument)
    return others, settings


def _near(key, keys):
    inside = [other for other in keys if other.startswith(key + ".")]
    last = [other for other in keys if other.split(".")[-1] == key.split(".")[-1]]
    near = inside or last
    return f", did you mean {', '.join(near)}?" if near else suggestions(key, keys, "it has")


def _last_line(error):
    """The message proper, without the names of flags' machinery."""
    line = str(error).strip().splitlines()[-1]
    return re.sub(r"^(flag --(?=config\.))|^\w*(Error|Exception): ", "", line)
