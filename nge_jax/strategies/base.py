"""What a search strategy is, and the loop that runs one against an evaluator.

A strategy is three pure functions over a state that is a tree of arrays, so a search can be compiled
whole, mapped over seeds, or taken a step at a time between evaluations that take hours.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

State = Any  # a tree of arrays
Evaluator = Callable[
    [jax.Array], jax.Array
]  # architectures [B, C, E] -> rewards [B], the more the better


class Strategy(NamedTuple):
    """Proposes architectures, int32 [B, C, E] (see `space.architecture`), and learns from their rewards.

    Attributes:
        batch_size: how many architectures it asks for at a time.
        init: key -> state.
        ask: (state, key) -> architectures to evaluate. Not all need be told of: a supernet asks for every step of its
            weights too, for one architecture at a time.
        tell: (state, architectures, rewards [B]) -> state. Rewards lie between 0 and 1.
        probs: state -> P [C, E, O], what the strategy draws from; uniform where it learns none.
        name: shown.
    """

    batch_size: int
    init: Callable[[jax.Array], State]
    ask: Callable[[State, jax.Array], jax.Array]
    tell: Callable[[State, jax.Array, jax.Array], State]
    probs: Callable[[State], jax.Array]
    name: str = ""

    def __repr__(self) -> str:
        return f"Strategy({self.name}, batch_size={self.batch_size})"


class History(NamedTuple):
    """Records all that was evaluated, in order.

    Attributes:
        architectures: int32 [queries, C, E].
        rewards: float32 [queries].
    """

    architectures: jax.Array
    rewards: jax.Array


def run_strategy(strategy: Strategy, evaluate: Evaluator, queries: int, key: jax.Array) -> History:
    """Asks, evaluates and tells until `queries` architectures have been evaluated; to be jitted.

    An architecture that is asked for again is counted again.

    Raises:
        ValueError: unless the strategy's batch size divides `queries`.
    """
    steps, left = divmod(queries, strategy.batch_size)
    if left or steps < 1:
        raise ValueError(f"queries: found {queries}, expected a multiple of {strategy.batch_size}")
    init_key, key = jax.random.split(key)

    def step(state, i):
        architectures = strategy.ask(state, jax.random.fold_in(key, i))
        rewards = evaluate(architectures)
        return strategy.tell(state, architectures, rewards), History(architectures, rewards)

    _, history = lax.scan(step, strategy.init(init_key), jnp.arange(steps))
    return jax.tree.map(lambda leaf: leaf.reshape(queries, *leaf.shape[2:]), history)
