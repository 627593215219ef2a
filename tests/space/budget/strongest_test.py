"""The strongest cell within limits, against all cells of a small space."""

import numpy as np
import pytest

from nge_jax.space import cell, skips
from nge_jax.space.budget import strongest
from nge_jax.space.budget.costs import Budget, CellCosts
from nge_jax.space.spaces import DARTS, NO_NONE
from tests.helpers.budgets import TINY, every_cell, network_costs, random_costs

CELLS = every_cell(TINY)


def scores_of(strengths, architectures):
    c, e = np.indices(architectures.shape[1:])
    logs = np.log(strengths)[c, e, np.maximum(architectures, 0)]
    return np.where(architectures >= 0, logs, 0).sum((1, 2))


@pytest.mark.parametrize("seed", range(40))
def test_no_cell_within_the_limits_is_stronger(seed):
    rng = np.random.default_rng(seed)
    costs = random_costs(rng, TINY)
    strengths = rng.dirichlet(np.ones(3), TINY.shape[:2])
    counts = costs.count(CELLS)
    limits = [int(rng.integers(counts[:, k].min(), counts[:, k].max() + 1)) for k in (0, 1)]
    limits = [limit if rng.random() < 0.7 else 0 for limit in limits]
    if not any(limits):
        limits[0] = int(counts[:, 0].mean())
    most_skips = int(rng.integers(0, 5))
    within = np.all([counts[:, k] <= n for k, n in enumerate(limits) if n], axis=0)
    within &= (CELLS[:, 0] == 0).sum(1) <= most_skips
    found = strongest.strongest(strengths, TINY, most_skips, Budget(costs, tuple(limits)))
    assert (CELLS[within] == found).all((1, 2)).any()
    best = scores_of(strengths, CELLS[within]).max()
    np.testing.assert_allclose(scores_of(strengths, found[None])[0], best, rtol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_times_of_many_values_are_compared_in_blocks(seed, monkeypatch):
    """Three limits, and no free operation."""
    monkeypatch.setattr(strongest, "BLOCK", 4)
    rng = np.random.default_rng(seed)
    costs = CellCosts(np.zeros(3, int), rng.integers(1, 10**6, (3, *TINY.shape)))
    strengths = rng.dirichlet(np.ones(3), TINY.shape[:2])
    counts = costs.count(CELLS)
    limits = tuple(np.quantile(counts, 0.4, axis=0).astype(int).tolist())
    within = (counts <= limits).all(1)
    found = strongest.strongest(strengths, TINY, 4, Budget(costs, limits))
    assert (CELLS[within] == found).all((1, 2)).any()
    best = scores_of(strengths, CELLS[within]).max()
    np.testing.assert_allclose(scores_of(strengths, found[None])[0], best, rtol=1e-12)


def test_the_costs_of_all_cells_lie_between_the_least_and_the_most():
    costs = random_costs(np.random.default_rng(0), TINY)
    counts = costs.count(CELLS)
    np.testing.assert_array_equal(costs.least(TINY), counts.min(0))
    np.testing.assert_array_equal(costs.most(TINY), counts.max(0))


def test_the_expected_cost_is_the_mean_over_all_cells():
    rng = np.random.default_rng(0)
    costs, probs = random_costs(rng, TINY), rng.dirichlet(np.ones(3), TINY.shape[:2])
    weights = np.exp(scores_of(probs, CELLS))  # every set of edges is as probable as the others
    expected = (weights[:, None] * costs.count(CELLS)).sum(0) / weights.sum()
    np.testing.assert_allclose(costs.expected(probs, TINY), expected)


def budget_of_digits(part, multiply_adds=0.0):
    costs = network_costs(3, 16, 10, (8, 8, 1), False)
    least, most = costs.least(DARTS), costs.most(DARTS)
    limits = (least + np.array([part, multiply_adds]) * (most - least)).astype(int)
    return Budget(costs, (int(limits[0]), int(limits[1]) if multiply_adds else 0))


@pytest.mark.parametrize("most_skips", [8, 1])
def test_a_limit_that_the_strongest_cell_meets_changes_nothing(most_skips):
    rng = np.random.default_rng(1)
    for strengths in (*rng.dirichlet(np.ones(7), (20, 2, 14)), np.full((2, 14, 7), 1 / 7)):
        today = skips.derive(strengths, DARTS, most_skips)
        assert strongest.derive(strengths, DARTS, most_skips, budget_of_digits(1)) == today
        exact = budget_of_digits(1)
        cost = exact.costs.count(strongest.as_architecture(today))
        at_limit = exact._replace(limits=tuple(map(int, cost)))
        assert strongest.derive(strengths, DARTS, most_skips, at_limit) == today
        below = exact._replace(limits=(int(cost[0]) - 1, 0))
        if cost[0] > exact.costs.least(DARTS)[0]:
            other = strongest.derive(strengths, DARTS, most_skips, below)
            assert below.allows(strongest.as_architecture(other))
            assert skips.count_skips(other, DARTS) <= most_skips


def test_both_limits_and_few_skips_hold_together():
    strengths = np.random.default_rng(2).dirichlet(np.ones(7), (2, 14))
    budget = budget_of_digits(0.3, 0.2)
    found = strongest.derive(strengths, DARTS, 1, budget)
    assert budget.allows(strongest.as_architecture(found))
    assert skips.count_skips(found, DARTS) <= 1


def test_a_limit_below_all_cells_is_no_cells():
    budget = budget_of_digits(0)
    with pytest.raises(ValueError, match="no cell is within"):
        strongest.strongest(
            np.full(DARTS.shape, 0.1), DARTS, 8, budget._replace(limits=(budget.limits[0] - 1, 0))
        )


def test_the_architecture_of_a_cell_is_the_cell_again():
    for space in (DARTS, NO_NONE):
        for found in cell.draw(space, 5).values():
            chosen = strongest.as_architecture(found)[..., None] == np.arange(len(space.operations))
            assert cell.derive(chosen, space) == found
