"""Milliseconds of cells, summed from a table of parts: of a derived cell, of each operation on an edge, and under P."""

from collections.abc import Iterable, Mapping

import numpy as np

from nge_jax.errors import InputError
from nge_jax.latency.parts import NetworkShape, Part, fixed_parts, placed_cells
from nge_jax.space.budget.costs import MILLISECONDS, CellCosts
from nge_jax.space.budget.costs import expected_cost as expected_cost_of_edges
from nge_jax.space.genotype import Genotype
from nge_jax.space.spaces import DARTS, Space

NANOSECONDS = MILLISECONDS.unit  # a millisecond has so many
Times = Mapping[Part, float]  # milliseconds by part, see `table.read`


def edge_costs(times: Times, network: NetworkShape, space: Space = DARTS) -> np.ndarray:
    """Returns the milliseconds that an operation on an edge adds to the network: float64 [cell type, edge, operation].

    A cell type's edge stands in every cell of this type, therefore its costs are sums over these cells. The network's
    time is this sum over the kept edges plus `fixed_cost`.

    Args:
      times: the table.
      network: the network's shape.
      space: the space of the cells.

    Raises:
      InputError: the table lacks a part.
    """
    costs = np.zeros(space.shape)
    for cell in placed_cells(network):
        kind = space.cell_types.index(cell.kind)
        for edge, (source, _) in enumerate(space.edges):
            for number, name in enumerate(space.operations):
                part = cell.operation(name, source)
                costs[kind, edge, number] += 0.0 if part is None else _time(times, part)
    return costs


def fixed_cost(times: Times, network: NetworkShape) -> float:
    """Returns the milliseconds of all that does not depend on the cells' operations; errors as of `edge_costs`."""
    return sum(_time(times, part) for part in fixed_parts(network))


def cell_cost(times: Times, network: NetworkShape, genotype: Genotype) -> float:
    """Returns the milliseconds of the network of a genotype; errors as of `edge_costs`."""
    network = network.of_cell(genotype)
    kept = (
        cell.operation(edge.operation, edge.source)
        for cell in placed_cells(network)
        for edge in genotype.kept_edges(cell.kind)
    )
    return fixed_cost(times, network) + _sum(times, kept)


def expected_cost(times: Times, network: NetworkShape, probs: np.ndarray) -> float:
    """Returns the expected milliseconds of a cell whose operations are drawn from P, and edges uniformly.

    Of the k edges into an inner node a cell keeps two. An edge counts with its probability 2 / k.

    Args:
      times: the table.
      network: the network's shape.
      probs: P [cell type, edge, operation] of DARTS's space.
    """
    edges, base = edge_costs(times, network)[None], np.array([fixed_cost(times, network)])
    return float(expected_cost_of_edges(base, edges, probs, DARTS)[0])


def cell_costs(times: Times, network: NetworkShape, space: Space = DARTS) -> CellCosts:
    """Returns whole nanoseconds as a kind of cost, with which a `Budget` limits a cell exactly.

    The arrays are int64 [1] and [1, cell type, edge, operation]. Arguments and errors are those of `edge_costs`.
    """
    edges = np.rint(edge_costs(times, network, space) * NANOSECONDS).astype(np.int64)
    return CellCosts(np.array([round(fixed_cost(times, network) * NANOSECONDS)]), edges[None])


def _sum(times: Times, parts: Iterable[Part | None]) -> float:
    return sum(_time(times, part) for part in parts if part is not None)


def _time(times: Times, part: Part) -> float:
    try:
        return times[part]
    except KeyError:
        shape = f"{part.height}x{part.width}x{part.inputs} to {part.channels} channels"
        raise InputError(
            f"found no row {part.name} of {shape} with stride {part.stride}; nge latency --table "
            "measures a network's"
        ) from None
