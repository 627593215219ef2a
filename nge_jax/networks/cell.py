"""A cell of a derived network with drop-path, and the stack of such cells."""

import itertools
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from nge_jax.kernels.materialize import materialize, materialize_gradient
from nge_jax.networks import layers
from nge_jax.space.genotype import NUM_INPUTS, Genotype
from nge_jax.space.stack import CellSpec


def draw_path_scales(
    key: jax.Array, genotype: Genotype, cells: int, batch: int, rate: jax.Array
) -> jax.Array:
    """Draws drop-path for each cell, edge and sample: 0 with probability `rate`, else 1 / (1 - rate).

    The scales are drawn outside the network, therefore each device takes the part for its samples of a batch.

    Args:
        key: PRNG key.
        genotype: genotype of the network.
        cells: number of cells.
        batch: number of samples on all devices.
        rate: scalar in [0, 1).

    Returns:
        float32 [cells, edges, batch]; a cell with fewer edges ignores the rest.
    """
    edges = max(len(genotype.normal), len(genotype.reduce))
    keep = jax.random.bernoulli(key, 1.0 - rate, (cells, edges, batch))
    # Otherwise every multiplication with one of the scales would draw it again.
    return materialize(keep / (1.0 - rate), jnp.asarray(rate))


def edge_name(index: int, operation: str) -> str:
    """Names the module of a cell's edge with this index and operation."""
    return f"edge_{index}_{re.sub('[^a-zA-Z0-9]', '_', operation)}"


def make_inputs(
    spec: CellSpec, norm: Callable, dtype: Any, s0: jax.Array, s1: jax.Array
) -> list[jax.Array]:
    """Preprocesses the inputs of a cell, within the cell's module: both [N, H, W, channels]."""
    channels, _, reduction_prev, (before_0, before, _) = spec
    reduce = partial(layers.FactorizedReduce, spacing=(before_0, before))
    first = reduce if reduction_prev else layers.ReluConvNorm
    return [
        first(channels, norm, dtype, name="input_0")(s0),
        layers.ReluConvNorm(channels, norm, dtype, name="input_1")(s1),
    ]


class FixedCell(nn.Module):
    """Computes a derived cell: ([N, H0, W0, C0], [N, H, W, C1]) -> [N, H', W', channels * concatenated].

    H0 is H, or 2 H after a reduction. H' is H, or H / 2 in a reduction that does not double the spacing. `path_scales`
    [edges, N] scale the outputs of all operations but identities, sample by sample.
    """

    genotype: Genotype
    spec: CellSpec
    norm: Callable
    dtype: Any = None

    @nn.compact
    def __call__(
        self, s0: jax.Array, s1: jax.Array, path_scales: jax.Array | None = None
    ) -> jax.Array:
        channels, reduction, _, (_, before, after) = self.spec
        edges, concat = self.genotype.cell("reduction" if reduction else "normal")
        nodes = make_inputs(self.spec, self.norm, self.dtype, s0, s1)
        pools = {}  # equal pools of the same array are computed once, and differentiated once
        for index, (operation, source) in enumerate(edges):
            if source < NUM_INPUTS:
                stride, spacing = 2 if reduction else 1, (before, after)
            else:
                stride, spacing = 1, (after, after)
            name = edge_name(index, operation)
            build = layers.builder(operation)
            y = pools.get((operation, source))
            if y is None:
                y = build(channels, stride, self.norm, self.dtype, name, spacing)(nodes[source])
            if operation in layers.POOLS:
                pools[operation, source] = y
            if path_scales is not None and not layers.is_identity(operation, stride):
                y *= path_scales[index, :, None, None, None].astype(y.dtype)
            if index % 2 == 0:
                nodes.append(y)
            else:
                nodes[-1] = materialize_gradient(nodes[-1] + y)
        return jnp.concatenate([nodes[node] for node in concat], axis=-1)


class CellStack(nn.Module):
    """Computes a chain of cells, each of which reads the two cells before it: (s0, s1) -> outputs as endpoints.

    `path_scales` [cells, edges, N] come from `draw_path_scales`; None means no drop-path. `make_cell` makes the module
    of a cell, of the same arguments as `FixedCell`.
    """

    genotype: Any
    plan: tuple[CellSpec, ...]
    norm: Callable
    dtype: Any = None
    make_cell: Callable[..., nn.Module] = FixedCell

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
                # A run of equal cells is one loop, which needs inputs and outputs of the same shape.
                same = s0.shape == s1.shape and s1.shape[-1] == len(concat) * spec.channels
                stop = end if same else start + 1
                single = stop == start + 1
                name = f"cell_{start:02d}" if single else f"cells_{start:02d}_{stop - 1:02d}"
                cell = self.make_cell(self.genotype, spec, self.norm, self.dtype, name=name)
                scales = None if path_scales is None else path_scales[start:stop]
                if single:
                    s0, s1 = s1, cell(s0, s1, None if scales is None else scales[0])
                else:
                    (s0, s1), _ = _scan(stop - start)(cell, (s0, s1), scales)
                endpoints[f"cell_{stop - 1:02d}"] = s1
                start = stop
        return endpoints


def _scan(length: int) -> Callable:
    """Makes a loop of `length` equal cells, whose weights and statistics get a leading axis of that length."""
    return nn.scan(
        lambda cell, inputs, scales: ((inputs[1], cell(*inputs, scales)), None),
        variable_axes={"params": 0, "batch_stats": 0, "intermediates": 0},
        split_rngs={"params": True},
        length=length,
    )
