"""Costs of networks, as each operation on each edge adds to them, and limits on the sum.

A network is a stack of cells of two types, and a cell type's edges are in all cells of the type. The cost is linear:

    cost(cell) = base + sum_(kept edges e) edges_(c, e, o_e)

KINDS lists the kinds of cost. Counts are int64, so that a limit is kept exactly. Times are counted in nanoseconds.
"""

from decimal import ROUND_CEILING
from typing import Any, NamedTuple

import numpy as np

from nge_jax.space.architecture import ABSENT
from nge_jax.space.mixture import Mixture, operation_probs
from nge_jax.space.spaces import Space
from nge_jax.text.digits import three_digits


class Kind(NamedTuple):
    """A kind of cost.

    Attributes:
        name: the last part of the key `limits.NAME`.
        words: the plural in a sentence.
        unit: how many counts the key's unit has.
    """

    name: str
    words: str
    unit: int = 1

    def value(self, count: float) -> float:
        """Returns a count in the key's unit."""
        return count if self.unit == 1 else count / self.unit

    def show(self, count: int) -> str:
        """Writes a count in the key's unit; a time is rounded up to three digits, so that a limit may be as low."""
        return f"{count:,}" if self.unit == 1 else three_digits(count / self.unit, ROUND_CEILING)


PARAMETERS = Kind("parameters", "parameters")
MULTIPLY_ADDS = Kind("multiply_adds", "multiply-adds")
MILLISECONDS = Kind("milliseconds", "milliseconds", 1_000_000)
COUNTED = (PARAMETERS, MULTIPLY_ADDS)  # on any network
KINDS = (*COUNTED, MILLISECONDS)


class CellCosts(NamedTuple):
    """The costs of the networks of all cells of a space.

    Attributes:
        base: int64 [K], the cost of what no edge decides: the stem, the cells' inputs, the classifier.
        edges: int64 [K, C, E, O], the cost of an operation on an edge, in all cells of the cell type together.
    """

    base: np.ndarray
    edges: np.ndarray

    def count(self, architectures: np.ndarray) -> np.ndarray:
        """Counts the costs [..., K] of architectures [..., C, E]."""
        architectures = np.asarray(architectures)
        kept = architectures != ABSENT
        c, e = np.indices(architectures.shape[-2:])
        paid = self.edges[:, c, e, np.where(kept, architectures, 0)]  # [K, ..., C, E]
        return self.base + np.moveaxis((paid * kept).sum((-2, -1)), 0, -1)

    def least(self, space: Space) -> np.ndarray:
        """Counts the least costs [K] of a cell, each kind by itself."""
        return self.base + _sum_kept(self.edges.min(-1), space)

    def most(self, space: Space) -> np.ndarray:
        """Counts the largest costs [K] of a cell, each kind by itself."""
        return self.base - _sum_kept(-self.edges.max(-1), space)

    def expected(self, mixture: Any, space: Space) -> np.ndarray:
        """Computes the expected costs [K] under P [C, E, O] or a `Mixture`, see `expected_cost`."""
        return np.asarray(expected_cost(self.base, self.edges, mixture, space))


class Budget(NamedTuple):
    """Limits on the costs of a network.

    Attributes:
        costs: the costs.
        limits: the most of each cost; 0: no limit.
        weight: the weight of the excess in a search's loss or reward.
        fallback: an architecture [C, E] within the limits; None where cheapest operations are always within them.
    """

    costs: CellCosts
    limits: tuple[int, ...]
    weight: float = 0.0
    fallback: np.ndarray | None = None

    @property
    def room(self) -> dict[int, int]:
        """The rest of each limit for the edges, by the number of the cost; kinds without a limit are left out."""
        return {k: int(limit - self.costs.base[k]) for k, limit in enumerate(self.limits) if limit}

    def unmet(self, space: Space) -> dict[int, int]:
        """Counts the least of each cost whose limit no cell keeps, by the number of the cost."""
        least = self.costs.least(space).tolist()
        return {k: least[k] for k, limit in enumerate(self.limits) if 0 < limit < least[k]}

    def allows(self, architectures: np.ndarray) -> np.ndarray:
        """Tells for each of the architectures [..., C, E] whether its network is within the limits."""
        counted = self.costs.count(architectures)
        return np.all([counted[..., k] <= m for k, m in enumerate(self.limits) if m], axis=0)


def kept_shares(space: Space) -> np.ndarray:
    """Returns the part [E] of each edge that a cell keeps on average when the edges of a node are equally strong."""
    return np.array([space.kept(k) / k for _, k in space.edges])  # node k has k edges


def expected_cost(base: Any, edges: Any, mixture: Any, space: Space) -> Any:
    """Computes base [K] and the expected cost of the edges [K, C, E, O], as arrays of NumPy or jax.

    An edge counts by its part of the edges that its node keeps: equal parts, or by beta where a search learns betas.
    The cost is thus linear in P, and linear in beta.
    """
    shares = kept_shares(space)
    if isinstance(mixture, Mixture):
        shares = mixture.betas * np.array([space.kept(k) for _, k in space.edges])
    return base + (edges * (shares[..., None] * operation_probs(mixture))).sum((-3, -2, -1))


def _sum_kept(costs_KxCxE: np.ndarray, space: Space) -> np.ndarray:
    """Sums the smallest costs that every node can keep, [K]."""
    total = np.zeros(len(costs_KxCxE), np.int64)
    for node in space.inner_nodes:
        into = np.sort(costs_KxCxE[..., list(space.incoming(node))], -1)
        total += into[..., : space.kept(node)].sum((-2, -1))
    return total
