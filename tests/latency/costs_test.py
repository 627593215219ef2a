"""Sums over a table of latencies, without a network."""

import numpy as np
import pytest

from nge_jax.errors import InputError
from nge_jax.latency import costs, parts
from nge_jax.space import genotype
from nge_jax.space.budget import strongest
from nge_jax.space.budget.costs import Budget
from nge_jax.space.spaces import DARTS

NETWORK = parts.network_shape(5, 4, 7, (8, 8, 3))


@pytest.fixture
def times():
    random = np.random.RandomState(0)
    return {part: random.uniform(0.1, 1) for part in parts.all_parts(NETWORK)}


def one_hot(cell):
    """1 where a cell has an operation on an edge, [cell type, edge, operation]."""
    chosen = np.zeros(DARTS.shape)
    for c, kind in enumerate(DARTS.cell_types):
        for edge in cell.kept_edges(kind):
            number = DARTS.edges.index((edge.source, edge.target))
            chosen[c, number, DARTS.operations.index(edge.operation)] = 1
    return chosen


@pytest.mark.parametrize("seed", range(3))
def test_a_cell_costs_its_edges_and_what_every_cell_costs(times, seed):
    cell = genotype.random_genotype(seed)
    edges = (costs.edge_costs(times, NETWORK) * one_hot(cell)).sum()
    total = costs.cell_cost(times, NETWORK, cell)
    assert total == pytest.approx(edges + costs.fixed_cost(times, NETWORK))
    assert total > edges > 0


def test_an_operation_costs_in_every_cell_of_its_type(times):
    """The second and the fourth of five cells reduce."""
    edge, number = DARTS.edges.index((0, 2)), DARTS.operations.index("max_pool_3x3")
    found = costs.edge_costs(times, NETWORK)[:, edge, number]
    pools = [("max_pool_3x3", 4, 1, 8), ("max_pool_3x3", 8, 1, 4), ("max_pool_3x3", 16, 1, 2)]
    normal = sum(times[parts.Part(n, c, c, s, size, size)] for n, c, s, size in pools)
    halving = [("max_pool_3x3", 8, 2, 8), ("max_pool_3x3", 16, 2, 4)]
    reduction = sum(times[parts.Part(n, c, c, s, size, size)] for n, c, s, size in halving)
    assert found == pytest.approx([normal, reduction])
    skip = DARTS.operations.index("skip_connect")
    assert costs.edge_costs(times, NETWORK)[0, :, skip].max() == 0


def test_the_expected_cost_is_the_mean_over_random_cells(times):
    """A random cell draws the edges and the operations as P does that is uniform."""
    uniform = np.full(DARTS.shape, 1 / len(DARTS.operations))
    cells = [costs.cell_cost(times, NETWORK, genotype.random_genotype(n)) for n in range(400)]
    error = np.std(cells) / len(cells) ** 0.5
    assert abs(costs.expected_cost(times, NETWORK, uniform) - np.mean(cells)) < 4 * error


def test_a_part_that_the_table_lacks_is_named(times):
    del times[parts.Part("sep_conv_3x3", 8, 8, 2, 8, 8)]
    expected = "no row sep_conv_3x3 of 8x8x8 to 8 channels with stride 2"
    with pytest.raises(InputError, match=expected):
        costs.edge_costs(times, NETWORK)


def test_a_budget_in_nanoseconds_keeps_the_strongest_cell_within_the_milliseconds(times):
    """The limit lies between the cheapest cell and the one that P favors."""
    found = costs.cell_costs(times, NETWORK)
    probs = np.random.RandomState(1).dirichlet(np.ones(7), (2, 14))
    favored = strongest.derive(probs, DARTS, 8, None)
    most = costs.cell_cost(times, NETWORK, favored)
    least = found.least(DARTS)[0] / costs.NANOSECONDS
    limit = (least + most) / 2
    budget = Budget(found, (round(limit * costs.NANOSECONDS),))
    within = strongest.derive(probs, DARTS, 8, budget)
    assert least < costs.cell_cost(times, NETWORK, within) <= limit + 1e-5 < most
    counted = found.count(strongest.as_architecture(within))[0] / costs.NANOSECONDS
    assert counted == pytest.approx(costs.cell_cost(times, NETWORK, within), abs=1e-4)
