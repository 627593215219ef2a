"""Compares the cell found with random cells, all in the supernet's weights at the end of the search.

If the cell found does no better than random cells, these weights cannot tell cells apart, or the cells hardly differ.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nge_jax.devices.parallel import Batches
from nge_jax.space.cell import Cell, draw
from nge_jax.supernet.net import Net
from nge_jax.supernet.trees import Params

# How many batches of the validation half each cell is evaluated on, at most. A strategy's config has a key for it.
BATCHES = 20


def compare(
    net: Net,
    score: Callable[[Params, Batches, Sequence[Any]], np.ndarray],
    weights: Params,
    batches: Batches,
    cell: Cell,
    count: int,
) -> dict[str, Any]:
    """Evaluates the cell found and `count` random cells on the same batches, unaugmented.

    Args:
      net: the supernet.
      score: the result of `strategy_steps.make_score` for `net.single_cell()`.
      weights: the weights of `net`.
      batches: batches of images that did not train the weights.
      cell: the cell that the search found.
      count: the number of random cells.

    Returns:
      {"found": accuracy, "random": {name of a cell: accuracy}}, ready for JSON.
    """
    random_cells = draw(net.space, count)
    candidates = [net.choices(each) for each in (cell, *random_cells.values())]
    found, *accuracies = map(float, score(weights, batches, candidates))
    return {"found": found, "random": dict(zip(random_cells, accuracies, strict=True))}
