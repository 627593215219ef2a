"""Size of a network: parameters and multiply-adds, counted on abstract arrays.

Multiply-adds are those of convolutions and fully connected layers for one image, as in the public
codes' tables: batch normalisation, pools, additions and the auxiliary head are not counted.
"""

from typing import NamedTuple

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp

from nge_jax import network
from nge_jax.genotype import Genotype


class Cost(NamedTuple):
    parameters: int
    multiply_adds: int


def model_cost(model: nn.Module, image_shape: tuple[int, int, int]) -> Cost:
    """Counts a Linen network, called as `model(images, train=False)`, on one image [H, W, C].

    A convolution (of any kind) or fully connected layer uses each of its weights once for every
    position of its output: its multiply-adds are the size of its kernel times those positions.
    Layers are found as the modules that own a parameter "kernel".
    """

    def forward():
        _, variables = model.init_with_output(
            {"params": jax.random.key(0)},
            jnp.zeros((1, *image_shape)),
            train=False,
            capture_intermediates=lambda module, _: module.has_variable("params", "kernel"),
        )
        return variables["params"], variables["intermediates"]

    params, outputs = (flax.traverse_util.flatten_dict(v) for v in jax.eval_shape(forward))
    multiply_adds = 0
    for path, weights in params.items():
        if path[-1] == "kernel":
            output = outputs[*path[:-1], "__call__"][0]
            # Cells of a run are stacked: [cells, N, H, W, C] in place of [N, H, W, C].
            stacked = output.shape[0] if output.ndim == 5 else 1
            positions = output.size // output.shape[-1] // stacked
            multiply_adds += weights.size * positions
    return Cost(sum(weights.size for weights in params.values()), multiply_adds)


def cifar_cost(
    genotype: Genotype,
    *,
    cells: int = 20,
    channels: int = 36,
    classes: int = 10,
    image_shape: tuple[int, int, int] = (32, 32, 3),
) -> Cost:
    """Cost of a genotype's network for CIFAR and other small images."""
    model = network.cifar_network(genotype, cells=cells, channels=channels, classes=classes)
    return model_cost(model, image_shape)


def imagenet_cost(
    genotype: Genotype,
    *,
    cells: int = 14,
    channels: int = 48,
    classes: int = 1000,
    image_shape: tuple[int, int, int] = (224, 224, 3),
) -> Cost:
    """Cost of a genotype's network for ImageNet."""
    model = network.imagenet_network(genotype, cells=cells, channels=channels, classes=classes)
    return model_cost(model, image_shape)
