"""Computes a user's own operation, and refuses a mistake in it in one line that names the line of the file. No jax."""

import functools
from collections.abc import Mapping
from numbers import Integral
from typing import Any

from nge_jax.errors import InputError
from nge_jax.space.parts.advice import advise
from nge_jax.space.parts.functions import begin, check_arguments, file_of, returned
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
    function, where = loaded.value.is_identity, f"operation {name}: is_identity"
    check_arguments(function, ("stride",), where)
    with blamed(where, file_of(function)):
        return bool(function(stride))


def parameters_of(loaded: Loaded, channels: int, stride: int) -> Shapes:
    """Returns what `parameters` does, of an operation that is loaded."""
    function = loaded.value.parameters
    check_arguments(function, ("channels", "stride"), f"operation {loaded.name}: parameters")
    where = f"operation {loaded.name}: parameters with stride {stride}"
    with blamed(where, file_of(function)):
        shapes = function(channels, stride)
    if not isinstance(shapes, Mapping):
        expected = "expected a dict of shapes, {} without weights"
        raise InputError(f"{where}: {begin(function)}{returned(shapes)}, {expected}")
    _check_shapes(shapes, f"{where}: {begin(function)}")
    return shapes


def apply_of(loaded: Loaded, weights: Any, x: Any, layer: Any) -> Any:
    """Computes what `apply` does, by an operation that is loaded."""
    function, where = loaded.value.apply, f"operation {loaded.name}: apply"
    check_arguments(function, ("weights", "x", "layer"), where)
    advice = functools.partial(advise, weights=weights, layer=layer)
    with blamed(f"{where} with stride {layer.stride}", file_of(function), advice):
        y = function(weights, x, layer)
    before, after = layer.spacing
    step = layer.stride * before // after
    batch, height, width, channels = x.shape
    expected = (batch, -(-height // step), -(-width // step), channels)
    if getattr(y, "shape", None) != expected:
        raise refusal(loaded, layer.stride, f"{returned(y)}, expected the shape {expected}")
    return y


def refusal(loaded: Loaded, stride: int, text: str) -> InputError:
    """Makes the error of an operation whose result is wrong; the line names the place of `apply` in the file."""
    place = begin(loaded.value.apply)
    return InputError(f"operation {loaded.name}: apply with stride {stride}: {place}{text}")


def _check_shapes(shapes: Mapping[str, Any], where: str) -> None:
    for name, shape in shapes.items():
        if isinstance(shape, Mapping):
            _check_shapes(shape, f"{where}{name}: ")
        elif not isinstance(shape, tuple | list) or not all(map(_is_size, shape)):
            raise InputError(f"{where}{name}: found {shape!r}, expected a shape such as (3, 3, 16)")


def _is_size(value: Any) -> bool:
    return isinstance(value, Integral) and int(value) > 0
