"""Cells that are within several limits at once: whether there are any, the cheapest of them, and the least of a cost.

Each limit by itself is met by a cell of `CellCosts.least`. Together limits may be met by none: a pool has no weights,
and a skip connection takes less time.
"""

import numpy as np

from nge_jax.space import skips
from nge_jax.space.budget import strongest
from nge_jax.space.budget.costs import Budget
from nge_jax.space.spaces import Space


def has_free_operations(budget: Budget, space: Space) -> bool:
    """Tells whether each edge has an operation, no skip connection, that adds to none of the limited costs.

    A cell of such operations is within all limits that are not below the base. Then skip connections may be limited,
    too.
    """
    paid = budget.costs.edges[list(budget.room)].sum(0)
    others = [name != skips.SKIP for name in space.operations]
    return bool((paid[..., others] == 0).any(-1).all())


def cheapest(budget: Budget, space: Space, most_skips: int) -> np.ndarray | None:
    """Finds the architecture [C, E] within the limits whose parts of the limits have the least sum.

    Args:
        budget: the limits, at least one.
        space: the space of the cells.
        most_skips: see `skips.derive`.

    Returns:
        None where no cell is within the limits.
    """
    parts = sum(budget.costs.edges[k] / budget.limits[k] for k in budget.room)
    return _least(np.asarray(parts), budget, space, most_skips)


def least_beside(budget: Budget, number: int, space: Space, most_skips: int) -> int | None:
    """Counts the least of one cost that a cell within the limits of the other costs has.

    Args:
        budget: the limits.
        number: the cost's number in the budget.
        space: the space of the cells.
        most_skips: see `skips.derive`.

    Returns:
        None where no cell is within the other limits.
    """
    limits = [0 if k == number else limit for k, limit in enumerate(budget.limits)]
    # The sum over all edges is no limit. It makes the number one of the costs that the cells are compared by.
    limits[number] = int(budget.costs.base[number] + budget.costs.edges[number].sum())
    edges = budget.costs.edges[number]
    wide = budget._replace(limits=tuple(limits))
    found = _least(edges / max(1, edges.max()), wide, space, most_skips)
    return None if found is None else int(budget.costs.count(found)[number])


def _least(values: np.ndarray, budget: Budget, space: Space, most_skips: int) -> np.ndarray | None:
    """Finds the architecture within the limits whose values [C, E, O] have the least sum; None without one."""
    try:
        return strongest.strongest(np.exp(-values), space, most_skips, budget)
    except ValueError:
        return None
