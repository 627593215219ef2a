"""Random search, the baseline of every claim: it draws architectures uniformly and learns nothing."""

import jax

from nge_jax.space import architecture
from nge_jax.space.budget.relative import RelativeCosts, draw_within
from nge_jax.space.spaces import Space
from nge_jax.strategies.base import Strategy


def random_search(
    space: Space, batch_size: int = 1, costs: RelativeCosts | None = None
) -> Strategy:
    """Makes the strategy that draws the kept edges and their operations uniformly, cells with replacement.

    With `costs` the cells are drawn within the limits.
    """
    uniform = architecture.uniform(space)

    def draw(key):
        return architecture.sample(key, uniform, space)

    def ask(state, key):
        keys = jax.random.split(key, batch_size)
        return jax.vmap(lambda key: draw_within(draw, key, costs, space))(keys)

    return Strategy(
        batch_size=batch_size,
        init=lambda key: (),
        ask=ask,
        tell=lambda state, architectures, rewards: state,
        probs=lambda state: uniform,
        name="random",
    )
