"""The network that a config of a training or a segmentation names."""

import bisect
import math
from collections.abc import Callable, Mapping

import jax.numpy as jnp
from ml_collections import ConfigDict

from nge_jax.cost import Cost, model_cost
from nge_jax.data.spec import LARGE, MASKS, SMALL
from nge_jax.devices import parallel
from nge_jax.errors import InputError
from nge_jax.networks.deeplab import deeplab_network
from nge_jax.networks.network import Network, cifar_network, imagenet_network
from nge_jax.space.genotype import Genotype

CLASSIFIERS = {SMALL: cifar_network, LARGE: imagenet_network}
# ImageNet's stem begins with half of the channels.
LEAST_CHANNELS = {SMALL: 1, LARGE: 2}
MOST_CHANNELS = 4096


def make_network(config: ConfigDict, genotype: Genotype, kind: str, classes: int) -> Network:
    """Makes the network of these cells for a kind of images in `data.spec`; the network for MASKS is DeepLabv3."""
    options = {
        "cells": config.network.cells,
        "channels": config.network.channels,
        "classes": classes,
        "dtype": jnp.dtype(config.network.dtype),
        "bn_axis_name": parallel.AXIS if config.train.sync_batch_norm else None,
    }
    if kind != MASKS:
        auxiliary = config.train.auxiliary_weight > 0
        return CLASSIFIERS[kind](genotype, auxiliary=auxiliary, **options)
    return deeplab_network(
        genotype,
        output_stride=config.network.output_stride,
        width=config.network.width,
        rates=tuple(config.network.rates),
        image_pooling=config.network.image_pooling,
        dropout=config.network.dropout,
        **options,
    )


def widest(
    make: Callable[[int], Network],
    kind: str,
    shape: tuple[int, int, int],
    limits: Mapping[str, int],
) -> int:
    """Finds the most channels with which a network is within its limits.

    Args:
        make: makes the network with so many channels.
        kind: the kind of its images.
        shape: (H, W, C) of an image.
        limits: the most of each field of `Cost`; 0: no limit.

    Raises:
        InputError: there is no limit, or the narrowest network is beyond one.
    """
    if not any(limits.values()):
        raise InputError(
            "config.network.channels: found 0, expected 1 or more, or a limit (config.limits.parameters or "
            "config.limits.multiply_adds) by which the widest network is chosen"
        )
    least = LEAST_CHANNELS[kind]
    check_limits("network.channels", make(least), shape, limits)
    # A cell's inputs alone have more weights than the square of the channels, and each is used for every image.
    most = min(MOST_CHANNELS, max(math.isqrt(n) for n in limits.values() if n))

    def exceeds(channels):
        return bool(_exceeded(model_cost(make(channels), shape), limits))

    return bisect.bisect_left(range(most + 1), True, lo=least, key=exceeds) - 1


def check_limits(
    key: str, model: Network, shape: tuple[int, int, int], limits: Mapping[str, int]
) -> None:
    """Refuses a network beyond its limits; the arguments are those of `widest`, and the key that decides the network.

    Raises:
        InputError: names the key, the network's cost and the limit.
    """
    if not any(limits.values()):
        return
    cost = model_cost(model, shape)
    for name in _exceeded(cost, limits):
        first = model.plan[0]  # a reduction doubles the channels
        size = f"network.cells={len(model.plan)} network.channels={first.channels // (1 + first.reduction)}"
        raise InputError(
            f"config.{key}: found a network of {getattr(cost, name):,} {name.replace('_', '-')} ({size}), expected at "
            f"most {limits[name]:,} by config.limits.{name}"
        )


def _exceeded(cost: Cost, limits: Mapping[str, int]) -> list[str]:
    return [name for name, limit in limits.items() if limit and getattr(cost, name) > limit]
