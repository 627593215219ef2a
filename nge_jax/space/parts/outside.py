"""Computes a user's own operation, and refuses a mistake in it in one line that names the line of the file. No jax."""

import inspect
from collections.abc import Callable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

from nge_jax.errors import InputError
from nge_jax.space.parts.loading import load_operation
from nge_jax.space.parts.modules import blamed
from nge_jax.space.parts.operation import Operation, Shapes
from nge_jax.space.parts.package import OPERATIONS
from nge_jax.space.parts.reference import Loaded


def parameters(name: str, channels: int, stride: int) -> Shapes:
    """Returns the shapes of an operation's weights.

    Raises:
        InputError: a user's own operation fails, or returns no shapes.
    """
    if name in OPERATIONS:
        return OPERATIONS[name].parameters(channels, stride)
    return parameters_of(load_operation(name), channels, stride)


def apply(operation: Operation | str, weights: Any, x: Any, layer: Any) -> Any:
    """Computes an operation, by value or name: x [B, H, W, C] -> [B, ceil(H / stride), ceil(W / stride), C].

    Raises:
        InputError: a user's own operation fails, or returns an array of another shape.
    """
    if isinstance(operation, Operation):
        return apply_of(Loaded(operation.name, operation, "", ""), weights, x, layer)
    if operation in OPERATIONS:
        return OPERATIONS[operation].apply(weights, x, layer)
    return apply_of(load_operation(operation), weights, x, layer)


def is_identity(name: str, stride: int) -> bool:
    """Tells whether an operation returns its input.

    Raises:
        InputError: a user's own operation cannot tell.
    """
    if name in OPERATIONS:
        return OPERATIONS[name].is_identity(stride)
    loaded = load_operation(name)
    function = loaded.value.is_identity
    with blamed(f"operation {name}: is_identity with stride {stride}", _file(function)):
        return bool(function(stride))


def parameters_of(loaded: Loaded, channels: int, stride: int) -> Shapes:
    """Returns what `parameters` does, of an operation that is loaded."""
    function = loaded.value.parameters
    where = f"operation {loaded.name}: parameters with stride {stride}"
    with blamed(where, _file(function)):
        shapes = function(channels, stride)
    if not isinstance(shapes, Mapping):
        expected = "expected a dict of shapes, {} without weights"
        raise InputError(f"{where}: {_begin(function)}{_returned(shapes)}, {expected}")
    _check_shapes(shapes, f"{where}: {_begin(function)}")
    return shapes


def apply_of(loaded: Loaded, weights: Any, x: Any, layer: Any) -> Any:
    """Computes what `apply` does, by an operation that is loaded."""
    where = f"operation {loaded.name}: apply with stride {layer.stride}"
    with blamed(where, _file(loaded.value.apply)):
        y = loaded.value.apply(weights, x, layer)
    before, after = layer.spacing
    step = layer.stride * before // after
    batch, height, width, channels = x.shape
    expected = (batch, -(-height // step), -(-width // step), channels)
    if getattr(y, "shape", None) != expected:
        raise refusal(loaded, layer.stride, f"{_returned(y)}, expected the shape {expected}")
    return y


def refusal(loaded: Loaded, stride: int, text: str) -> InputError:
    """Makes the error of an operation whose result is wrong; the line names the place of `apply` in the file."""
    place = _begin(loaded.value.apply)
    return InputError(f"operation {loaded.name}: apply with stride {stride}: {place}{text}")


def _check_shapes(shapes: Mapping[str, Any], where: str) -> None:
    for name, shape in shapes.items():
        if isinstance(shape, Mapping):
            _check_shapes(shape, f"{where}{name}: ")
        elif not isinstance(shape, tuple | list) or not all(map(_is_size, shape)):
            raise InputError(f"{where}{name}: found {shape!r}, expected a shape such as (3, 3, 16)")


def _is_size(value: Any) -> bool:
    return isinstance(value, Integral) and int(value) > 0


def _returned(value: Any) -> str:
    """Says what a function has returned."""
    if value is None:
        return "returned None"
    shape = getattr(value, "shape", None)
    return f"returned {type(value).__name__}" if shape is None else f"found the shape {shape}"


def _file(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code.co_filename if code is not None else ""


def _begin(function: Callable[..., Any]) -> str:
    """Returns "FILE, line N: ", where a function begins; "" for an object with __call__."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{Path(code.co_filename).name}, line {code.co_firstlineno}: " if code else ""
