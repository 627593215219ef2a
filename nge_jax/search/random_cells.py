"""Compares the cell found with random cells, all in the supernet's weights at the end of the search.

If the cell found does no better than random cells, these weights cannot tell cells apart, or the cells hardly differ.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from nge_jax.devices.parallel import Batches
from nge_jax.search.steps.gradient import Net
from nge_jax.search.steps.relaxation import Applied
from nge_jax.space import architecture
from nge_jax.space.cell import Cell, draw
from nge_jax.space.mixture import Mixture
from nge_jax.space.nas_bench_201 import NUM_EDGES, BenchCell
from nge_jax.space.spaces import DARTS
from nge_jax.supernet.model import Params
from nge_jax.supernet.nas_bench_201 import NasBench201Supernet, SampledNasBench201
from nge_jax.supernet.sampled import Drawn, SampledSupernet

# How many batches of the validation half each cell is evaluated on, at most. A strategy's config has a key for it.
BATCHES = 20


def single_cell_net(net: Net) -> Applied:
    """Returns a network with the same weights that computes one cell's operations only; `net` itself if it has none."""
    if isinstance(net, NasBench201Supernet):
        return SampledNasBench201(net)
    return SampledSupernet(net) if net.share == 1 else net


def choices(net: Net, cell: Cell) -> Any:
    """Makes the choices under which `single_cell_net(net)` computes this cell.

    A supernet with partial channels always mixes operations. It gets the cell's one-hot probabilities. The edges'
    weights add up to 1 at every node, as learned weights do.
    """
    if isinstance(cell, BenchCell):
        return Drawn(jnp.asarray(cell.operations)[None], jnp.ones((1, NUM_EDGES)))
    chosen = architecture.from_genotype(cell)
    if not isinstance(net, NasBench201Supernet) and net.share > 1:
        kept = jnp.asarray(chosen != architecture.ABSENT, jnp.float32)
        return Mixture(architecture.one_hot(jnp.asarray(chosen), DARTS), kept / 2)
    return chosen


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
      score: the result of `strategy_steps.make_score` for `single_cell_net(net)`.
      weights: the weights of `net`.
      batches: batches of images that did not train the weights.
      cell: the cell that the search found.
      count: the number of random cells.

    Returns:
      {"found": accuracy, "random": {name of a cell: accuracy}}, ready for JSON.
    """
    random_cells = draw(cell.space, count)
    candidates = [choices(net, each) for each in (cell, *random_cells.values())]
    found, *accuracies = map(float, score(weights, batches, candidates))
    return {"found": found, "random": dict(zip(random_cells, accuracies, strict=True))}
