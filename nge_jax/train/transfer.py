"""Begins a network with the backbone, stem and cells, of one that another run has trained."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from nge_jax.errors import ArgumentError

BACKBONE = ("stem", "cells")  # modules of a Network; the others are heads

Variables = dict[str, Any]  # by collection, as `Network.init` returns them


class BackboneTransfer(NamedTuple):
    """What became of the arrays: their sizes by their paths, such as "params/stem/Conv_0/kernel".

    Attributes:
      restored: those of the backbone.
      left: in the checkpoint, for no part of this network.
      fresh: in this network, with the values it was initialized with.
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
    """Puts the arrays of the backbone in `saved` into `variables`; all else stays as it is.

    Args:
      variables: of the network that begins, or their shapes.
      saved: of a trained one.
      source: where `saved` comes from, for the error.
      heads: also those of the heads that both have, of the same shapes.

    Raises:
      ArgumentError: the two backbones do not have the same arrays, of the same shapes and types.
    """
    mine, theirs = (flatten_dict(tree, sep="/") for tree in (variables, saved))
    wanted, there = ({p: a for p, a in flat.items() if _is_backbone(p)} for flat in (mine, theirs))
    different = sorted(
        path
        for path in wanted.keys() | there.keys()
        if _kind(wanted.get(path)) != _kind(there.get(path))
    )
    if different:
        path = different[0]
        raise ArgumentError(
            "saved",
            f"{len(different)} arrays in {source} do not fit, such as {path}: "
            f"found {_kind(there.get(path))}, expected {_kind(wanted.get(path))}",
        )
    if heads:
        both = [path for path in theirs if _kind(mine.get(path)) == _kind(theirs[path])]
        wanted, there = ({path: flat[path] for path in both} for flat in (mine, theirs))
    # A copy: a donated step may overwrite its arrays.
    restored = mine | {path: jnp.array(array) for path, array in there.items()}
    transfer = BackboneTransfer(
        restored=_sizes(there, there),
        left=_sizes(theirs, theirs.keys() - there.keys()),
        fresh=_sizes(mine, mine.keys() - wanted.keys()),
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
