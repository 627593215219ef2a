"""A user's functions: the number of their arguments, their place in a file, and what they have returned. No jax."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nge_jax.errors import InputError


def takes(function: Callable[..., Any], arguments: Sequence[str]) -> bool:
    """Tells whether a function can be called with so many arguments by position; True where Python cannot tell."""
    try:  # a wrapper may take other arguments than what it wraps
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):  # a function in C
        return True
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def check_arguments(function: Any, arguments: Sequence[str], where: str, advice: str = "") -> None:
    """Refuses a function that cannot be called with these arguments.

    Args:
        function: the function.
        arguments: the names of the arguments, which are given by position.
        where: the beginning of the line, which ends with what the function is called, such as "mine:part: mix".
        advice: an addition to what was found.

    Raises:
        InputError: names the place in the file, the arguments found and the arguments expected.
    """
    expected = f"({', '.join(arguments)})"
    if not callable(function):
        raise InputError(f"{where}: {returned(function, 'found')}, expected a function {expected}")
    if not takes(function, arguments):
        found = ", ".join(inspect.signature(function, follow_wrapped=False).parameters)
        text = f"found the arguments ({found}){advice}, expected {expected}"
        raise InputError(f"{where}: {begin(function)}{text}")


def file_of(function: Any) -> str:
    """Returns the file in which a function is written; "" for an object with __call__."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code.co_filename if code is not None else ""


def begin(function: Any) -> str:
    """Returns "FILE, line N: ", where a function begins; "" for an object with __call__."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{Path(code.co_filename).name}, line {code.co_firstlineno}: " if code else ""


def returned(value: Any, verb: str = "returned") -> str:
    """Says what a function has returned: "returned None", or "found the shape (2, 3)" for an array."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"found the shape {shape}"
    return f"{verb} {'None' if value is None else type(value).__name__}"
