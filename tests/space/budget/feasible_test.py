"""Cells within several limits at once, against all cells of a small space."""

import numpy as np
import pytest

from nge_jax.space.budget import feasible
from nge_jax.space.budget.costs import Budget, CellCosts
from nge_jax.space.spaces import DARTS
from tests.helpers.budgets import TINY, every_cell, network_costs, timed_costs

CELLS = every_cell(TINY)
NETWORK = (3, 16, 10, (8, 8, 1), False)


def budget_near_the_least(seed):
    """Draws costs without free operations, and limits that some cells meet, or none."""
    rng = np.random.default_rng(seed)
    costs = CellCosts(rng.integers(1, 20, 2), rng.integers(1, 1000, (2, *TINY.shape)))
    most_skips = int(rng.integers(0, 5))
    least = costs.least(TINY)
    limits = tuple(int(n * f) for n, f in zip(least, rng.uniform(1, 1.6, 2), strict=True))
    return Budget(costs, limits), most_skips


def is_within(budget, most_skips, number=None):
    """Tells for each cell whether it is within the limits, but for the limit of one cost."""
    counted = budget.costs.count(CELLS)
    within = (CELLS[:, 0] == 0).sum(1) <= most_skips
    for k, limit in enumerate(budget.limits):
        within &= (counted[:, k] <= limit) | (k == number)
    return within, counted


@pytest.mark.parametrize("seed", range(30))
def test_the_cheapest_cell_and_the_least_of_a_cost_are_those_of_all_cells(seed):
    budget, most_skips = budget_near_the_least(seed)
    within, counted = is_within(budget, most_skips)
    found = feasible.cheapest(budget, TINY, most_skips)
    assert (found is not None) == within.any()
    if found is not None:
        parts = ((counted - budget.costs.base) / budget.limits).sum(1)
        of_found = ((budget.costs.count(found) - budget.costs.base) / budget.limits).sum()
        assert of_found == pytest.approx(parts[within].min())
        assert budget.allows(found) and (found[0] == 0).sum() <= most_skips
    for number in (0, 1):
        within, counted = is_within(budget, most_skips, number)
        least = feasible.least_beside(budget, number, TINY, most_skips)
        assert least == (counted[within, number].min() if within.any() else None)


def test_some_of_these_limits_are_met_and_some_are_not():
    met = {is_within(*budget_near_the_least(seed))[0].any() for seed in range(30)}
    assert met == {True, False}


def test_pools_are_free_but_for_time():
    counted = Budget(network_costs(*NETWORK), (30_000, 10**7))
    assert feasible.has_free_operations(counted, DARTS)
    timed = Budget(timed_costs(0, *NETWORK), (30_000, 0, 10**7))
    assert not feasible.has_free_operations(timed, DARTS)
