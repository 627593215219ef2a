"""The module that draws genotypes. The package names it, because tools read genotypes without matplotlib."""

from collections.abc import Callable
from typing import Any

_load: Callable[[], Any]


def draw_by(load: Callable[[], Any]) -> None:
    """Names the module that draws; `load` imports and returns it when the first drawing is asked for."""
    global _load
    _load = load


def drawer() -> Any:
    """Returns the module that draws."""
    return _load()
