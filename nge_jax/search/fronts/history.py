"""The cells of a strategy's history that no smaller or equal cell beats, all rated alike at the end of the search.

A reward is the accuracy on one batch, in weights that were still training. The cells that no smaller or equal cell
beats by rewards are therefore rated again. The candidates of the last choice join them, rated on the same batches.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nge_jax.cost import cell_costs
from nge_jax.data.spec import SMALL
from nge_jax.devices import distributed
from nge_jax.report.pareto.front import undominated
from nge_jax.search.limits.network import LimitedNetwork
from nge_jax.search.plan import Search
from nge_jax.space import architecture
from nge_jax.space.budget.costs import COUNTED, PARAMETERS, Budget, CellCosts
from nge_jax.space.spaces import DARTS
from nge_jax.strategies.base import History
from nge_jax.workdir import artifacts

POLICY = "policy"  # the name of a cell that was never asked for


def record(
    search: Search,
    path: Path,
    history: History,
    candidates: tuple[np.ndarray, np.ndarray],
    rate: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Writes pareto.json into the workdir `path`, if it is not there. Sizes are counted in the paper's space alone.

    Args:
      search: the plan.
      path: the workdir.
      history: the cells that the strategy asked for.
      candidates: the cells of the last choice, and their accuracies.
      rate: see `pareto_set`; every process of the run takes part.
    """
    file = path / artifacts.PARETO
    if search.space != DARTS or file.exists():
        return
    costs = count_costs(search)
    cells = pareto_set(history, *candidates, costs=costs, rate=rate, budget=search.budget)
    if distributed.is_first():
        artifacts.write_json(file, cells)


def count_costs(search: Search) -> CellCosts:
    """Counts the costs of all cells of the paper's space, in networks of as many cells and channels as the supernet."""
    data, size, spec = search.images.data, search.settings["network"], search.images.spec
    height, width, channels = data.train_images.shape[1:]
    network = LimitedNetwork(
        config=search.train_config,
        cells=size["cells"],
        channels=size["channels"],
        classes=data.num_classes,
        kind=SMALL if spec is None else spec.kind,
        shape=(height, width, channels),
        is_rated=True,
    )
    return cell_costs(network.make, network.shape)


def pareto_set(
    history: History,
    candidates: np.ndarray,
    accuracies: np.ndarray,
    *,
    costs: CellCosts,
    rate: Callable[[np.ndarray], np.ndarray],
    budget: Budget | None,
) -> dict[str, Any]:
    """Collects the cells for which no other cell is as small and as accurate, the smallest first.

    Args:
      history: the cells that the strategy asked for, and their rewards.
      candidates: the cells of the last choice [K, C, E].
      accuracies: their accuracies [K].
      costs: the costs of all cells.
      rate: computes the accuracies [N] of cells [N, C, E] as those of the candidates.
      budget: the limits that the cells meet; None without a limit.

    Returns:
      {"cell_N": {"parameters", "accuracy", "genotype"}, ...}; N is the cell's number in the history.
    """
    size = COUNTED.index(PARAMETERS)
    asked, rewards = np.asarray(history.architectures), np.asarray(history.rewards)
    front = _front(asked, rewards, costs.count(asked)[:, size], budget)
    is_rated = (asked[front][:, None] == candidates).all((-2, -1)).any(-1)
    if len(new := asked[front[~is_rated]]):
        candidates = np.concatenate([candidates, new])
        accuracies = np.concatenate([accuracies, rate(new)])
    parameters, cells = costs.count(candidates)[:, size], {}
    for n in undominated(parameters, accuracies):
        numbers = np.flatnonzero((asked == candidates[n]).all((-2, -1)))
        cells[f"cell_{numbers[0]}" if len(numbers) else POLICY] = {
            "parameters": int(parameters[n]),
            "accuracy": float(accuracies[n]),
            "genotype": architecture.to_genotype(candidates[n])._asdict(),
        }
    return cells


def _front(
    asked: np.ndarray, rewards: np.ndarray, parameters: np.ndarray, budget: Budget | None
) -> np.ndarray:
    """Returns the numbers of the cells within the limits that no smaller or equal one beats by the largest reward."""
    order = np.argsort(-rewards, kind="stable")
    if budget is not None:
        order = order[budget.allows(asked[order])]
    _, first = np.unique(asked[order], axis=0, return_index=True)
    numbers = order[first]
    return numbers[undominated(parameters[numbers], rewards[numbers])]
