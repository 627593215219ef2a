"""Convolutions of an ONNX graph that take in what follows them: a batch normalization becomes weights and a bias.

Runtimes do so themselves only where no transposition lies between. A convolution with its normalization and ReLU is one
operation for them, and int8 needs it so.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Convolution(NamedTuple):
    """A convolution of an array [N, H, W, inputs].

    Attributes:
      x: the name of the array.
      kernel: float32 [channels, inputs / groups, h, w].
      bias: float32 [channels]; None: no bias.
      attributes: of ONNX's Conv.
    """

    x: str
    kernel: np.ndarray
    bias: np.ndarray | None
    attributes: Mapping[str, Any]


def fold(operation: str, convolution: Convolution | None, constant: Any) -> Convolution | None:
    """Returns the convolution that also computes `result operation constant`; None if no convolution does.

    Args:
      operation: a primitive of jax, such as "mul".
      convolution: computes the result; None: something else does.
      constant: a scalar or an array that has one value, or one for each channel.
    """
    if convolution is None or not isinstance(constant, np.ndarray | np.generic):
        return None
    kernel, channels = convolution.kernel, len(convolution.kernel)
    constant = np.asarray(constant)
    if constant.size not in (1, channels) or constant.shape[-1:] not in ((), (constant.size,)):
        return None
    values = np.broadcast_to(constant.reshape(-1), channels).astype(kernel.dtype)
    bias = np.zeros(channels, kernel.dtype) if convolution.bias is None else convolution.bias
    if operation in ("add", "sub"):
        shifted = bias + values if operation == "add" else bias - values
        return convolution._replace(bias=shifted)
    if operation in ("mul", "div"):
        scale = values if operation == "mul" else 1 / values
        scaled = None if convolution.bias is None else bias * scale
        return convolution._replace(kernel=kernel * scale[:, None, None, None], bias=scaled)
    return None


def needed(nodes: Iterable[Any], output: str) -> tuple[list[Any], set[str]]:
    """Returns the nodes on which an output depends, in their order, and the names of all that they read."""
    kept, read = [], {output}
    for node in reversed([*nodes]):
        if read & set(node.output):
            kept.append(node)
            read |= set(node.input)
    return kept[::-1], read
