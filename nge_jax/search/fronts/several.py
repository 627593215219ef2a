"""The cells of searches that pay differently for parameters, beside random cells of all sizes, all rated alike.

The searches end with different weights, and each suits its search's cell. Every cell is rated in the weights of every
search, on the images that did not train them. The mean is the cell's accuracy.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nge_jax.search.plan import Search
from nge_jax.space.budget import strongest
from nge_jax.space.cell import Cell, draw

DRAWN = 500  # random cells among which those of all sizes are chosen


def compare(
    search: Search,
    found: Mapping[str, Cell],
    rate: Callable[[Sequence[Any]], np.ndarray],
    count: int,
) -> dict[str, Any]:
    """Counts and rates the cells found and random cells.

    Args:
      search: the plan that the searches share, with costs.
      found: the cells found, by the searches' folders.
      rate: computes the accuracies [N] of N choices of the supernet.
      count: the number of random cells.

    Returns:
      {"found": {folder: {"parameters", "accuracy"}}, "random": {name of a cell: ...}}, ready for JSON.
    """
    random = _draw_sizes(search, count)
    cells = [*found.values(), *random.values()]
    accuracies = rate([search.net.choices(cell) for cell in cells])
    rows = [
        {"parameters": _count_parameters(search, cell), "accuracy": float(accuracy)}
        for cell, accuracy in zip(cells, accuracies, strict=True)
    ]
    return {
        "found": dict(zip(found, rows[: len(found)], strict=True)),
        "random": dict(zip(random, rows[len(found) :], strict=True)),
    }


def _draw_sizes(search: Search, count: int) -> dict[str, Cell]:
    """Chooses random cells whose numbers of parameters are spread between the least and the most of many."""
    if not count:
        return {}
    drawn = draw(search.space, max(DRAWN, count))
    left = {name: _count_parameters(search, cell) for name, cell in drawn.items()}
    chosen = []
    for wanted in np.linspace(min(left.values()), max(left.values()), count):
        nearest = min(left, key=lambda name: abs(left[name] - wanted))
        chosen.append(nearest)
        del left[nearest]
    return {name: drawn[name] for name in chosen}


def _count_parameters(search: Search, cell: Cell) -> int:
    """Counts the parameters of the network to be trained, which is the first of the costs."""
    assert search.limits is not None, "a search that pays for parameters has costs"
    counted = search.limits.budget.costs.count(strongest.as_architecture(cell, search.space))
    return int(search.limits.of_training(counted)["parameters"])
