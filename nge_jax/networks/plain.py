"""A plain network to compare cells with: a ResNet of basic blocks (He et al., CVPR 2016), one block for each cell."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nge_jax.networks import layers
from nge_jax.space.stack import CellSpec

Stages = tuple[tuple[int, int], ...]  # the channels and the stride of each block


class BasicBlock(nn.Module):
    """Adds two 3x3 convolutions with BN to the input: [N, H, W, C] -> [N, ceil(H/stride), ceil(W/stride), channels].

    Where the shape changes, the input passes a 1x1 convolution with BN (He et al., option B).
    """

    channels: int
    stride: int
    norm: Callable
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = partial(layers.conv, self.channels, dtype=self.dtype)
        y = nn.relu(self.norm()(conv((3, 3), strides=self.stride, padding=1)(x)))
        y = self.norm()(conv((3, 3), padding=1)(y))
        if x.shape != y.shape:
            x = self.norm()(conv((1, 1), strides=self.stride, padding="VALID")(x))
        return nn.relu(x + y)


class PlainNetwork(nn.Module):
    """Computes stem, blocks, global average pooling and classifier, as `network.Network` is called.

    Attributes:
        blocks: the blocks, first to last.
        classes: the number of classes.
        stem: makes the module that computes the first block's input, as the second of two.
        dtype: data type of the activations; None: the images'.
        bn_axis_name: see `network.Network`.
    """

    blocks: Stages
    classes: int
    stem: Callable[..., nn.Module]
    dtype: Any = None
    bn_axis_name: str | None = None

    @nn.compact
    def __call__(
        self, images: jax.Array, *, train: bool, path_scales: None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        del path_scales  # there are no paths to drop
        norm = layers.batch_norms(train=train, dtype=self.dtype, axis_name=self.bn_axis_name)
        _, x = self.stem(norm=norm, dtype=self.dtype, name="stem")(images)
        for number, (channels, stride) in enumerate(self.blocks):
            x = BasicBlock(channels, stride, norm, self.dtype, name=f"block_{number:02d}")(x)
        pooled = x.astype(jnp.float32).mean(axis=(1, 2))
        return layers.Classifier(self.classes, name="classifier")(pooled), {}


def plain_network(
    plan: tuple[CellSpec, ...],
    width: int,
    classes: int,
    *,
    stem: Callable[..., nn.Module] = layers.CifarStem,
    **options: Any,
) -> PlainNetwork:
    """Makes the network with a block in the place of each cell of `plan`; reductions have stride 2.

    Args:
        plan: the plan of the cells' network.
        width: the channels of the last block. Each reduction doubles the channels, rounded, so that every width counts.
        classes: the number of classes.
        stem: the class of the stem, `layers.CifarStem` or `layers.ImageNetStem`.
        **options: `dtype` and `bn_axis_name` of `PlainNetwork`.
    """
    last = plan[-1].channels
    widths = [max(1, round(width * spec.channels / last)) for spec in plan]
    blocks = tuple((w, 1 + spec.reduction) for w, spec in zip(widths, plan, strict=True))
    first = max(2, round(width * plan[0].channels / (1 + plan[0].reduction) / last))
    return PlainNetwork(blocks, classes, partial(stem, first), **options)


def nearest_width(parameters: int, count: Callable[[int], int]) -> int:
    """Finds the width from 1 on whose network has the number of parameters that is nearest.

    Args:
        parameters: the number wanted.
        count: counts the parameters of a width; it grows with the width.
    """
    low, high = 1, 2
    while count(high) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < parameters else (low, middle)
    return min((low, high), key=lambda width: abs(count(width) - parameters))
