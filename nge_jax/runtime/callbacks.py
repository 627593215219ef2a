"""Callbacks: functions of a user's own that see a run, and may ask the run to stop."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nge_jax.devices import distributed
from nge_jax.errors import InputError
from nge_jax.space.parts.modules import blamed
from nge_jax.space.parts.reference import EXPECTED, Loaded
from nge_jax.space.parts.reference import load as load_reference

HOOKS = ("on_begin", "on_epoch", "on_end")


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

    def on_begin(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Tells that the run begins or goes on."""
        self._call("on_begin", path, settings)

    def on_epoch(self, row: Mapping[str, Any], state: Any) -> bool:
        """Tells of an epoch; returns whether a callback asks the run to stop."""
        return True in self._call("on_epoch", row, state)

    def on_end(self, result: Any) -> None:
        """Tells the run's result."""
        self._call("on_end", result)

    def _call(self, hook: str, *arguments: Any) -> list[bool]:
        results = []
        if not distributed.is_first():
            return results
        for loaded in self._loaded:
            function = getattr(loaded.value, hook, None)
            if function is not None:
                with blamed(f"run.callbacks: {loaded.name}: {hook}", loaded.file):
                    results.append(function(*arguments) is True)
        return results


NO_CALLBACKS = Callbacks()


def load(references: Sequence[str], given: Sequence[Any] = ()) -> Callbacks:
    """Loads the callbacks that a config names; `given` are callbacks that Python gave as values.

    Raises:
      InputError: there is no such callback, or it has none of the functions.
    """
    if isinstance(references, str) or not all(isinstance(word, str) for word in references):
        raise InputError(f"config.run.callbacks: found {references!r}, {EXPECTED}")
    loaded = [load_reference(reference, "config.run.callbacks: ") for reference in references]
    loaded += [Loaded(f"number {n}", value, "", "") for n, value in enumerate(given, 1)]
    for one in loaded:
        hooks = [getattr(one.value, hook, None) for hook in HOOKS]
        if not any(map(callable, hooks)):
            found = type(one.value).__name__
            expected = f"an nge.Callback, or an object with one of {', '.join(HOOKS)}"
            raise InputError(
                f"config.run.callbacks: {one.name}: found {found}, expected {expected}"
            )
    return Callbacks(loaded)
