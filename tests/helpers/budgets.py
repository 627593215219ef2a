"""A space so small that all cells can be listed, and costs of networks that are counted once, or drawn as times."""

import functools
import itertools

import numpy as np

from nge_jax.cost import cell_costs
from nge_jax.latency import costs as latency_costs
from nge_jax.latency import parts
from nge_jax.networks.network import cifar_network, imagenet_network
from nge_jax.space.budget.costs import CellCosts
from nge_jax.space.spaces import Space

# 243 cells of each of two types.
TINY = Space(("skip_connect", "pool", "conv"), ("normal", "reduction"), 2, 4, 2)


def every_cell(space):
    """Lists the architectures [N, C, E] of a small space."""
    one_type = []
    for sets in itertools.product(
        *(itertools.combinations(space.incoming(n), space.kept(n)) for n in space.inner_nodes)
    ):
        edges = [edge for edges in sets for edge in edges]
        for operations in itertools.product(range(len(space.operations)), repeat=len(edges)):
            row = np.full(len(space.edges), -1)
            row[edges] = operations
            one_type.append(row)
    pairs = itertools.product(one_type, repeat=len(space.cell_types))
    return np.array([np.stack(pair) for pair in pairs])


def random_costs(rng, space):
    """Draws costs of few values, as operations have them; every edge has a free operation."""
    edges = rng.integers(0, 6, (2, *space.shape)) * rng.integers(0, 2, (2, *space.shape))
    edges[:, :, :, 1] = 0
    return CellCosts(rng.integers(1, 20, 2), edges)


@functools.cache
def network_costs(cells, channels, classes, shape, large):
    """Counts the costs of the networks of all cells."""
    make = imagenet_network if large else cifar_network
    options = {"cells": cells, "channels": channels, "classes": classes}
    return cell_costs(functools.partial(make, **options), shape)


def draw_times(seed, cells, channels, classes, shape, large):
    """Draws a table of latencies of all parts of a network, in which every operation takes time."""
    random = np.random.RandomState(seed)
    network = shape_of_parts(cells, channels, classes, shape, large)
    return {part: random.uniform(0.01, 0.2) for part in parts.all_parts(network)}


def timed_costs(seed, *network):
    """Counts the parameters, the multiply-adds and the nanoseconds, by a drawn table, of all cells in a network."""
    return costs_by(draw_times(seed, *network), *network)


def costs_by(times, *network):
    """Counts the parameters, the multiply-adds and the nanoseconds, by a table, of all cells in a network."""
    timed = latency_costs.cell_costs(times, shape_of_parts(*network))
    counted = network_costs(*network)
    return CellCosts(*(np.concatenate(pair) for pair in zip(counted, timed, strict=True)))


def shape_of_parts(cells, channels, classes, shape, large):
    """Describes the parts of a network."""
    return parts.network_shape(cells, channels, classes, shape, is_large=large)
