"""The strongest cell within limits, exactly: dynamic programming over the nodes with lists of undominated choices.

A cell's score is the sum of log strengths of its kept edges' operations. Without limits the cell of the largest score
is the one that `cell.derive` gives. Score and costs are sums over the nodes. A partial cell is thus left out if another
one of the same nodes has a score as large for costs as small.
"""

import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from nge_jax.space import architecture, cell, skips
from nge_jax.space.budget.costs import Budget
from nge_jax.space.cell import Cell
from nge_jax.space.spaces import Space

TINY = np.finfo(np.float64).tiny  # stands for a strength of 0, whose logarithm is not finite
BLOCK = 512  # choices that are compared with each other at once


class Choices(NamedTuple):
    """Partial cells.

    Attributes:
        scores: float64 [N].
        costs: int64 [N, limits], in the order of the limits that there are.
        architectures: int8 [N, C, E]; the edges of other nodes are absent.
    """

    scores: np.ndarray
    costs: np.ndarray
    architectures: np.ndarray


def derive(strengths: np.ndarray, space: Space, most_skips: int, budget: Budget | None) -> Cell:
    """Derives the strongest cells within the limits, with at most `most_skips` skip connections in the normal cell.

    Args:
        strengths: float [C, E, O]; `skips.limit_skips` takes the strength of skip connections beyond the most.
        space: the space of the cells.
        most_skips: see `skips.derive`.
        budget: the limits; None: the cell is the one of `skips.derive`.

    Raises:
        ValueError: no cell is within the limits.
    """
    found = skips.derive(strengths, space, most_skips)
    if budget is None or budget.allows(as_architecture(found, space)):
        return found
    strengths = skips.limit_skips(strengths, space, most_skips)
    best = strongest(strengths, space, most_skips, budget)
    return cell.derive(best[..., None] == np.arange(len(space.operations)), space)


def as_architecture(found: Cell, space: Space | None = None) -> np.ndarray:
    """Makes the architecture, int32 [C, E], of a cell of a space; None: the cell's."""
    space = found.space if space is None else space
    chosen = np.full(space.shape[:2], architecture.ABSENT, np.int32)
    for c, cell_type in enumerate(space.cell_types):
        for edge in found.kept_edges(cell_type):
            place = space.edges.index((edge.source, edge.target))
            chosen[c, place] = space.operations.index(edge.operation)
    return chosen


def strongest(strengths: np.ndarray, space: Space, most_skips: int, budget: Budget) -> np.ndarray:
    """Finds the architecture [C, E] of the largest score within the limits.

    Raises:
        ValueError: no cell is within the limits.
    """
    costs, most = _limited_costs(space, most_skips, budget)
    logs = np.log(np.maximum(np.asarray(strengths, np.float64), TINY))

    def of_type(c):
        # The nodes of one cell type first: their costs take few values, so that the lists stay short.
        choices = [_of_node(logs, costs, space, c, node) for node in space.inner_nodes]
        return functools.reduce(lambda a, b: _undominated(_join(a, b, most)), choices)

    *others, last = map(of_type, range(len(space.cell_types)))
    first = functools.reduce(lambda a, b: _join(a, b, most), others, _nothing(space, len(most)))
    found = _best_join(first, last, most)
    if found is None:
        raise ValueError(f"budget: no cell is within {budget.limits}")
    return found.astype(np.int32)


def _limited_costs(space: Space, most_skips: int, budget: Budget) -> tuple[np.ndarray, np.ndarray]:
    """Returns the costs [C, E, O, limits] and the most of each; the number of skip connections counts as a cost."""
    paid, most = [budget.costs.edges[k] for k in budget.room], [*budget.room.values()]
    if most_skips < space.num_kept and skips.SKIP in space.operations:
        is_skip = np.zeros(space.shape, np.int64)
        is_skip[skips.NORMAL, :, space.operations.index(skips.SKIP)] = 1
        paid, most = [*paid, is_skip], [*most, most_skips]
    return np.stack(paid, axis=-1), np.array(most)


