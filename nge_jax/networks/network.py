"""Networks of derived cells, for CIFAR and ImageNet: stem, cells, auxiliary head, classifier.

A network maps images [N, H, W, C] to `(logits [N, classes] float32, endpoints)`. `endpoints` is a
dict of named arrays: "stem", "cell_XX" for the output of each cell outside a run of equal cells and
of the last cell of each run, and in training "aux_logits".

Equal neighboring cells run as one `nn.scan` over stacked weights: of 20 cells nine are compiled.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nge_jax.networks import layers
from nge_jax.networks.cell import CellStack
from nge_jax.space.genotype import Genotype
from nge_jax.space.stack import CellSpec, cell_plan


class AuxiliaryHead(nn.Module):
    """Classifies features by DARTS's auxiliary head: [N, H, W, C] -> logits [N, classes].

    On CIFAR (8x8 features) the pooling has stride 3; on ImageNet (7x7) stride 2, and DARTS leaves
    out the last BN.
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
    """Computes stem, cells, global average pooling and classifier; in training an auxiliary head at 2/3.

    Attributes:
        genotype: of the cells.
        plan: the cells, first to last, from `space.stack.cell_plan`.
        classes: number of classes.
        stem: makes the module that turns images into the first cell's two inputs.
        auxiliary: makes the auxiliary head; None: there is none.
        dtype: of the activations; None: of the images. Parameters and statistics are float32 always.
        bn_axis_name: a `pmap` axis to normalize with the statistics of the whole batch; None: each device
            normalizes with its own part's, as the paper's multi-GPU runs do.
        head: makes what stands in for pooling and classifier: a module whose result, from the last cell's
            output, the size of the images and `head_keys` (for each sample a key), is the logits.
    """

    genotype: Genotype
    plan: tuple[CellSpec, ...]
    classes: int
    stem: Callable[..., nn.Module]
    auxiliary: Callable[..., nn.Module] | None = None
    dtype: Any = None
    bn_axis_name: str | None = None
    head: Callable[..., nn.Module] | None = None

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        *,
        train: bool,
        path_scales: jax.Array | None = None,
        head_keys: jax.Array | None = None,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        # PyTorch's BatchNorm: its momentum 0.1 is 0.9 here. (Its running variance is the unbiased
        # estimate, Flax's the biased one: they differ by a factor of 1 - 1 / (N H W).)
        norm = partial(
            layers.BatchNorm,
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-5,
            dtype=self.dtype,
            axis_name=self.bn_axis_name,
        )
        s0, s1 = self.stem(norm=norm, dtype=self.dtype, name="stem")(images)
        cells = CellStack(self.genotype, self.plan, norm, self.dtype, name="cells")
        endpoints = {"stem": s1} | cells(s0, s1, path_scales)
        if train and self.auxiliary is not None:
            features = endpoints[f"cell_{2 * len(self.plan) // 3:02d}"]  # a reduction: in no run
            head = self.auxiliary(self.classes, norm, dtype=self.dtype, name="auxiliary")
            endpoints["aux_logits"] = head(features)
        features = endpoints[f"cell_{len(self.plan) - 1:02d}"]
        if self.head is not None:
            head = self.head(self.classes, norm, dtype=self.dtype, name="head")
            return head(features, images.shape[1:3], head_keys), endpoints
        pooled = features.astype(jnp.float32).mean(axis=(1, 2))
        return layers.Classifier(self.classes, name="classifier")(pooled), endpoints


def cifar_network(
    genotype: Genotype,
    *,
    cells: int = 20,
    channels: int = 36,
    classes: int = 10,
    auxiliary: bool = False,
    **options: Any,
) -> Network:
    """Makes the network for small images, of any number of channels.

    Args:
        genotype: of the cells.
        cells: number of cells.
        channels: of each operation in the first cells.
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
    genotype: Genotype,
    *,
    cells: int = 14,
    channels: int = 48,
    classes: int = 1000,
    auxiliary: bool = False,
    output_stride: int = 32,
    **options: Any,
) -> Network:
    """Makes the network for ImageNet's mobile setting, images of 224x224 (or another multiple of 32).

    Args:
        genotype: of the cells.
        cells: number of cells.
        channels: of each operation in the first cells.
        classes: number of classes.
        auxiliary: whether training has an auxiliary head, which needs images of 224x224 pixels.
        output_stride: pixels of the image to one of the last cell's output; with 16 or 8 the last
            reductions keep their inputs' size. The weights are the same.
        **options: `dtype` and `bn_axis_name`, and `head`, of `Network`.
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
