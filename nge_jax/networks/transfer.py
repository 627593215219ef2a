"""Begins a network with the backbone of a trained network: the stem and the cells."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from nge_jax.errors import ArgumentError

# The modules of a Network that are its backbone. The other modules are heads.
BACKBONE = ("stem", "cells")

# The variables by collection, as `Network.init` returns them.
Variables = dict[str, Any]


class BackboneTransfer(NamedTuple):
    """Lists which arrays were restored: their sizes by their paths, such as "params/stem/Conv_0/kernel".

    Attributes:
      restored: the backbone's arrays.
      left: arrays of the checkpoint that this network does not use.
      fresh: arrays of this network that keep their initial values.
    """

    restored: dict[str, int]
    left: dict[str, int]
    fresh: dict[str, int]

    def __str__(self) -> str:
        parts = zip(("restored", "left behind", "new"), self, strict=True)
        return "; ".join(f"{verb} {_describe(arrays)}" for verb, arrays in parts)


def restore_backbone(
    variables: Variables, saved: Variables, source: str | Path, *, heads: bool = False
) -> tuple[Variables, BackboneTransfer]:
    """Replaces the backbone's arrays in `variables` by the arrays in `saved`; other arrays stay as they are.

    Args:
      variables: the variables of the network that begins, or their shapes.
      saved: the variables of a trained network.
      source: where `saved` comes from, for the error.
      heads: also replaces arrays of the heads, if both networks have them in the same shape.

    Raises:
      ArgumentError: the two backbones differ in an array, or in its shape or type.
    """
    new, old = (flatten_dict(tree, sep="/") for tree in (variables, saved))
    expected, found = ({p: a for p, a in flat.items() if _is_backbone(p)} for flat in (new, old))
    different = sorted(
        path
        for path in expected.keys() | found.keys()
        if _kind(expected.get(path)) != _kind(found.get(path))
    )
    if different:
        path = different[0]
        raise ArgumentError(
            "saved",
            f"{len(different)} arrays in {source} do not fit, such as {path}: "
            f"found {_kind(found.get(path))}, expected {_kind(expected.get(path))}",
        )
    paths = found.keys()
    if heads:
        paths = [path for path in old if _kind(new.get(path)) == _kind(old[path])]
    # The arrays are copied, because a step that donates its state may overwrite them.
    restored = new | {path: jnp.array(old[path]) for path in paths}
    transfer = BackboneTransfer(
        restored=_sizes(old, paths),
        left=_sizes(old, old.keys() - paths),
        fresh=_sizes(new, new.keys() - paths),
    )
    return unflatten_dict(restored, sep="/"), transfer


def _is_backbone(path):
    return path.split("/")[1] in BACKBONE


def _kind(array):
    return "nothing" if array is None else f"{np.dtype(array.dtype).name}{list(array.shape)}"


def _sizes(arrays, paths: Iterable[str]) -> dict[str, int]:
    return {path: int(np.prod(arrays[path].shape)) for path in sorted(paths)}


def _describe(arrays):
    modules = sorted({path.split("/")[1] for path in arrays})
    numbers = sum(arrays.values())
    return f"{numbers:,} numbers ({', '.join(modules)})" if modules else "nothing"
