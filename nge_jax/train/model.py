"""The network that a config of a training or a segmentation names."""

import jax.numpy as jnp
from ml_collections import ConfigDict

from nge_jax.data.spec import LARGE, SMALL
from nge_jax.devices import parallel
from nge_jax.networks.deeplab import deeplab_network
from nge_jax.networks.network import Network, cifar_network, imagenet_network
from nge_jax.space.genotype import Genotype

NETWORKS = {SMALL: cifar_network, LARGE: imagenet_network}


def make_segmentation_network(config: ConfigDict, genotype: Genotype, classes: int) -> Network:
    """Makes DeepLabv3 with the network of these cells as its backbone."""
    return deeplab_network(
        genotype,
        cells=config.network.cells,
        channels=config.network.channels,
        classes=classes,
        output_stride=config.network.output_stride,
        width=config.network.width,
        rates=tuple(config.network.rates),
        image_pooling=config.network.image_pooling,
        dropout=config.network.dropout,
        dtype=jnp.dtype(config.network.dtype),
        bn_axis_name=parallel.AXIS if config.train.sync_batch_norm else None,
    )


def make_network(config: ConfigDict, genotype: Genotype, kind: str, classes: int) -> Network:
    """Makes the classifier of these cells; `kind` is a kind of images in `data.spec`."""
    return NETWORKS[kind](
        genotype,
        cells=config.network.cells,
        channels=config.network.channels,
        classes=classes,
        auxiliary=config.train.auxiliary_weight > 0,
        dtype=jnp.dtype(config.network.dtype),
        bn_axis_name=parallel.AXIS if config.train.sync_batch_norm else None,
    )
