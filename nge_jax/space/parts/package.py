"""The operations that come with the package, by the names that spaces and genotypes have. No jax.

The paper's seven are described here as everybody's are. Their supernet and their networks have faster forms, which
tests compare with these.
"""

from collections.abc import Callable
from typing import Any

from nge_jax.space.parts.operation import Operation, Shapes
from nge_jax.space.spaces import DILATED, SEPARABLE

# A hue for each family of operations, told apart by color-blind readers too (after Okabe and Ito). The darker shade is
# the larger kernel. All have a contrast of 3 and more to paper.
COLORS = {
    "skip_connect": "#a8458f",
    "max_pool_3x3": "#b84a00",
    "avg_pool_3x3": "#c28000",
    "sep_conv_3x3": "#2b95d1",
    "sep_conv_5x5": "#14609b",
    "dil_conv_3x3": "#1f9e77",
    "dil_conv_5x5": "#006b4b",
}


def _skip(weights: Any, x: Any, layer: Any) -> Any:
    """Returns x, or with stride 2 two 1x1 convolutions of every other pixel, the second shifted by one."""
    if layer.stride == 1:
        return x
    x = layer.relu(x)
    even = layer.conv(x, weights["even"], layer.stride)
    odd = layer.conv(layer.shift(x), weights["odd"], layer.stride)
    return layer.norm(layer.join(even, odd))


def _skip_parameters(channels: int, stride: int) -> Shapes:
    if stride == 1:
        return {}
    return {"even": (channels, channels - channels // 2), "odd": (channels, channels // 2)}


def _separable(weights: Any, x: Any, layer: Any) -> Any:
    """Applies (ReLU, depthwise convolution, 1x1 convolution, BN) twice; the first has the stride."""
    for half, stride in (("first", layer.stride), ("second", 1)):
        x = layer.conv(layer.relu(x), weights[half]["depthwise"], stride)
        x = layer.norm(layer.conv(x, weights[half]["pointwise"]))
    return x


def _dilated(weights: Any, x: Any, layer: Any) -> Any:
    """Applies ReLU, depthwise convolution with dilation 2, 1x1 convolution and BN."""
    x = layer.conv(layer.relu(x), weights["depthwise"], layer.stride, dilation=2)
    return layer.norm(layer.conv(x, weights["pointwise"]))


def _depthwise_separable(size: int) -> Callable[[int, int], Shapes]:
    def parameters(channels: int, stride: int) -> Shapes:
        del stride
        return {"depthwise": (size, size, channels), "pointwise": (channels, channels)}

    return parameters


def _twice(size: int) -> Callable[[int, int], Shapes]:
    once = _depthwise_separable(size)
    return lambda channels, stride: {
        "first": once(channels, stride),
        "second": once(channels, stride),
    }


def _conv_1x1(weights: Any, x: Any, layer: Any) -> Any:
    return layer.norm(layer.conv(layer.relu(x), weights["kernel"], layer.stride))


def _row_and_column(weights: Any, x: Any, layer: Any) -> Any:
    """Applies ReLU, a convolution along rows, one along columns and BN; each has the stride in its direction."""
    x = layer.conv(layer.relu(x), weights["row"], (1, layer.stride))
    return layer.norm(layer.conv(x, weights["column"], (layer.stride, 1)))


def _row_and_column_parameters(size: int) -> Callable[[int, int], Shapes]:
    return lambda c, stride: {"row": (1, size, c, c), "column": (size, 1, c, c)}


def _squeeze_excite(weights: Any, x: Any, layer: Any) -> Any:
    """Weights the channels of x by a gate that reads the mean of each channel (Hu et al., CVPR 2018)."""
    hidden = layer.relu(x.mean((1, 2)) @ weights["squeeze"] + weights["squeeze_bias"])
    gate = layer.sigmoid(hidden @ weights["excite"] + weights["excite_bias"])
    return layer.norm(layer.every(x * gate[:, None, None]))


def _squeeze_excite_parameters(channels: int, stride: int) -> Shapes:
    del stride
    hidden = max(1, channels // 4)
    return {
        "squeeze": (channels, hidden),
        "squeeze_bias": (hidden,),
        "excite": (hidden, channels),
        "excite_bias": (channels,),
    }


def _and_skip(operation: Operation) -> Operation:
    """Adds a skip connection beside an operation, and darkens the color. With stride 2 the skip has weights."""

    def apply(weights: Any, x: Any, layer: Any) -> Any:
        y = operation.apply(weights.get("operation", {}), x, layer)
        return y + _skip(weights.get("skip", {}), x, layer)

    def parameters(channels: int, stride: int) -> Shapes:
        parts = {"operation": operation.parameters, "skip": _skip_parameters}
        shapes = {name: shapes_of(channels, stride) for name, shapes_of in parts.items()}
        return {name: tree for name, tree in shapes.items() if tree}

    return Operation(
        f"{operation.name}_and_skip",
        apply,
        parameters,
        short=f"{operation.short}+skip",
        color="#" + "".join(f"{2 * n // 3:02x}" for n in bytes.fromhex(operation.color[1:])),
    )


_UNCOLORED = (
    Operation("skip_connect", _skip, _skip_parameters, lambda stride: stride == 1, short="skip"),
    Operation(
        "max_pool_3x3", lambda _, x, layer: layer.search_norm(layer.max_pool(x)), short="max3"
    ),
    Operation(
        "avg_pool_3x3", lambda _, x, layer: layer.search_norm(layer.avg_pool(x)), short="avg3"
    ),
    *(Operation(n, _separable, _twice(k), short=f"sep{k}") for n, k in SEPARABLE.items()),
    *(Operation(n, _dilated, _depthwise_separable(k), short=f"dil{k}") for n, k in DILATED.items()),
)
_PAPER = tuple(operation._replace(color=COLORS[operation.name]) for operation in _UNCOLORED)
# An absent edge: a published cell has it (SNAS_aggressive), and RobustDARTS's S3.
NONE = Operation("none", lambda _, x, layer: 0 * layer.every(x), short="none")
# Normal numbers in place of the input (RobustDARTS, Zela et al., ICLR 2020: S4).
NOISE = Operation("noise", lambda _, x, layer: layer.noise(x), short="noise", color="#7d5a3c")
# Convolutions of NASNet (Zoph et al., CVPR 2018), AmoebaNet and SETN, in DARTS's form.
CONV_1X1 = Operation(
    "conv_1x1", _conv_1x1, lambda c, stride: {"kernel": (c, c)}, short="conv1", color="#8a8f00"
)
CONV_3X1_1X3 = Operation(
    "conv_3x1_1x3",
    _row_and_column,
    _row_and_column_parameters(3),
    short="conv3",
    color="#747a00",
)
CONV_7X1_1X7 = Operation(
    "conv_7x1_1x7",
    _row_and_column,
    _row_and_column_parameters(7),
    short="conv7",
    color="#5f6300",
)
SEP_CONV_7X7 = Operation("sep_conv_7x7", _separable, _twice(7), short="sep7", color="#0c3f66")
SQUEEZE_EXCITE = Operation(
    "squeeze_excite", _squeeze_excite, _squeeze_excite_parameters, short="se", color="#c2447a"
)

OPERATIONS = {
    operation.name: operation
    for operation in (
        *_PAPER,
        *map(_and_skip, _PAPER),
        NONE,
        NOISE,
        CONV_1X1,
        CONV_3X1_1X3,
        CONV_7X1_1X7,
        SEP_CONV_7X7,
        SQUEEZE_EXCITE,
    )
}
