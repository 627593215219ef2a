"""Networks of derived cells, for CIFAR and ImageNet: stem, cells, auxiliary head, classifier.

A network maps images [N, H, W, C] to `(logits [N, classes] float32, endpoints)`. `endpoints` is a dict of named arrays:

* "stem";
* "cell_XX", the output of a cell, for each cell outside a run of equal cells and the last cell of each run;
* "aux_logits" in training, if there is an auxiliary head.

Equal neighboring cells run as one `nn.scan` over stacked weights, so that only nine of 20 cells are compiled.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nge_jax.networks import layers
from nge_jax.networks.any_cell import AnyCell, GenotypeArrays
from nge_jax.networks.cell import CellStack, FixedCell
from nge_jax.space.genotype import Genotype
from nge_jax.space.spaces import DARTS, Space
from nge_jax.space.stack import CellSpec, cell_plan


class AuxiliaryHead(nn.Module):
    """Classifies features with DARTS's auxiliary head: [N, H, W, C] -> logits [N, classes].

    The pooling has stride 3 on CIFAR (8x8 features) and stride 2 on ImageNet (7x7), where DARTS leaves out the last BN.
    """

    classes: int
    norm: Callable
    pool_stride: int
    last_norm: bool
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.avg_pool(nn.relu(x), (5, 5), (self.pool_stride, self.pool_stride))
        x = nn.relu(self.norm(name="norm_0")(layers.pointwise(128, dtype=self.dtype)(x)))
        x = layers.conv(768, (2, 2), padding="VALID", dtype=self.dtype)(x)
        x = nn.relu(self.norm(name="norm_1")(x) if self.last_norm else x)
        return layers.Classifier(self.classes)(x.reshape(x.shape[0], -1))


class Network(nn.Module):
    """Computes stem, cells, global average pooling and classifier, and in training an auxiliary head at 2/3.

    Attributes:
        genotype: a Genotype, or a GenotypeArrays in a program that trains any cell.
        plan: the cells, first to last, from `space.stack.cell_plan`.
        classes: number of classes.
        stem: makes the module that computes both inputs of the first cell from images.
        auxiliary: makes the auxiliary head; None: there is none.
        dtype: data type of the activations; None: the images'. Parameters and statistics are always float32.
        bn_axis_name: `pmap` axis over which batch statistics are averaged; None: each device normalizes with its own
            statistics, as in the paper's multi-GPU runs.
        head: makes a module that replaces pooling and classifier. It computes logits from the last cell's output, the
            size of the images and `head_keys`, one key for each sample.
        space: the space of the cells of a GenotypeArrays.
    """

    genotype: Any
    plan: tuple[CellSpec, ...]
    classes: int
    stem: Callable[..., nn.Module]
    auxiliary: Callable[..., nn.Module] | None = None
    dtype: Any = None
    bn_axis_name: str | None = None
    head: Callable[..., nn.Module] | None = None
    space: Space = DARTS

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        *,
        train: bool,
        path_scales: jax.Array | None = None,
        head_keys: jax.Array | None = None,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        norm = layers.batch_norms(train=train, dtype=self.dtype, axis_name=self.bn_axis_name)
        s0, s1 = self.stem(norm=norm, dtype=self.dtype, name="stem")(images)
        make_cell: Callable[..., nn.Module] = FixedCell
        if isinstance(self.genotype, GenotypeArrays):
            make_cell = partial(AnyCell, space=self.space)
        cells = CellStack(self.genotype, self.plan, norm, self.dtype, make_cell, name="cells")
        endpoints = {"stem": s1} | cells(s0, s1, path_scales)
        if train and self.auxiliary is not None:
            features = endpoints[
                f"cell_{2 * len(self.plan) // 3:02d}"
            ]  # a reduction cell is in no run
            head = self.auxiliary(self.classes, norm, dtype=self.dtype, name="auxiliary")
            endpoints["aux_logits"] = head(features)
        features = endpoints[f"cell_{len(self.plan) - 1:02d}"]
        if self.head is not None:
            head = self.head(self.classes, norm, dtype=self.dtype, name="head")
            return head(features, images.shape[1:3], head_keys), endpoints
        pooled = features.astype(jnp.float32).mean(axis=(1, 2))
        return layers.Classifier(self.classes, name="classifier")(pooled), endpoints


def cifar_network(
    genotype: Genotype | GenotypeArrays,
    *,
    cells: int = 20,
    channels: int = 36,
    classes: int = 10,
    auxiliary: bool = False,
    **options: Any,
) -> Network:
    """Makes the network for small images with any number of channels.

    Args:
        genotype: genotype of the cells.
        cells: number of cells.
        channels: channels of each operation in the first cells.
        classes: number of classes.
        auxiliary: whether training has an auxiliary head, which needs images of 32x32 pixels.
        **options: `dtype` and `bn_axis_name` of `Network`.
    """
    return Network(
        genotype=genotype,
        plan=cell_plan(cells, channels),
        classes=classes,
        stem=partial(layers.CifarStem, 3 * channels),
        auxiliary=partial(AuxiliaryHead, pool_stride=3, last_norm=True) if auxiliary else None,
        **options,
    )


def imagenet_network(
    genotype: Genotype | GenotypeArrays,
    *,
    cells: int = 14,
    channels: int = 48,
    classes: int = 1000,
    auxiliary: bool = False,
    output_stride: int = 32,
    **options: Any,
) -> Network:
    """Makes the network for ImageNet's mobile setting, images of 224x224 pixels or another multiple of 32.

    Args:
        genotype: genotype of the cells.
        cells: number of cells.
        channels: channels of each operation in the first cells.
        classes: number of classes.
        auxiliary: whether training has an auxiliary head, which needs images of 224x224 pixels.
        output_stride: pixels of the image per pixel of the last cell's output, along an axis: 8, 16 or 32. With 16 or 8
            the last reductions keep the size of their inputs, and the weights stay the same.
        **options: `dtype`, `bn_axis_name` and `head` of `Network`.
    """
    halvings = {8: 0, 16: 1, 32: 2}[output_stride]
    return Network(
        genotype=genotype,
        plan=cell_plan(cells, channels, reduction_prev=True, halvings=halvings),
        classes=classes,
        stem=partial(layers.ImageNetStem, channels),
        auxiliary=partial(AuxiliaryHead, pool_stride=2, last_norm=False) if auxiliary else None,
        **options,
    )
