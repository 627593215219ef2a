"""The cells of a history that no smaller or equal cell beats, against all cells of the history."""

import numpy as np
import pytest

from nge_jax.search.fronts import history as fronts
from nge_jax.space import architecture, genotype
from nge_jax.space.budget.costs import Budget
from nge_jax.space.genotype import Genotype
from nge_jax.strategies.base import History
from tests.helpers.budgets import network_costs

COSTS = network_costs(1, 3, 2, (8, 8, 1), False)
CELLS = np.array([architecture.from_genotype(genotype.random_genotype(s)) for s in range(40)])
SIZES = COSTS.count(CELLS)[:, 0]


def find(rewards, accuracies, candidates, budget=None, cells=CELLS):
    """Finds the set; `accuracies`: of all cells, of which the function may ask for any."""
    asked = []

    def rate(more):
        numbers = [int(np.flatnonzero((cell == CELLS).all((1, 2)))[0]) for cell in more]
        asked.extend(numbers)
        return accuracies[numbers]

    found = fronts.pareto_set(
        History(cells, rewards),
        CELLS[candidates],
        accuracies[candidates],
        costs=COSTS,
        rate=rate,
        budget=budget,
    )
    return found, asked


@pytest.mark.parametrize("seed", range(10))
def test_no_smaller_or_equal_cell_beats_one_of_the_set(seed):
    rng = np.random.default_rng(seed)
    rewards, candidates = rng.integers(0, 9, 40) / 9, rng.choice(40, 5, replace=False)
    found, asked = find(rewards, rewards, candidates)
    # Rewards that are true make the set the one of all cells.
    beaten = [
        any(
            SIZES[m] <= SIZES[n]
            and rewards[m] >= rewards[n]
            and (SIZES[m], rewards[m]) != (SIZES[n], rewards[n])
            for m in range(40)
        )
        for n in range(40)
    ]
    best = {(int(SIZES[n]), float(rewards[n])) for n in range(40) if not beaten[n]}
    assert {(c["parameters"], c["accuracy"]) for c in found.values()} == best
    assert not {*asked} & {*candidates.tolist()}, "candidates are rated already"
    for name, cell in found.items():
        number = int(name.removeprefix("cell_"))
        np.testing.assert_array_equal(
            architecture.from_genotype(Genotype(*cell["genotype"].values())), CELLS[number]
        )


def test_accuracies_and_not_rewards_decide_in_the_end():
    rewards = np.linspace(0, 1, 40)[np.argsort(np.argsort(SIZES))]  # every cell is on the front
    accuracies = np.full(40, 0.5)
    accuracies[SIZES.argmax()] = 0.75
    found, _ = find(rewards, accuracies, [SIZES.argmax()])
    assert [c["accuracy"] for c in found.values()] == [0.5, 0.75]
    assert [c["parameters"] for c in found.values()] == [SIZES.min(), SIZES.max()]


def test_cells_beyond_a_limit_are_left_out_and_the_policys_cell_has_a_name():
    limit = int(np.median(SIZES))
    budget = Budget(COSTS, (limit, 0))
    rewards = np.linspace(0, 1, 40)
    smallest = int(SIZES.argmin())
    others = np.delete(np.arange(40), smallest)
    found, _ = find(rewards[others], np.ones(40), [smallest], budget, CELLS[others])
    assert [*found] == [fronts.POLICY]
    found, _ = find(rewards, rewards, [smallest], budget)
    assert all(cell["parameters"] <= limit for cell in found.values())
