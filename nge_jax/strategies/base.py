"""The interface of a search strategy, and the loop that runs a strategy against an evaluator.

A strategy is a set of pure functions over a state that is a tree of arrays. Therefore a search can be compiled as a
whole, be mapped over seeds, or take single steps between evaluations that last hours.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

State = Any  # a tree of arrays
# Maps architectures [B, C, E] to rewards [B]; a larger reward is better.
Evaluator = Callable[[jax.Array], jax.Array]


class Strategy(NamedTuple):
    """Proposes architectures, int32 [B, C, E] (see `space.architecture`), and learns from their rewards.

    Attributes:
        batch_size: B, the number of architectures that one `ask` returns.
        init: key -> state.
        ask: (state, key) -> architectures to evaluate. A caller need not report every reward: a supernet also asks for
            one architecture in each step of its weights, and tells nothing.
        tell: (state, architectures, rewards [B]) -> state. Rewards lie between 0 and 1.
        probs: state -> P [C, E, O], the probabilities that `ask` draws from; uniform if the strategy learns none.
        name: the name of the strategy, for `repr`.
        predict: (state, architecture [C, E]) -> scalar, larger for cells from which more is expected; None where
            nothing is expected.
    """

    batch_size: int
    init: Callable[[jax.Array], State]
    ask: Callable[[State, jax.Array], jax.Array]
    tell: Callable[[State, jax.Array, jax.Array], State]
    probs: Callable[[State], jax.Array]
    name: str = ""
    predict: Callable[[State, jax.Array], jax.Array] | None = None

    def __repr__(self) -> str:
        return f"Strategy({self.name}, batch_size={self.batch_size})"


class History(NamedTuple):
    """Records all evaluated architectures, in order.

    Attributes:
        architectures: int32 [queries, C, E].
        rewards: float32 [queries].
    """

    architectures: jax.Array
    rewards: jax.Array


def run_strategy(strategy: Strategy, evaluate: Evaluator, queries: int, key: jax.Array) -> History:
    """Asks, evaluates and tells until `queries` architectures have been evaluated; callers may compile this function.

    An architecture that is asked for again counts again.

    Raises:
        ValueError: if `queries` is not a positive multiple of the strategy's batch size.
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
