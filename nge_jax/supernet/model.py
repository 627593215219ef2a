"""The weight-sharing supernet: a stem, mixed cells, a classifier (paper Sec. 4.1; DARTS where it is silent).

The supernet has no state: its output is a function of (weights, images, probabilities). Batch normalization always
uses the statistics of the batch, and it has an affine part in the stem alone.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nge_jax.kernels import convolution
from nge_jax.space import architecture
from nge_jax.space.genotype import Genotype
from nge_jax.space.mixture import Mixture
from nge_jax.space.spaces import DARTS, Space
from nge_jax.space.stack import CellSpec, cell_plan
from nge_jax.supernet import cell
from nge_jax.supernet.edge import REDUCING, edge_groups, edges_from, other_operations
from nge_jax.supernet.net import Used
from nge_jax.supernet.sampled import Drawn, mix_chosen
from nge_jax.supernet.schedules import described
from nge_jax.supernet.schedules.grouped import mix_together
from nge_jax.supernet.schedules.schedule import SCHEDULES
from nge_jax.supernet.trees import Params

STEM_MULTIPLIER = 3  # paper silent, DARTS value


class Supernet(NamedTuple):
    """Describes the supernet as data; `init` and `apply` are its two functions.

    Attributes:
        plan: the cells, first to last, from `space.stack.cell_plan`.
        num_classes: number of classes.
        image_channels: channels of an image.
        schedule: "loop" (fast on CPUs), "together" (fast on GPUs and TPUs) or "reference" (as the paper writes it),
            see `schedules`.
        dtype: data type of the activations; parameters and statistics are always float32.
        remat: computes the arrays inside a cell again in the backward pass, which saves memory; "together" keeps the
            results of convolutions.
        axis_name: mapped axis over which batch statistics are averaged; None: each device normalizes with its own
            statistics, as in the paper's multi-GPU runs.
        large_stem: begins with DARTS's stem for ImageNet, three convolutions of stride 2; the first cell of the plan
            then gets inputs of two sizes.
        share: the operations see one channel in `share` (PC-DARTS: 4), the other channels pass, see `partial`; 1: they
            see all channels. The channels of a cell are a multiple of twice the share.
        space: the space of the cells.
    """

    plan: tuple[CellSpec, ...]
    num_classes: int
    image_channels: int = 3
    schedule: str = "loop"
    dtype: Any = jnp.float32
    remat: bool = False
    axis_name: str | None = None
    large_stem: bool = False
    share: int = 1
    space: Space = DARTS

    def __repr__(self) -> str:
        first = self.plan[0]
        channels = first.channels // (1 + first.reduction)  # the first of one or two cells reduces
        return (
            f"Supernet({len(self.plan)} cells, {channels} channels, {self.num_classes} classes, "
            f"{self.schedule}, {jnp.dtype(self.dtype).name})"
        )

    def init(self, key: jax.Array) -> Params:
        """Draws float32 weights from PyTorch's default distributions (paper silent, DARTS values)."""
        first = self.plan[0].channels
        channels = first if self.large_stem else STEM_MULTIPLIER * first
        before, cells = (channels, channels), []
        for number, spec in enumerate(self.plan):
            cell_key = jax.random.fold_in(key, number)
            cells.append(
                cell.init_mixed_cell(
                    cell_key,
                    before,
                    spec.channels,
                    spec.reduction,
                    spec.reduction_prev,
                    self.share,
                    self.space,
                )
            )
            before = before[1], len(self.space.inner_nodes) * spec.channels
        key_stem, key_kernel, key_bias = jax.random.split(jax.random.fold_in(key, len(cells)), 3)
        features = before[1]
        return {
            "stem": self._init_stem(key_stem, channels),
            "cells": cells,
            "classifier": {
                "kernel": cell.uniform(key_kernel, (features, self.num_classes), features),
                "bias": cell.uniform(key_bias, (self.num_classes,), features),
            },
        }

    def apply(
        self, weights: Params, images: jax.Array, probs: jax.Array | Mixture
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Computes class logits of normalized `images` under operation probabilities `probs`.

        Args:
            weights: as from `init`.
            images: [B, H, W, image_channels], of any size.
            probs: [2, 14, 7]: (normal, reduction) cell, edge of `space.genotype.EDGES`, operation. If `share` is 2
                or more, it is a `Mixture`, whose betas are [2, 14].

        Returns:
            Logits [B, num_classes], float32, and the endpoints: "stem", "cell_0", ... (NHWC).
        """
        return self.apply_with(SCHEDULES[self.schedule].mix_edges, weights, images, probs)

    def apply_with(
        self, mix_edges: Callable, weights: Params, images: jax.Array, choices: Any
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Computes `apply` with another function in place of the schedule's `mix_edges`.

        Args:
            mix_edges: a function like `schedules.grouped.mix_together`, in the layout of the schedule.
            weights: as from `init`.
            images: [B, H, W, image_channels].
            choices: what `mix_edges` reads in place of probabilities: a tree of arrays [2, ...], (normal, reduction)
                cell.
        """
        layers = (jax.tree.map(operator.itemgetter(number), choices) for number in self.layer_types)
        return self._apply(mix_edges, weights, images, layers)

    @property
    def layer_types(self) -> tuple[int, ...]:
        """The type of each cell, first to last: 0 for a normal cell, 1 for a reduction cell."""
        return tuple(int(spec.reduction) for spec in self.plan)

    def apply_layers(
        self, weights: Params, images: jax.Array, probs: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Computes `apply` under probabilities [cells, 14, 7], a part for each cell of the network."""
        return self._apply(SCHEDULES[self.schedule].mix_edges, weights, images, probs)

    def _apply(self, mix_edges, weights, images, layers):
        """Computes `apply_with` from the choices of each cell; `layers` may make them one by one."""
        checkpoint_cells = self.remat
        if self.remat and mix_edges is mix_together:
            # This schedule knows what to keep.
            mix_edges, checkpoint_cells = functools.partial(mix_together, remat=True), False
        layout = (schedule := SCHEDULES[self.schedule]).layout
        stem = self._stem(weights["stem"], images.astype(self.dtype))
        before = layout.to_layout(stem[0]), layout.to_layout(stem[1])
        x, endpoints = before[1], {"stem": stem[1]}
        cells = zip(self.plan, weights["cells"], layers, strict=True)
        for number, (spec, params, cell_choices) in enumerate(cells):
            mixed_cell = functools.partial(
                cell.mixed_cell,
                reduction=spec.reduction,
                mix_edges=mix_edges,
                share=self.share,
                layout=layout,
                normalize=schedule.input_norm,
                axis_name=self.axis_name,
                space=self.space,
            )
            if checkpoint_cells:
                mixed_cell = jax.checkpoint(mixed_cell)
            x = mixed_cell(params, before, cell_choices)
            before = before[1], x
            endpoints[f"cell_{number}"] = layout.to_nhwc(x)
        pooled = layout.global_average_pool(x)
        classifier = weights["classifier"]
        return pooled @ classifier["kernel"] + classifier["bias"], endpoints

    def example_probs(self) -> jax.Array | Mixture:
        """Makes zeros in the form that `apply` reads; see `net.Net`."""
        probs, betas = jnp.zeros(self.space.shape), jnp.zeros(self.space.shape[:2])
        return Mixture(probs, betas) if self.share > 1 else probs

    def sampled(self) -> "SampledSupernet":
        """Returns a network with the same weights that computes one drawn operation for each edge."""
        return SampledSupernet(self)

    def single_cell(self) -> "Supernet | SampledSupernet":
        """Returns the network for `choices`. With partial channels it is this supernet, which always mixes."""
        return self.sampled() if self.share == 1 else self

    def choices(self, cell: Genotype) -> np.ndarray | Mixture:
        """Makes the choices under which `single_cell` computes this cell.

        With partial channels they are the cell's one-hot probabilities. The edges' weights add up to 1 at every node,
        as learned weights do.
        """
        chosen = architecture.from_genotype(cell, self.space)
        if self.share == 1:
            return chosen
        kept = jnp.asarray(chosen != architecture.ABSENT, jnp.float32)
        return Mixture(architecture.one_hot(jnp.asarray(chosen), self.space), kept / 2)

    def parts(self, weights: Params) -> dict[str, list[Used]]:
        """Groups the weights: "stem", "cell_0", ..., "classifier"; see `net.Net`."""
        stem = weights["stem"] if self.large_stem else [weights["stem"]]
        # The second of three convolutions has four times the positions of the last one, and the first sixteen times.
        times = [4**n for n in reversed(range(len(stem)))]
        uses = [Used(params, "stem", n) for params, n in zip(stem, times, strict=True)]
        parts, before = {"stem": uses}, "stem"
        for number, (spec, params) in enumerate(zip(self.plan, weights["cells"], strict=True)):
            name, channels = f"cell_{number}", spec.channels // self.share
            inputs = {key: value for key, value in params.items() if key.startswith("preprocess")}
            edges = {key: value for key, value in params.items() if key not in inputs}
            parts[name] = [Used(inputs, before), *self._used_on_edges(edges, name, channels)]
            before = name
        return parts | {"classifier": [Used(weights["classifier"], None)]}

    def _used_on_edges(self, edges: Params, name: str, channels: int) -> list[Used]:
        """Groups the weights of a cell's edges. All layers of the paper's operations have the output's positions."""
        others, uses = other_operations(self.space), []
        for group, sources in edge_groups(self.space, REDUCING in edges).items():
            of_group, count = edges[group], len(edges_from(sources, self.space))
            paper = {key: value for key, value in of_group.items() if key not in others}
            uses.append(Used(paper, name))
            stride = 2 if group == REDUCING else 1
            for other in others:
                each = functools.partial(described.multiply_adds, other, channels, stride)
                used = Used(of_group.get(other, {}), name, times=count, multiply_adds=each)
                uses.append(used)
        return uses

    def _init_stem(self, key, channels):
        """Draws the convolution of the stem, or all three of the large stem, each with the affine part of its BN."""

        def convolution(key, channels_in, channels):
            kernel = cell.uniform(key, (3, 3, channels_in, channels), 9 * channels_in)
            return {"kernel": kernel, "scale": jnp.ones(channels), "bias": jnp.zeros(channels)}

        if not self.large_stem:
            return convolution(key, self.image_channels, channels)
        widths = self.image_channels, channels // 2, channels, channels
        return [
            convolution(jax.random.fold_in(key, n), *widths[n : n + 2])
            for n in range(len(widths) - 1)
        ]

    def _stem(self, params, images):
        """Computes both inputs of the first cell, with 3x3 convolutions and affine BN.

        The small stem has one convolution to 3 C channels, and its result is both inputs. In the large stem the second
        input has passed one more convolution and has half the size of the first.
        """
        if not self.large_stem:
            x = self._convolution(params, images, 1)
            return x, x
        first, second, third = params
        x = jax.nn.relu(self._convolution(first, images, 2))
        s0 = self._convolution(second, x, 2)
        return s0, self._convolution(third, jax.nn.relu(s0), 2)

    def _convolution(self, params, x, stride):
        schedule, kernel = SCHEDULES[self.schedule], params["kernel"].astype(x.dtype)
        if stride > 1:
            x = convolution.conv(x, kernel, (stride, stride), [(1, 1), (1, 1)])
        else:
            x = schedule.stem_conv(x, kernel)
        x = schedule.stem_norm(x, self.axis_name)
        return x * params["scale"].astype(x.dtype) + params["bias"].astype(x.dtype)


class SampledSupernet(NamedTuple):
    """Applies `net`, with the same weights, under an architecture in place of probabilities."""

    net: Supernet

    def apply(
        self, weights: Params, images: jax.Array, architecture: jax.Array | Drawn
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Computes logits [B, num_classes] and endpoints, as `Supernet.apply` does.

        Args:
            weights: as from `Supernet.init`; an operation that is not chosen has a gradient of zero.
            images: [B, H, W, image_channels], of any size.
            architecture: int32 [2, 14], the operation of each edge of the (normal, reduction) cell, ABSENT
                where the edge is not kept; or a `Drawn` of such arrays.
        """
        mix_edges = functools.partial(mix_chosen, layout=SCHEDULES[self.net.schedule].layout)
        return self.net.apply_with(mix_edges, weights, images, architecture)


def make_supernet(
    cells: int, channels: int, num_classes: int, *, large_stem: bool = False, **options: Any
) -> Supernet:
    """Makes the supernet of `cells` cells that starts with `channels` channels.

    Args:
        cells: number of cells.
        channels: channels of the first cell.
        num_classes: number of classes.
        large_stem: as in `Supernet`.
        **options: other attributes of `Supernet`.
    """
    plan = cell_plan(cells, channels, reduction_prev=large_stem)
    return Supernet(plan, num_classes, large_stem=large_stem, **options)
