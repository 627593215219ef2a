"""Limits for a strategy that learns from rewards alone: a cell beyond the limits gets less reward."""

import jax

from nge_jax.space.budget.relative import RelativeCosts, cell_excess
from nge_jax.space.spaces import Space
from nge_jax.strategies.base import Strategy


def punish(strategy: Strategy, costs: RelativeCosts | None, space: Space) -> Strategy:
    """Makes a strategy that is told less reward for a cell beyond the limits: the weighted excess is taken off.

    A record of rewards outside of the strategy keeps the true rewards.

    Args:
        strategy: the strategy.
        costs: the limits; None: the strategy stays as it is.
        space: the space of the cells.
    """
    if costs is None:
        return strategy

    def tell(state, architectures, rewards):
        excess = jax.vmap(lambda cell: cell_excess(costs, cell, space))(architectures)
        return strategy.tell(state, architectures, rewards - costs.weight * excess)

    return strategy._replace(tell=tell)
