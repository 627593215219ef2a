"""Sizes of networks: parameters and multiply-adds, counted on abstract arrays, and a table of the parts.

The multiply-adds of convolutions and fully connected layers are counted for one image, as in the tables of public code.
Batch normalization, pools, additions and the auxiliary head are not counted.
"""

import functools
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from nge_jax.networks import network
from nge_jax.networks.described import DescribedOperation, parameter_name
from nge_jax.networks.network import Network
from nge_jax.space.budget.costs import CellCosts
from nge_jax.space.genotype import Genotype
from nge_jax.space.spaces import DARTS
from nge_jax.supernet.net import Net, Used

AUXILIARY = "auxiliary"  # this part of a network exists in training only


class Cost(NamedTuple):
    """Counts a network's parameters, and its multiply-adds for one image."""

    parameters: int
    multiply_adds: int


def model_cost(model: nn.Module, image_shape: tuple[int, int, int]) -> Cost:
    """Counts a Linen network, called as `model(images, train=False)`, on one image [H, W, C]."""
    return total(part_costs(model, image_shape))


def part_costs(
    model: nn.Module, image_shape: tuple[int, int, int], *, train: bool = False
) -> dict[str, Cost]:
    """Counts the parts: "stem", each cell or run of equal cells, "classifier", and "auxiliary" in training.

    Args:
        model: called as `model(images, train=train)`.
        image_shape: (H, W, C) of an image.
        train: whether the network is the one of training.
    """
    parts: dict[str, Cost] = {}
    for path, cost in _weight_costs(model, image_shape, train).items():
        part = path[1] if path[0] == "cells" else path[0]
        parts[part] = _add(parts.get(part, Cost(0, 0)), cost)
    return parts


def _weight_costs(
    model: nn.Module, image_shape: tuple[int, int, int], train: bool
) -> dict[tuple[str, ...], Cost]:
    """Counts each array of weights by its path.

    A layer is a module with a parameter "kernel", and uses each weight once for every position of the output.
    Therefore the multiply-adds of the layer are the size of the kernel times the positions. The multiply-adds of an
    operation that is computed from its description are counted in its program.
    """
    params: dict[tuple[str, ...], Any]
    outputs: dict[tuple[str, ...], Any]
    params, outputs, described = _traced(model, image_shape, train)
    costs = {}
    for path, weights in params.items():
        multiply_adds = 0
        if path[:-1] in described:
            multiply_adds = _described_cost(path, weights, *described[path[:-1]])
        elif path[-1] == "kernel":
            output = outputs[*path[:-1], "__call__"][0]
            # The cells of a run are stacked: [cells, N, H, W, C] in place of [N, H, W, C].
            stacked = output.shape[0] if output.ndim == 5 else 1
            positions = output.size // output.shape[-1] // stacked
            multiply_adds = weights.size * positions
        costs[path] = Cost(weights.size, multiply_adds)
    return costs


def _traced(model, image_shape, train):
    """Calls a network on abstract images: its parameters, the outputs of layers, and the described operations.

    Each described operation comes with the shape of its input.
    """
    described = {}

    def observe(call, arguments, keywords, context):
        is_called = context.method_name == "__call__"
        if is_called and isinstance(context.module, DescribedOperation):
            described[context.module.path] = context.module.clone(parent=None), arguments[0].shape
        return call(*arguments, **keywords)

    def forward():
        _, variables = model.init_with_output(
            {"params": jax.random.key(0)},
            jnp.zeros((1, *image_shape)),
            train=train,
            capture_intermediates=lambda module, _: module.has_variable("params", "kernel"),
        )
        return variables["params"], variables["intermediates"]

    with nn.intercept_methods(observe):
        params, outputs = map(traverse_util.flatten_dict, jax.eval_shape(forward))
    return params, outputs, described


def _described_cost(path, weights, module, shape):
    """Counts the multiply-adds of an operation with the first of its weights, and none with the others."""
    shapes: dict[str, Any] = traverse_util.flatten_dict({**module.shapes()}, sep="/")
    names = {parameter_name(name): size for name, size in shapes.items()}
    if path[-1] != min(names):
        return 0
    # The cells of a run are stacked: their weights have an axis more.
    cells = weights.shape[0] if weights.ndim > len(names[path[-1]]) else 1
    return cells * module.multiply_adds(shape)


# Every operation with weights on an edge from a cell's input, and every one on an edge between inner nodes.
_FROM_INPUTS = tuple((o, j % 2) for j, o in enumerate((*DARTS.operations, "skip_connect")))
_FROM_NODES = (
    ("max_pool_3x3", 0), ("max_pool_3x3", 1),
    ("max_pool_3x3", 0), ("skip_connect", 2),
    ("sep_conv_3x3", 2), ("sep_conv_5x5", 3),
    ("dil_conv_3x3", 2), ("dil_conv_5x5", 3),
)  # fmt: skip