def _nothing(space: Space, limits: int) -> Choices:
    absent = np.full((1, *space.shape[:2]), architecture.ABSENT, np.int8)
    return Choices(np.zeros(1), np.zeros((1, limits), np.int64), absent)


def _of_node(
    logs: np.ndarray, costs: np.ndarray, space: Space, cell_type: int, node: int
) -> Choices:
    """Lists the choices of one node's edges and operations."""
    rows = list(_edges_and_operations(space, node))
    edges, operations = (np.array(part) for part in zip(*rows, strict=True))  # both [N, kept]
    chosen = _nothing(space, costs.shape[-1]).architectures.repeat(len(rows), axis=0)
    np.put_along_axis(chosen[:, cell_type], edges, operations.astype(np.int8), axis=1)
    return _undominated(
        Choices(
            logs[cell_type, edges, operations].sum(1),
            costs[cell_type, edges, operations].sum(1),
            chosen,
        )
    )


def _edges_and_operations(
    space: Space, node: int
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    for edges in itertools.combinations(space.incoming(node), space.kept(node)):
        for operations in itertools.product(range(len(space.operations)), repeat=len(edges)):
            yield edges, operations


def _join(first: Choices, second: Choices, most: np.ndarray) -> Choices:
    """Joins every choice of the first nodes with every choice of the second, within the limits."""
    costs = first.costs[:, None] + second.costs[None]
    i, j = np.nonzero((costs <= most).all(-1))
    merged = np.maximum(first.architectures[i], second.architectures[j])  # ABSENT is the smallest
    return Choices(first.scores[i] + second.scores[j], costs[i, j], merged)


def _best_join(first: Choices, second: Choices, most: np.ndarray) -> np.ndarray | None:
    """Finds the architecture [C, E] of the largest score among all that `_join` makes; None if there are none."""
    best, found = -np.inf, None
    for begin in range(0, len(first.scores), BLOCK):
        block = slice(begin, begin + BLOCK)
        allowed = (first.costs[block, None] + second.costs[None] <= most).all(-1)
        scores = np.where(allowed, first.scores[block, None] + second.scores[None], -np.inf)
        if scores.size and scores.max() > best:
            best = scores.max()
            i, j = np.unravel_index(scores.argmax(), scores.shape)
            found = np.maximum(first.architectures[begin + i], second.architectures[j])
    return found


def _undominated(choices: Choices) -> Choices:
    """Keeps the choices for which no other choice has a score as large and costs as small."""
    # The best score of equal costs comes first; a stable sort leaves ties to the lower edges and operations.
    order = np.lexsort((-choices.scores, *choices.costs.T))
    costs = choices.costs[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = (costs[1:] != costs[:-1]).any(-1)
    order = order[is_first]
    order = order[~_are_dominated(choices.scores[order], choices.costs[order])]
    return Choices(choices.scores[order], choices.costs[order], choices.architectures[order])


def _are_dominated(scores: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Tells for each choice, of different costs, whether another one has a score as large and costs as small."""
    # In this order no choice dominates an earlier one. Times take many values, so that all pairs would be too many.
    order = np.lexsort((*costs.T[::-1], -scores))
    front, dominated = np.empty((0, costs.shape[1]), costs.dtype), np.zeros(len(order), bool)
    for begin in range(0, len(order), BLOCK):
        block = order[begin : begin + BLOCK]
        worse = _are_no_cheaper(costs[block], front)
        left = block[~worse]
        remaining = costs[left]
        no_dearer = (remaining[:, None] <= remaining).all(-1)  # [n, m]: n costs no more than m
        left = left[~np.triu(no_dearer, 1).any(0)]
        dominated[block] = True
        dominated[left] = False
        front = np.concatenate([front, costs[left]])
    return dominated


def _are_no_cheaper(costs: np.ndarray, front: np.ndarray) -> np.ndarray:
    """Tells for each of the costs [n, limits] whether one of the front [m, limits] is nowhere larger."""
    smaller = np.ones((len(costs), len(front)), bool)
    for cost, of_front in zip(costs.T, front.T, strict=True):
        smaller &= of_front <= cost[:, None]
    return np.asarray(smaller.any(-1))
