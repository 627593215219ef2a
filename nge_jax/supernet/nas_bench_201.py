"""The supernet of NAS-Bench-201 (Dong and Yang, ICLR 2020): (weights, images, probabilities P) -> logits.

    stem, N cells, residual block, N cells, residual block, N cells, BN-ReLU, global average, classifier

See `nas_bench_201_cell` for the cells. Edges keep the resolution and the number of channels. A residual block halves
the resolution and doubles the channels. As in the benchmark's training, a convolution stands between ReLU and batch
normalization, and `avg_pool_3x3` has no batch normalization. As in the benchmark's searches (D-X-Y/AutoDL-Projects),
the normalization is affine in the stem, blocks and head, and not affine on edges. It always uses the statistics of the
batch, therefore the supernet has no state. The cells of a stage are one compiled loop.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nge_jax.kernels import convolution
from nge_jax.space.nas_bench_201 import NUM_EDGES, BenchCell, first_number
from nge_jax.space.spaces import NAS_BENCH_201, Space
from nge_jax.supernet import norm
from nge_jax.supernet.cell import uniform
from nge_jax.supernet.nas_bench_201_cell import chosen_cell, mixed_cell
from nge_jax.supernet.net import Used
from nge_jax.supernet.sampled import Drawn
from nge_jax.supernet.trees import Params

STAGES = 3


class NasBench201Supernet(NamedTuple):
    """Describes the supernet as data; `init` and `apply` are its two functions, like those of `model.Supernet`.

    Attributes:
        cells: N, the number of cells in each stage.
        channels: channels of the first stage; every later stage doubles them.
        num_classes: number of classes.
        image_channels: channels of an image.
        dtype: data type of the activations; parameters and statistics are always float32.
        remat: computes the arrays inside a cell again in the backward pass, which saves memory.
        axis_name: mapped axis over which batch statistics are averaged; None: each device normalizes with its own
            statistics.
        space: NAS_BENCH_201, or NO_NONE for cells without `none`; decides which operations P and `Drawn` count.
        all_scalars: whether an edge with a drawn operation also adds the scalars of the others, as the benchmark's
            search does (D-X-Y/AutoDL-Projects, `forward_gdas`). Values stay the same, the scales' gradients do not.
    """

    cells: int
    channels: int
    num_classes: int
    image_channels: int = 3
    dtype: Any = jnp.float32
    remat: bool = False
    axis_name: str | None = None
    space: Space = NAS_BENCH_201
    all_scalars: bool = False

    def init(self, key: jax.Array) -> Params:
        """Draws float32 weights from PyTorch's default distributions, as the benchmark's searches do."""
        keys = iter(jax.random.split(key, 3 * STAGES + 2))
        widths = [self.channels * 2**stage for stage in range(STAGES)]
        stem = (3, 3, self.image_channels, self.channels)
        weights: Params = {
            "stem": _init_conv(next(keys), stem) | _init_affine(self.channels),
            "stages": [self._init_cells(next(keys), channels) for channels in widths],
            "blocks": [_init_block(next(keys), channels) for channels in widths[:-1]],
            "head": _init_affine(widths[-1]),
        }
        kernel = uniform(next(keys), (widths[-1], self.num_classes), widths[-1])
        bias = uniform(next(keys), (self.num_classes,), widths[-1])
        return weights | {"classifier": {"kernel": kernel, "bias": bias}}

    def _init_cells(self, key, channels):
        """Draws a 1x1 and a 3x3 convolution for each edge of a stage's cells, stacked by cell and edge."""
        key_1x1, key_3x3 = jax.random.split(key)
        stacked = self.cells, len(NAS_BENCH_201.edges)
        return {
            "nor_conv_1x1": uniform(key_1x1, (*stacked, channels, channels), channels),
            "nor_conv_3x3": uniform(key_3x3, (*stacked, 3, 3, channels, channels), 9 * channels),
        }

    def apply(
        self, weights: Params, images: jax.Array, probs: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Computes class logits of normalized `images` under operation probabilities `probs`.

        Args:
            weights: as from `init`.
            images: [B, H, W, image_channels], with H and W divisible by 4.
            probs: [1, 6, O]: cell type, edge of `NAS_BENCH_201.edges`, operation of `space`.

        Returns:
            Logits [B, num_classes], float32, and the endpoints: "stem", "stage_0", ... (NHWC).
        """
        return self.apply_with(mixed_cell, weights, images, self._with_none(probs))

    def _with_none(self, probs):
        """Adds the probability 0 of `none` to P [..., 6, O], where the space lacks this operation."""
        absent = first_number(self.space)
        return jnp.pad(probs, ((0, 0), (0, 0), (absent, 0))) if absent else probs

    def apply_with(
        self, mix_cell: Callable, weights: Params, images: jax.Array, choices: Any
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Computes `apply` with another function in place of `mixed_cell`.

        Args:
            mix_cell: a function like `mixed_cell`.
            weights: as from `init`.
            images: [B, H, W, image_channels].
            choices: what `mix_cell` reads in place of probabilities: a tree of arrays [1, ...].
        """
        choice = jax.tree.map(lambda a: a[0], choices)

        def cell(x, params):
            return mix_cell(params, x, choice, self.axis_name), None

        return self._apply(cell, weights, images, weights["stages"])

    @property
    def layer_types(self) -> tuple[int, ...]:
        """The type of each cell: all have the one type."""
        return (0,) * (STAGES * self.cells)

    def apply_layers(
        self, weights: Params, images: jax.Array, probs: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Computes `apply` under probabilities [3 N, 6, O], a part for each cell of the network."""
        probs = self._with_none(probs)
        stages = zip(weights["stages"], jnp.split(probs, STAGES), strict=True)

        def cell(x, layer):
            params, choice = layer
            return mixed_cell(params, x, choice, self.axis_name), None

        return self._apply(cell, weights, images, stages)

    def _apply(self, cell, weights, images, stages):
        """Computes `apply_with` by a function `(x, layer) -> (x, None)`; `stages`: the layers of each, stacked."""
        if self.remat:
            cell = jax.checkpoint(cell)
        stem = weights["stem"]
        x = convolution.dense_conv(images.astype(self.dtype), stem["kernel"].astype(self.dtype))
        x = _affine_norm(stem, x, self.axis_name)
        endpoints = {"stem": x}
        for stage, layers in enumerate(stages):
            if stage:
                x = residual_block(weights["blocks"][stage - 1], x, self.axis_name)
            x, _ = lax.scan(cell, x, layers)
            endpoints[f"stage_{stage}"] = x
        x = jax.nn.relu(_affine_norm(weights["head"], x, self.axis_name))
        pooled = x.mean((1, 2), dtype=jnp.float32)
        classifier = weights["classifier"]
        return pooled @ classifier["kernel"] + classifier["bias"], endpoints

    def example_probs(self) -> jax.Array:
        """Makes zeros in the form that `apply` reads."""
        return jnp.zeros(self.space.shape)

    def sampled(self) -> "SampledNasBench201":
        """Returns a network with the same weights that computes one drawn operation for each edge."""
        return SampledNasBench201(self)

    def single_cell(self) -> "SampledNasBench201":
        """Returns the network for `choices`."""
        return self.sampled()

    def choices(self, cell: BenchCell) -> Drawn:
        """Makes the choices under which `single_cell` computes this cell."""
        numbers = cell.operations - first_number(self.space)
        return Drawn(jnp.asarray(numbers)[None], jnp.ones((1, NUM_EDGES)))

    def parts(self, weights: Params) -> dict[str, list[Used]]:
        """Groups the weights: "stem", "stage_0", ..., "classifier"; see `net.Net`.

        A stage is the residual block before it, which the first stage lacks, and its cells.
        """
        parts = {"stem": [Used(weights["stem"], "stem")]}
        for number, cells in enumerate(weights["stages"]):
            name, block = f"stage_{number}", weights["blocks"][number - 1] if number else {}
            # All layers of a block follow the stride.
            parts[name] = [Used((block, cells), name)]
        return parts | {"classifier": [Used((weights["head"], weights["classifier"]), None)]}


class SampledNasBench201(NamedTuple):
    """Applies `net`, with the same weights, under one operation for each edge: no other is computed, see `sampled`."""

    net: NasBench201Supernet

    def apply(
        self, weights: Params, images: jax.Array, choices: Drawn, /
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Computes logits [B, num_classes] and endpoints, as `NasBench201Supernet.apply` does.

        Args:
            weights: as from `NasBench201Supernet.init`; an operation that is not chosen has a gradient of zero.
            images: [B, H, W, image_channels], with H and W divisible by 4.
            choices: arrays [1, 6]: the operation of each edge by its number in the net's space, and the factor of
                its output.
        """
        absent = first_number(self.net.space)
        if absent:
            choices = choices._replace(operations=choices.operations + absent)
        cell = functools.partial(chosen_cell, all_scalars=self.net.all_scalars)
        return self.net.apply_with(cell, weights, images, choices)


def residual_block(params: Params, x: jax.Array, axis_name: str | None = None) -> jax.Array:
    """Halves the resolution of x [B, H, W, C] and doubles its channels: [B, H / 2, W / 2, 2 C].

    One branch is twice ReLU, 3x3 convolution and BN; the other is a 2x2 average and a 1x1 convolution.
    """
    y = x
    for name, stride in (("first", 2), ("second", 1)):
        kernel = params[name]["kernel"].astype(x.dtype)
        y = convolution.dense_conv(jax.nn.relu(y), kernel, stride)
        y = _affine_norm(params[name], y, axis_name)
    batch, height, width, channels = x.shape
    pairs = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    halved = pairs.mean((2, 4))
    return convolution.pointwise(halved, params["shortcut"].astype(x.dtype)) + y


def _init_conv(key, shape):
    return {"kernel": uniform(key, shape, int(np.prod(shape[:-1])))}


def _init_affine(channels):
    return {"scale": jnp.ones(channels), "bias": jnp.zeros(channels)}


def _init_block(key, channels):
    keys, wide = jax.random.split(key, 3), 2 * channels
    return {
        "first": _init_conv(keys[0], (3, 3, channels, wide)) | _init_affine(wide),
        "second": _init_conv(keys[1], (3, 3, wide, wide)) | _init_affine(wide),
        "shortcut": uniform(keys[2], (channels, wide), channels),
    }


def _affine_norm(params, x, axis_name):
    x = norm.batch_norm(x, axis_name)
    return x * params["scale"].astype(x.dtype) + params["bias"].astype(x.dtype)
