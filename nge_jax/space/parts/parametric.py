"""The operations with weights: the parametric operations, as the literature calls them. No jax."""

import numpy as np

from nge_jax.space.parts import outside
from nge_jax.space.spaces import BENCH_CONVOLUTIONS, Space

_CHANNELS = 16  # an operation has weights or has none, whatever the channels


def mask(space: Space) -> np.ndarray:
    """Tells for each cell type, edge and operation, bool [C, E, O], whether the edge may have it, and it has weights.

    A skip connection has none: where it leaves a reduction cell's input, its convolutions only halve the size.

    Raises:
        InputError: a user's own operation fails, or returns no shapes.
    """
    return np.array(space.mask) & np.array([_has_weights(name) for name in space.operations])


def _has_weights(name: str) -> bool:
    return name in BENCH_CONVOLUTIONS or bool(outside.parameters(name, _CHANNELS, stride=1))
