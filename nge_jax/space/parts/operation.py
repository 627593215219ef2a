"""An operation of an edge as one value, from which all networks compute it. No jax."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Shapes = Mapping[str, Any]  # shapes by the names of arrays; a name may stand for a group of arrays


def no_parameters(channels: int, stride: int) -> Shapes:
    """Gives the shapes of an operation without weights: none."""
    del channels, stride
    return {}


class Operation(NamedTuple):
    """Describes an operation of an edge.

    Attributes:
        name: the name that messages and drawings show.
        apply: (weights, x, layer) -> y, the operation as Eq. 11 reads it. It maps [B, H, W, C] to
            [B, ceil(H / stride), ceil(W / stride), C]. `layer` is a `kernels.layer.Layer`: it has the stride,
            convolutions, pools and the normalization, and knows the network that computes the operation.
        parameters: (channels, stride) -> the shapes of the weights. A shape (C, C') is a 1x1 convolution, (k, k, C) a
            convolution of each channel, (h, w, C, C') any convolution, and (C,) begins as zeros. Other weights begin
            uniform in +-1 / sqrt(fan_in), as PyTorch's convolutions.
        is_identity: stride -> whether the operation returns its input; drop-path spares such an operation.
        short: a short name; empty: the name.
        color: the color of drawings, such as "#7a5195"; empty: gray.
    """

    name: str
    apply: Callable[[Any, Any, Any], Any]
    parameters: Callable[[int, int], Shapes] = no_parameters
    is_identity: Callable[[int], bool] = lambda stride: False
    short: str = ""
    color: str = ""

    def __repr__(self) -> str:
        return f"Operation({self.name})"


def fan_in(shape: tuple[int, ...]) -> int:
    """Counts the numbers that each output of a weight of this shape reads; 0 for a vector, which begins as zeros."""
    if len(shape) < 2:
        return 0
    read = shape[:2] if len(shape) == 3 else shape[:-1]
    count = 1
    for size in read:
        count *= size
    return count


def map_shapes(
    function: Callable[[str, tuple[int, ...]], Any], shapes: Shapes, path: str = ""
) -> Any:
    """Maps each shape of a tree; `function` takes the path, such as "first/kernel", and the shape."""
    return {
        name: map_shapes(function, shape, f"{path}{name}/")
        if isinstance(shape, Mapping)
        else function(f"{path}{name}", tuple(shape))
        for name, shape in shapes.items()
    }
