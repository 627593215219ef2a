"""Callbacks: functions of a user's own that see a run, and may ask the run to stop."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nge_jax.devices import distributed
from nge_jax.errors import InputError, suggestions
from nge_jax.space.parts.functions import check_arguments
from nge_jax.space.parts.modules import blamed
from nge_jax.space.parts.reference import EXPECTED, Loaded
from nge_jax.space.parts.reference import load as load_reference

HOOKS = {
    "on_begin": ("workdir", "settings"),
    "on_epoch": ("row", "state"),
    "on_end": ("result",),
}


class Callback(NamedTuple):
    """Functions that a run calls, in its first process. An object with methods of these names serves as well.

    Attributes:
      on_begin: (workdir, settings) before the first step of each start; the settings are the config's, nested.
      on_epoch: (row, state) after each epoch, once the row is written. The row is the epoch's line of metrics.jsonl.
        The state's arrays are only there until the function returns. The result True asks the run to stop: the state is
        saved, the run raises Preempted, and the same command goes on.
      on_end: (result) after the report; the result is what `run` returns.
    """

    on_begin: Callable[[Path, Mapping[str, Any]], Any] | None = None
    on_epoch: Callable[[Mapping[str, Any], Any], Any] | None = None
    on_end: Callable[[Any], Any] | None = None


class Callbacks:
    """Calls callbacks in the first process. An exception of a callback is refused in one line that names it."""

    def __init__(self, loaded: Sequence[Loaded] = ()):
        self._loaded = loaded
        self.asking: tuple[str, ...] = ()  # the callbacks that have asked the run to stop

    def on_begin(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Tells that the run begins or goes on."""
        self._call("on_begin", path, settings)

    def on_epoch(self, row: Mapping[str, Any], state: Any) -> bool:
        """Tells of an epoch; returns whether a callback asks the run to stop."""
        self.asking = self._call("on_epoch", row, state)
        return bool(self.asking)

    def on_end(self, result: Any) -> None:
        """Tells the run's result."""
        self._call("on_end", result)

    def _call(self, hook: str, *arguments: Any) -> tuple[str, ...]:
        """Calls a function of every callback; returns the names of the callbacks whose function returns True."""
        if not distributed.is_first():
            return ()
        names = []
        for loaded in self._loaded:
            function = getattr(loaded.value, hook, None)
            if function is not None:
                with blamed(f"run.callbacks: {loaded.name}: {hook}", loaded.file):
                    names += [loaded.name] * (function(*arguments) is True)
        return tuple(names)


NO_CALLBACKS = Callbacks()


def load(references: Sequence[str], given: Sequence[Any] = ()) -> Callbacks:
    """Loads the callbacks that a config names; `given` are callbacks that Python gave as values.

    Raises:
      InputError: there is no such callback, or it has none of the functions, or one that no run can call.
    """
    if isinstance(references, str) or not all(isinstance(word, str) for word in references):
        raise InputError(f"config.run.callbacks: found {references!r}, {EXPECTED}")
    loaded = [load_reference(reference, "config.run.callbacks: ") for reference in references]
    loaded += [Loaded(f"number {n}", value, "", "") for n, value in enumerate(given, 1)]
    for one in loaded:
        _check(one.value, f"config.run.callbacks: {one.name}")
    return Callbacks(loaded)


def _check(callback: Any, where: str) -> None:
    """Refuses an object without a hook, a name that is near a hook's, and a hook that takes other arguments."""
    if isinstance(callback, type):
        raise InputError(
            f"{where}: found a class, expected an object, such as {callback.__name__}()"
        )
    for name in dir(callback):
        if name.startswith("on_") and name not in HOOKS and callable(getattr(callback, name)):
            raise InputError(f"{where}: found {name}{suggestions(name, HOOKS)}")
    hooks = {name: getattr(callback, name, None) for name in HOOKS}
    hooks = {name: function for name, function in hooks.items() if function is not None}
    if not hooks:
        expected = f"an nge.Callback, or an object with one of {', '.join(HOOKS)}"
        raise InputError(f"{where}: found {type(callback).__name__}, expected {expected}")
    for name, function in hooks.items():
        check_arguments(function, HOOKS[name], f"{where}: {name}")
