"""The table of a network's parts, their output, parameters and multiply-adds, from its config alone.

Counted as `cost` counts. The auxiliary head, which only training has, is shown but not in the total.
"""

import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from nge_jax import cost
from nge_jax.cost import Cost
from nge_jax.data import small
from nge_jax.data.spec import SMALL
from nge_jax.networks.network import Network
from nge_jax.runtime import config as config_checks
from nge_jax.segment import build as segment_build
from nge_jax.space import genotype
from nge_jax.space.genotype import CELL_TYPES, EDGES, OPERATIONS
from nge_jax.supernet.model import supernet
from nge_jax.train import build as train_build
from nge_jax.train import model as train_model

AUXILIARY = "auxiliary"
SHAPES = {"digits": (8, 8, 1), "cifar10": (32, 32, 3), "cifar100": (32, 32, 3)}


def of_training(config: ConfigDict) -> str:
    """The network that a training config trains.

    Raises:
      InputError, GenotypeError: the config is refused.
    """
    train_build.check(config)
    name = config.data.name
    if name in SHAPES:
        kind, shape, classes = SMALL, SHAPES[name], small.NUM_CLASSES[name]
    else:
        spec = train_build.open_source(config).spec
        kind, shape, classes = spec.kind, spec.shape, len(spec.labels)
    model = train_model.make_network(config, genotype.load(config.genotype), kind, classes)
    return _of_network(f"{config.genotype} on {name}", model, shape)


def of_segmentation(config: ConfigDict) -> str:
    """The network that a segmentation config trains, on an image of its test's size.

    Raises:
      InputError, GenotypeError: the config is refused.
    """
    segment_build.check(config)
    model = train_model.make_segmentation_network(config, genotype.load(config.genotype))
    shape = (config.data.test_size, config.data.test_size, 3)
    return _of_network(f"{config.genotype} as DeepLabv3's backbone", model, shape)


def of_search(config: ConfigDict) -> str:
    """The supernet that a search config trains, with all operations on every edge.

    Raises:
      InputError: the config names no data set of a search.
    """
    name = config.data.name
    config_checks.one_of("data.name", name, SHAPES)
    net = supernet(
        config.network.cells,
        config.network.channels,
        small.NUM_CLASSES[name],
        image_channels=SHAPES[name][-1],
    )
    parts = cost.supernet_part_costs(net, SHAPES[name])
    shapes = (len(CELL_TYPES), len(EDGES), len(OPERATIONS))
    _, endpoints = jax.eval_shape(
        lambda: net.apply(
            net.init(jax.random.key(0)), jnp.zeros((1, *SHAPES[name])), jnp.zeros(shapes)
        )
    )
    return _table(f"the supernet on {name}", parts, {part: endpoints.get(part) for part in parts})


def _of_network(title: str, model: Network, shape: tuple[int, int, int]) -> str:
    parts = cost.part_costs(model, shape, train=model.auxiliary is not None)
    (_, endpoints), _ = jax.eval_shape(
        lambda: model.init_with_output(
            jax.random.key(0), jnp.zeros((1, *shape)), train=model.auxiliary is not None
        )
    )
    outputs = {part: endpoints.get(_last_cell(part)) for part in parts}
    return _table(title, parts, outputs)


def _last_cell(part):
    """Of a run of cells, "cells_00_05", the one whose output is an endpoint: "cell_05"."""
    return f"cell_{part[-2:]}" if part.startswith("cells_") else part


def _place(item):
    """Sorts parts from the images to the logits."""
    kind, number = re.fullmatch(r"([a-z]+?)s?(?:_(\d+).*)?", item[0]).groups()
    return ("stem", "cell", AUXILIARY, "classifier", "head").index(kind), int(number or 0)


def _table(title: str, parts: Mapping[str, Cost], outputs: Mapping[str, jax.Array | None]) -> str:
    rows = [("part", "output", "parameters", "multiply-adds")]
    for part, (parameters, multiply_adds) in sorted(parts.items(), key=_place):
        output = outputs[part]
        shape = "" if output is None else "x".join(map(str, output.shape[1:]))
        rows.append((part, shape, f"{parameters:,}", f"{multiply_adds:,}"))
    counted = {part: count for part, count in parts.items() if part != AUXILIARY}
    rows.append(("total", "", *(f"{count:,}" for count in cost.total(counted))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        row[0].ljust(widths[0])
        + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]
    note = [f"({AUXILIARY}: in training only, not in the total)"] if AUXILIARY in parts else []
    return "\n".join([title, *lines, *note])
