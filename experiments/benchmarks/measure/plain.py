"""Ports the supernet plainly: what a direct translation of the paper to JAX looks like.

Every edge and every operation by itself, unrolled, with the library's convolutions and automatic derivatives.
The cell is the reference that the tests hold the fast cell against.
"""

from typing import NamedTuple

import jax

from nge_jax.supernet.model import Supernet
from tests import plain_cell


class PlainSupernet(NamedTuple):
    """Stands in for the supernet `net` in a step; same weights, same logits."""

    net: Supernet

    def apply(self, weights, images, probs):
        """Computes what `Supernet.apply` does; images [B, H, W, 3] and probs [2, 14, 7] to logits [B, classes]."""
        stem, classifier = weights["stem"], weights["classifier"]
        x = jax.lax.conv_general_dilated(
            images, stem["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = plain_cell.batch_norm(x) * stem["scale"] + stem["bias"]
        before = x, x
        for spec, params in zip(self.net.plan, weights["cells"], strict=True):
            x = plain_cell.mixed_cell(params, before, probs[int(spec.reduction)], spec.reduction)
            before = before[1], x
        return x.mean((1, 2)) @ classifier["kernel"] + classifier["bias"], {}
