"""The network that a config of a training or a segmentation names."""

import jax.numpy as jnp
from ml_collections import ConfigDict

from nge_jax.data.spec import LARGE, MASKS, SMALL
from nge_jax.devices import parallel
from nge_jax.networks.deeplab import deeplab_network
from nge_jax.networks.network import Network, cifar_network, imagenet_network
from nge_jax.space.genotype import Genotype

CLASSIFIERS = {SMALL: cifar_network, LARGE: imagenet_network}


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