def cell_costs(make: Callable[[Genotype], Network], image_shape: tuple[int, int, int]) -> CellCosts:
    """Counts what each operation on each edge adds to the networks of all cells of the paper's space.

    Args:
        make: makes the network of a cell.
        image_shape: (H, W, C) of an image.
    """
    nodes = tuple(DARTS.inner_nodes)
    base, edges = [], np.zeros((len(Cost._fields), *DARTS.shape), np.int64)
    for from_nodes, pairs in enumerate((_FROM_INPUTS, _FROM_NODES)):
        model = make(Genotype(pairs, nodes, pairs, nodes))
        rest = Cost(0, 0)
        added = np.zeros((len(Cost._fields), len(DARTS.cell_types), len(pairs)), np.int64)
        for path, cost in _weight_costs(model, image_shape, train=False).items():
            edge = re.match(r"edge_(\d+)_", path[2]) if path[0] == "cells" else None
            if edge is None:
                rest = _add(rest, cost)
                continue
            first = model.plan[int(path[1].split("_")[1])]  # a run of equal cells begins with it
            added[:, int(first.reduction), int(edge[1])] += cost
        base.append(rest)
        starts = [
            e for e, (i, _) in enumerate(DARTS.edges) if (i >= DARTS.num_inputs) == from_nodes
        ]
        for j, (operation, source) in enumerate(pairs):
            if (source >= DARTS.num_inputs) == from_nodes:
                edges[:, :, starts, DARTS.operations.index(operation)] = added[:, :, j, None]
    assert base[0] == base[1], "what no edge decides is equal for all cells"
    return CellCosts(np.array(base[0], np.int64), edges)


def supernet_part_costs(net: Net, image_shape: tuple[int, int, int]) -> dict[str, Cost]:
    """Counts the parts of a supernet with all operations on every edge: "stem", "cell_0", ..., "classifier".

    NAS-Bench-201 has a "stage_0", ... in place of cells: the residual block before the stage, and the stage's cells.

    Args:
        net: the supernet.
        image_shape: (H, W, C) of an image.
    """
    weights = jax.eval_shape(net.init, jax.random.key(0))
    _, endpoints = jax.eval_shape(
        net.apply,
        weights,
        jax.ShapeDtypeStruct((1, *image_shape), jnp.float32),
        jax.eval_shape(net.example_probs),
    )
    return {
        part: functools.reduce(_add, (_used_cost(used, endpoints) for used in uses))
        for part, uses in net.parts(weights).items()
    }


def _used_cost(used: Used, endpoints: Mapping[str, jax.Array]) -> Cost:
    """Counts weights and their multiply-adds. Vectors shift or scale, which is not counted."""
    positions = used.times
    leaves = jax.tree.leaves(used.weights)
    if used.multiply_adds is not None and used.endpoint is not None:
        _, height, width, _ = endpoints[used.endpoint].shape
        each = used.multiply_adds((height, width))
        return Cost(sum(leaf.size for leaf in leaves), positions * each)
    if used.endpoint is not None:
        positions *= _positions(endpoints[used.endpoint])
    multiplied = sum(leaf.size for leaf in leaves if leaf.ndim > 1)
    return Cost(sum(leaf.size for leaf in leaves), multiplied * positions)


def _positions(endpoint):
    """Counts the positions of an array [1, H, W, C]."""
    return endpoint.shape[1] * endpoint.shape[2]


def total(parts: Mapping[str, Cost]) -> Cost:
    """Adds up the parts."""
    return functools.reduce(_add, parts.values())


def _add(a, b):
    return Cost(*map(operator.add, a, b))


def cifar_cost(
    genotype: Genotype,
    *,
    cells: int = 20,
    channels: int = 36,
    classes: int = 10,
    image_shape: tuple[int, int, int] = (32, 32, 3),
) -> Cost:
    """Counts a genotype's network for CIFAR and other small images."""
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
    """Counts a genotype's network for ImageNet."""
    model = network.imagenet_network(genotype, cells=cells, channels=channels, classes=classes)
    return model_cost(model, image_shape)


def network_table(title: str, model: Network, shape: tuple[int, int, int]) -> str:
    """Makes a table of a network's parts with their costs on one image of `shape` (H, W, C)."""
    parts = part_costs(model, shape, train=model.auxiliary is not None)
    (_, endpoints), _ = jax.eval_shape(
        lambda: model.init_with_output(
            jax.random.key(0), jnp.zeros((1, *shape)), train=model.auxiliary is not None
        )
    )
    outputs = {part: endpoints.get(_last_cell(part)) for part in parts}
    return parts_table(title, parts, outputs)


def _last_cell(part):
    """Names the cell whose output is an endpoint: "cell_05", the last cell, for a run "cells_00_05"."""
    return f"cell_{part[-2:]}" if part.startswith("cells_") else part


def _place(item):
    """Makes a key that sorts parts from the images to the logits."""
    match = re.fullmatch(r"([a-z]+?)s?(?:_(\d+).*)?", item[0])
    assert match, item
    kind, number = match.groups()
    return ("stem", "cell", "stage", AUXILIARY, "classifier", "head").index(kind), int(number or 0)


def parts_table(
    title: str, parts: Mapping[str, Cost], outputs: Mapping[str, jax.Array | None]
) -> str:
    """Makes a table with a line for each part: name, shape of the output if it is known, and cost."""
    rows: list[tuple[str, ...]] = [("part", "output", "parameters", "multiply-adds")]
    for part, (parameters, multiply_adds) in sorted(parts.items(), key=_place):
        output = outputs[part]
        shape = "" if output is None else "x".join(map(str, output.shape[1:]))
        rows.append((part, shape, f"{parameters:,}", f"{multiply_adds:,}"))
    counted = {part: count for part, count in parts.items() if part != AUXILIARY}
    rows.append(("total", "", *(f"{count:,}" for count in total(counted))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        row[0].ljust(widths[0])
        + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]
    note = [f"({AUXILIARY}: in training only, not in the total)"] if AUXILIARY in parts else []
    return "\n".join([title, *lines, *note])
