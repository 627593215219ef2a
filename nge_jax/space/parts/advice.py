"""Completes the line of an exception in an operation's `apply`: what its weights and its layer have. No jax."""

import inspect
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

from nge_jax.errors import suggestions


def advise(error: Exception, weights: Any, layer: Any) -> str:
    """Returns an addition to the line of an exception; "" where there is none.

    Args:
        error: what `apply` has raised.
        weights, layer: what `apply` was given.
    """
    if isinstance(error, KeyError) and isinstance(weights, Mapping):
        names = [*_paths(weights)]
        parts = {part for name in names for part in name.split("/")}
        if error.args and error.args[0] not in parts:
            return f": `parameters` gives {', '.join(names) or 'no weights'}"
    if isinstance(error, AttributeError) and error.obj is layer and error.name:
        return suggestions(error.name, _names(layer))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.name in _names(layer) and frame.filename == inspect.getsourcefile(type(layer)):
            return f", in layer.{frame.name}{inspect.signature(getattr(layer, frame.name))}"
    return ""


def _names(layer: Any) -> list[str]:
    return [name for name in dir(layer) if name[0] != "_" and name not in dir(tuple)]


def _paths(weights: Mapping[str, Any]) -> Iterator[str]:
    for name, value in weights.items():
        if isinstance(value, Mapping):
            yield from (f"{name}/{path}" for path in _paths(value))
        else:
            yield str(name)
