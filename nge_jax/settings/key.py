"""A setting is declared once: as a `Key`, a row of `shared`, `search`, `strategies`, `train` or `segment`.

A limit is either what the program can compute with, or beyond all use. A value past such a limit is a slip of the
keyboard, which would take the memory or the night. This module imports no jax.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

from nge_jax.errors import InputError
from nge_jax.text.digits import plain_digits

FLOAT = 3.4e38  # below the largest float32
COUNT = 2**31 - 1  # the largest int32, in which steps are counted

# Kinds of data, by which a task has keys or lacks them (`keys.kind_of_data`).
SMALL = "small images"  # CIFAR-10, CIFAR-100 and the digits
PHOTOGRAPHS = "photographs"  # cropped at random as ImageNet's
USER = "user images"  # resized once; the config may leave choices to them
MASKS = "masks"  # photographs with a mask each
KINDS = {
    "search": (SMALL, USER),
    "train": (SMALL, PHOTOGRAPHS, USER),
    "segment": (MASKS,),
}
TASKS = tuple(KINDS)

FIRST_VERSION = "0.1"
TYPES = {
    bool: "True or False",
    int: "an integer",
    float: "a number",
    str: "a text",
    tuple: "several values",
}


class Limits(NamedTuple):
    """The range of a number, or of each of several numbers.

    Attributes:
      kind: int or float; a float may be given as an integer.
      least, most: the ends of the range, both allowed unless `above` or `below` excludes one.
      length: the fewest and the most numbers; None for a single number.
      multiple: the number of which each is a multiple.
    """

    kind: type
    least: float
    most: float
    above: bool = False
    below: bool = False
    length: tuple[int, int] | None = None
    multiple: int = 1

    def allow(self, value: Any) -> bool:
        """Whether a value is within the limits."""
        if self.length is None:
            return self._allow_number(value)
        fewest, most = self.length
        good = isinstance(value, tuple | list) and fewest <= len(value) <= most
        return good and all(map(self._allow_number, value))

    def _allow_number(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | self.kind):
            return False
        if isinstance(value, float) and not math.isfinite(value):
            return False
        low = value > self.least if self.above else value >= self.least
        high = value < self.most if self.below else value <= self.most
        return low and high and (self.multiple == 1 or value % self.multiple == 0)

    def describe(self, value: Any = None) -> str:
        """Says what is expected; for a single finite number only the side that it misses."""
        least, most = plain_digits(self.least), plain_digits(self.most)
        low = f"more than {least}" if self.above else f"{least} or more"
        high = f"less than {most}" if self.below else f"at most {most}"
        words = f"{low} and {high}"
        is_number = isinstance(value, int | float) and abs(value) < math.inf
        if self.length is None and is_number and not self.below:
            words = high if value > self.least else low
        if self.multiple > 1:
            words = f"a multiple of {self.multiple}, {words}"
        if self.length is not None:
            fewest, most = self.length
            count = str(fewest) if fewest == most else f"{fewest} to {most}"
            kind = "integers" if self.kind is int else "numbers"
            words = f"{count} {kind}, each {words}"
        return words


SEED = Limits(int, 0, 2**32 - 1)  # NumPy's and jax's
RATE = Limits(float, 0, FLOAT)
FRACTION = Limits(float, 0, 1, below=True)
PART = Limits(float, 0, 1, above=True, below=True)


class Key(NamedTuple):
    """A setting of a run: its name, its values and its meaning.

    A field that is a dict has a value for each task that has the key: {"search": 8, "train": 20}.

    Attributes:
      name: the group and the key: "search.epochs".
      default: the value of a config that states no other; the type of the default is the key's type.
      allowed: the limits of a number, or the known names. None allows each value of the type.
      source: the origin of the default, such as "paper silent, DARTS value"; "" for a choice of this program.
      about: the meaning, in a sentence.
      tasks: the tasks that have the key.
      kinds: the kinds of data that have the key; none stands for all.
      spaces: the search spaces that have the key; none stands for all.
      by_data: the choice of a user's images where the value is 0, or () for several numbers; "" where they choose
        nothing.
      since: the first version that has the key.
      before: the value that a run of an older version stands for; None stands for the default.
      changes_result: whether a run ends otherwise by another value. Else a run may go on with another value.
      in_program: whether compiled programs depend on the value; else it is an argument of them, or none sees it.
      outside: "part", "space" or "callback", which a value may also name as module:attribute; "" for none. A space may
        also be written as JSON.
      read_by: names of `search.READERS`, the searches that read the key; none stands for all.
      label: the name in the first lines of a report; "" for a key that is not there.
    """

    name: str
    default: Any
    allowed: Any
    source: Any
    about: Any
    tasks: tuple[str, ...] = ()
    kinds: Any = ()
    spaces: tuple[str, ...] = ()
    by_data: str = ""
    since: Any = FIRST_VERSION
    before: Any = None
    changes_result: bool = True
    in_program: bool = True
    outside: str = ""
    read_by: tuple[str, ...] = ()
    label: str = ""

    @property
    def group(self) -> str:
        """The part of the name before the dot; "" for a key without a group."""
        return self.name.rpartition(".")[0]

    @property
    def choices(self) -> tuple[Any, ...]:
        """The known names, or numbers; none where the key has limits, or takes any value of its type."""
        return () if self.allowed is None or isinstance(self.allowed, Limits) else self.allowed

    @property
    def is_younger(self) -> bool:
        """Whether there are runs of a version that did not have the key."""
        return self.since != FIRST_VERSION

    @property
    def value_before(self) -> Any:
        """The value that a run without the key stands for, as JSON has it."""
        value = self.default if self.before is None else self.before
        return list(value) if isinstance(value, tuple) else value

    def kinds_at(self, task: str) -> tuple[str, ...]:
        """The kinds of data that have the key in a task."""
        kinds = self.kinds[task] if isinstance(self.kinds, dict) else self.kinds
        return kinds or KINDS[task]

    def exists(self, task: str, space: str, kind: str) -> bool:
        """Whether a config has the key."""
        return (
            task in self.tasks
            and space in (self.spaces or (space,))
            and kind in self.kinds_at(task)
        )

    def resolve(self, task: str, kind: str) -> "Key":
        """Returns the key as a task with such data has it, each field with one value."""
        fields = {n: f[task] for n, f in self._asdict().items() if isinstance(f, dict)}
        key = self._replace(**fields)
        if task != "search":
            key = key._replace(read_by=())
        if not key.by_data or kind != USER:
            return key
        allowed, is_open = (0, *key.choices), "0"
        if isinstance(key.allowed, Limits):
            limits = key.allowed
            allowed = Limits(limits.kind, 0, limits.most)
            if limits.length is not None:
                allowed, is_open = limits._replace(length=(0, limits.length[1])), "()"
        return key._replace(allowed=allowed, about=f"{key.about} {is_open}: {key.by_data}.")

    def has_type(self, value: Any) -> bool:
        """Whether the code takes a value's type for the type of the key."""
        if isinstance(value, bool) or isinstance(self.default, bool):
            return isinstance(value, bool) and isinstance(self.default, bool)
        if isinstance(self.default, float):
            return isinstance(value, int | float)
        if isinstance(self.default, tuple):
            return isinstance(value, tuple | list)  # JSON has lists alone
        return isinstance(value, type(self.default))

    def is_outside(self, value: Any) -> bool:
        """Whether a value is meant to name something from outside the package, and is none of the known names."""
        if not self.outside or not isinstance(value, str):
            return False
        return ":" in value or (self.outside == "space" and value.startswith("{"))

    def check(self, value: Any) -> None:
        """Refuses a value that is not allowed.

        Raises:
          InputError: names the key, what was found and what was expected.
        """
        if isinstance(self.allowed, Limits):
            if not self.allowed.allow(value):
                self._refuse(value, self.allowed.describe(value))
        elif self.choices:
            for name in value if isinstance(value, tuple | list) else (value,):
                if self.is_outside(name):  # whoever loads the value refuses what it does not find
                    continue
                if not any(name == known and type(name) is type(known) for known in self.choices):
                    words = ", ".join(map(str, self.choices))
                    others = ", or module:attribute" * bool(self.outside)
                    self._refuse(name, f"one of {words}{others}")

    def _refuse(self, value: Any, expected: str) -> NoReturn:
        raise InputError(f"config.{self.name}: found {brief(value)}, expected {expected}")


Values = Mapping[str, Any]  # a config's, by the keys' whole names


def describe_type(value: Any) -> str:
    """Returns what a value of this one's type is called: "an integer"."""
    return TYPES.get(type(value), type(value).__name__)


def brief(value: Any) -> str:
    """Writes a value for a message, at most 60 characters of it."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a huge integer"
    return text if len(text) <= 60 else f"{text[:60]}..."
