"""A strategy of one's own: a bandit for each edge, which mostly takes the operation with the best mean reward.

    nge search search_digits:random,smoke search.strategy=strategy.py:bandit bandit.epsilon=0.2

A strategy asks for cells, and the supernet rates them. `python strategy.py` checks it.
"""

import jax
import jax.numpy as jnp

import nge_jax as nge
from nge_jax.space import architecture

FRACTION = nge.Limits(float, 0, 1)
EPSILON = nge.Key("bandit.epsilon", 0.1, FRACTION, "", "Part of random choices.", in_program=False)


def make(space, numbers, edge_model):
    """Makes the strategy for a space."""
    del edge_model  # a strategy may train the config's edge model; this one has none

    def init(key):  # the state is any tree of arrays: sums of rewards, and counts
        del key
        return jnp.zeros(space.shape), jnp.zeros(space.shape)

    def probs(state):
        rewards, counts = state
        best = (rewards / jnp.maximum(counts, 1)).argmax(-1)
        greedy = jax.nn.one_hot(best, space.shape[-1])
        return (1 - numbers["epsilon"]) * greedy + numbers["epsilon"] / space.shape[-1]

    def ask(state, key):  # one cell: int32 [1, cell type, edge]
        return architecture.sample(key, probs(state), space)[None]

    def tell(state, cells, rewards):
        rated = architecture.one_hot(cells[0], space)
        return state[0] + rewards[0] * rated, state[1] + rated

    return nge.Strategy(1, init, ask, tell, probs)


bandit = nge.Part(make, keys=(EPSILON,))


if __name__ == "__main__":
    nge.testing.check_strategy(bandit)
    print("the strategy is right")
