"""How the cell found does beside random cells, all in the weights that a search ends with.

Where it does no better than they, these weights cannot tell cells apart, or there is little to tell.
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

BATCHES = 20  # of the validation half, or all of it, for each cell; a strategy has a key for it


def of_one_cell(net: Net) -> Applied:
    """Returns the network with the same weights that computes one cell's operations, where the supernet has one."""
    if isinstance(net, NasBench201Supernet):
        return SampledNasBench201(net)
    return SampledSupernet(net) if net.share == 1 else net


def choices(net: Net, cell: Cell) -> Any:
    """Makes that under which `of_one_cell(net)` is this cell.

    A supernet on a part of the channels mixes whatever it is given: it gets the cell's one-hot probabilities, and
    weights of the edges that add up to 1 at every node, as the learned ones do.
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
    """Evaluates the cell found and `count` random ones on the same batches, unaugmented.

    Args:
      net: the supernet.
      score: of `strategy_steps.make_score` for `of_one_cell(net)`.
      weights: of `net`.
      batches: of images that the weights were not trained on.
      cell: that the search found.
      count: of the others.

    Returns:
      {"found": accuracy, "random": {name of a cell: accuracy}}, ready for JSON.
    """
    others = draw(cell.space, count)
    tried = [choices(net, each) for each in (cell, *others.values())]
    first, *rest = map(float, score(weights, batches, tried))
    return {"found": first, "random": dict(zip(others, rest, strict=True))}
