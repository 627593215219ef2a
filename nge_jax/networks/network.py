"""Networks of derived cells: the cell plan, the cell, the auxiliary head, for CIFAR and ImageNet.

A network maps images [N, H, W, C] to `(logits [N, classes] float32, endpoints)`. `endpoints` is a
dict of named arrays: "stem", "cell_XX" for the output of each cell outside a run of equal cells and
of the last cell of each run, and in training "aux_logits".

Equal neighbouring cells run as one `nn.scan` over stacked weights: of 20 cells nine are compiled.
"""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from nge_jax.networks import layers
from nge_jax.space.genotype import NUM_INPUTS, Genotype


class CellSpec(NamedTuple):
    """What a cell's place in the network decides."""

    channels: int
    reduction: bool  # operations on the two inputs have stride 2
    reduction_prev: bool  # the first input has twice the resolution of the second
    # Pixels between neighbours in the first input, the second, the output (see `layers`).
    spacing: tuple[int, int, int] = (1, 1, 1)


def cell_plan(
    cells: int, channels: int, *, reduction_prev: bool = False, halvings: int = 2
) -> tuple[CellSpec, ...]:
    """The cells of a network, first to last: reductions at 1/3 and 2/3, each doubling the channels.

    Args:
      cells: number of cells; of fewer than 3 the first is a reduction (DARTS's integer division).
      channels: of each operation in the first cells; a cell's output has as many for each node that
        it concatenates.
      reduction_prev: the first cell's two inputs differ in resolution (ImageNet's stem).
      halvings: so many reductions halve the array, from the first; the others keep its size and
        double the spacing of what follows.
    """
    if cells < 1 or channels < 1:
        raise ValueError(f"cells={cells}, channels={channels}: expected positive numbers")
    plan, spacing = [], (1, 1, 1)
    for index in range(cells):
        reduction = index in (cells // 3, 2 * cells // 3)
        channels *= 1 + reduction
        atrous = reduction and sum(spec.reduction for spec in plan) >= halvings
        spacing = *spacing[1:], spacing[2] * (1 + atrous)
        plan.append(CellSpec(channels, reduction, reduction_prev, spacing))
        reduction_prev = reduction
    return tuple(plan)


def draw_path_scales(
    key: jax.Array, genotype: Genotype, cells: int, batch: int, rate: jax.Array
) -> jax.Array:
    """Drop-path for each cell, edge and sample: 0 with probability `rate`, else 1 / (1 - rate).

    float32 [cells, edges, batch], `rate` in [0, 1); a cell of fewer edges ignores the rest. Drawn
    outside the network, so that devices which share a batch can take their samples' part.
    """
    edges = max(len(genotype.normal), len(genotype.reduce))
    keep = jax.random.bernoulli(key, 1.0 - rate, (cells, edges, batch))
    return keep / (1.0 - rate)


class FixedCell(nn.Module):
    """A derived cell: ([N, H0, W0, C0], [N, H, W, C1]) -> [N, H', W', channels * concatenated].

    H0 = H, or 2 H after a reduction; H' = H, or H / 2 in a reduction (a reduction that doubles the
    spacing leaves the size). `path_scales` [edges, N] scale the operations' outputs sample by sample,
    identities apart.
    """

    genotype: Genotype
    spec: CellSpec
    norm: Callable
    dtype: Any = None

    @nn.compact
    def __call__(
        self, s0: jax.Array, s1: jax.Array, path_scales: jax.Array | None = None
    ) -> jax.Array:
        channels, reduction, reduction_prev, (before_0, before, after) = self.spec
        edges, concat = self.genotype.cell("reduction" if reduction else "normal")
        reduce = partial(layers.FactorizedReduce, spacing=(before_0, before))
        first = reduce if reduction_prev else layers.ReluConvNorm
        nodes = [
            first(channels, self.norm, self.dtype, name="input_0")(s0),
            layers.ReluConvNorm(channels, self.norm, self.dtype, name="input_1")(s1),
        ]
        for index, (operation, source) in enumerate(edges):
            if source < NUM_INPUTS:
                stride, spacing = 2 if reduction else 1, (before, after)
            else:
                stride, spacing = 1, (after, after)
            name = f"edge_{index}_{operation}"
            build = layers.OPS[operation]
            y = build(channels, stride, self.norm, self.dtype, name, spacing)(nodes[source])
            if path_scales is not None and not layers.is_identity(operation, stride):
                y *= path_scales[index, :, None, None, None].astype(y.dtype)
            if index % 2 == 0:
                nodes.append(y)
            else:
                nodes[-1] += y
        return jnp.concatenate([nodes[node] for node in concat], axis=-1)


class CellStack(nn.Module):
    """Cells in a row, each fed by the two before it: (s0, s1) -> their outputs as endpoints.

    `path_scales`: [cells, edges, N] of `draw_path_scales`, or None for no drop-path.
    """

    genotype: Genotype
    plan: tuple[CellSpec, ...]
    norm: Callable
    dtype: Any = None

    @nn.compact
    def __call__(
        self, s0: jax.Array, s1: jax.Array, path_scales: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        endpoints = {}
        start = 0
        for spec, equal in itertools.groupby(self.plan):
            end = start + len(tuple(equal))
            _, concat = self.genotype.cell("reduction" if spec.reduction else "normal")
            while start < end:
                # A run needs both inputs of the shape that the cells put out.
                same = s0.shape == s1.shape and s1.shape[-1] == len(concat) * spec.channels
                stop = end if same else start + 1
                single = stop == start + 1
                name = f"cell_{start:02d}" if single else f"cells_{start:02d}_{stop - 1:02d}"
                cell = FixedCell(self.genotype, spec, self.norm, self.dtype, name=name)
                scales = None if path_scales is None else path_scales[start:stop]
                if single:
                    s0, s1 = s1, cell(s0, s1, None if scales is None else scales[0])
                else:
                    (s0, s1), _ = _scan(stop - start)(cell, (s0, s1), scales)
                endpoints[f"cell_{stop - 1:02d}"] = s1
                start = stop
        return endpoints


def _scan(length: int) -> Callable:
    """`length` equal cells as one loop; weights and statistics get a leading axis of that length."""
    return nn.scan(
        lambda cell, inputs, scales: ((inputs[1], cell(*inputs, scales)), None),
        variable_axes={"params": 0, "batch_stats": 0, "intermediates": 0},
        split_rngs={"params": True},
        length=length,
    )


class AuxiliaryHead(nn.Module):
    """DARTS's auxiliary classifier: features [N, H, W, C] -> logits [N, classes].

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
    """Stem, cells, global average pooling, classifier; in training an auxiliary head at 2/3.

    `head` stands in for pooling and classifier: what it makes of the last cell's output, the size of
    the images and `head_keys` (for each sample a key of its random numbers) are the logits.
    `bn_axis_name` names a `pmap` axis to normalise with the statistics of the whole batch; without
    it each device normalises with its own part's, as the paper's multi-GPU runs do.
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
            nn.BatchNorm,
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
    """The network for small images, of any number of channels; an auxiliary head needs 32x32 pixels.

    `options`: `dtype` and `bn_axis_name` of `Network`.
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
    """The network for ImageNet's mobile setting, images of 224x224 (or another multiple of 32).

    `output_stride`: pixels of the image to one of the last cell's output; with 16 or 8 the last
    reductions keep their inputs' size. The weights are the same.
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
