"""Steps of strategies that ask for whole cells, which the weight-sharing supernet evaluates.

    for every epoch:
        for every batch of the training half:     update w under a cell that the strategy asks for
        for every batch of the validation half:   ask for a cell; tell its reward, the accuracy on the batch
    the genotype: among the cells with the largest rewards, the best cell on further validation batches

The steps have the same form as the gradient's steps (see `steps.gradient`), and the same loop runs them. In the
search's parameters, the strategy's state and the history of evaluated cells stand in place of the embedding.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nge_jax.data import augment
from nge_jax.devices.parallel import AXIS, BATCHES_AXES, Batches, batch_at, map_over_devices
from nge_jax.embedding.model import EdgeModel
from nge_jax.metrics import no_sums
from nge_jax.optim import EMBEDDING, WEIGHTS, Optimizer
from nge_jax.search.steps import gradient as gradient_steps
from nge_jax.search.steps.gradient import Preprocessing, SearchState
from nge_jax.space.budget import strongest
from nge_jax.space.budget.costs import Budget
from nge_jax.space.spaces import DARTS, Space
from nge_jax.strategies.base import History, State, Strategy
from nge_jax.supernet.net import Applied
from nge_jax.supernet.trees import Params

# The number of a stream of random numbers. The streams of the steps have smaller numbers.
_DRAWS = 2**31


class Searcher(NamedTuple):
    """The values that a strategy carries from step to step.

    Attributes:
      state: the strategy's state.
      history: the cells of the whole search, zeros for later ones; a program sees one epoch of them.
      asked: how many cells have been evaluated.
    """

    state: State
    history: History
    asked: jax.Array

    def evaluated(self) -> History:
        """Returns the cells evaluated so far and their rewards, as NumPy arrays."""
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: int(self.asked)], self.history)


def query_bytes(space: Space) -> int:
    """Counts the bytes that a cell and its reward take in a `History`."""
    return 4 * (math.prod(space.shape[:2]) + 1)


def as_edge_model(strategy: Strategy, queries: int, space: Space = DARTS) -> EdgeModel:
    """Makes an edge model of a strategy. Its parameters are a `Searcher` with room for `queries` cells."""

    def init(key):
        history = History(
            architectures=jnp.zeros((queries, *space.shape[:2]), jnp.int32),
            rewards=jnp.zeros(queries),
        )
        return Searcher(strategy.init(key), history, jnp.int32(0))

    return EdgeModel(init, lambda searcher: strategy.probs(searcher.state), strategy.name)


def make_weight_step(
    net: Applied,
    strategy: Strategy,
    optimizer: Optimizer,
    preprocessing: Preprocessing,
    *,
    skip_nonfinite: bool = False,
) -> Callable:
    """Makes `(state, probs, images, labels, key) -> state`: one batch of the training half updates w.

    The step is like the step of `gradient_steps.make_weight_step`, but it computes a cell that the strategy asks for
    and ignores `probs`. Momentum and weight decay also move operations that the cell does not have. `net` is a sampled
    supernet.
    """
    train = gradient_steps.make_weight_step(
        net, optimizer, preprocessing, skip_nonfinite=skip_nonfinite
    )

    def weight_step(state, probs, images, labels, key):
        del probs  # a strategy need not draw from P
        return train(state, _ask(strategy, state, key)[0], images, labels, key)

    return weight_step


def make_query_step(net: Applied, strategy: Strategy, preprocessing: Preprocessing) -> Callable:
    """Makes `(state, images, labels, key) -> state`: the strategy asks for a cell and is told the reward.

    The reward is the accuracy on a whole validation batch, unaugmented. The weights w stay as they are. `net` is a
    sampled supernet.
    """

    def query_step(state, images, labels, key):
        searcher = state.params[EMBEDDING]
        asked = _ask(strategy, state, key)
        sums = _evaluate(net, preprocessing, state.params[WEIGHTS], asked[0], images, labels)
        sums = lax.psum(sums, AXIS)
        rewards = (sums.correct / sums.count)[None]
        row = searcher.asked % len(searcher.history.rewards)
        history = History(
            architectures=searcher.history.architectures.at[row].set(asked[0]),
            rewards=searcher.history.rewards.at[row].set(rewards[0]),
        )
        searcher = Searcher(
            strategy.tell(searcher.state, asked, rewards), history, searcher.asked + 1
        )
        added = jax.tree.map(jnp.add, state.sums[EMBEDDING], sums)
        return state._replace(
            step=state.step + 1,
            params=state.params | {EMBEDDING: searcher},
            sums=state.sums | {EMBEDDING: added},
        )

    return query_step


def choose(
    score: Callable,
    state: SearchState,
    batches: Batches,
    *,
    count: int,
    policy: bool,
    budget: Budget | None = None,
    space: Space = DARTS,
) -> tuple[np.ndarray, np.ndarray]:
    """Evaluates candidates on `batches`: the `count` cells with the largest rewards.

    Args:
      score: the result of `make_score` for the sampled supernet.
      state: the last state of the search.
      batches: batches of the validation half.
      count: the number of candidates.
      policy: whether the most probable cell of the strategy's policy is one more candidate.
      budget: the limits that the candidates meet; None without a limit.
      space: the space of the cells.

    Returns:
      The candidates [K, 2, 14] and their accuracies [K].
    """
    history = state.params[EMBEDDING].evaluated()
    if budget is not None:
        allowed = budget.allows(history.architectures)
        history = jax.tree.map(lambda leaf: leaf[allowed], history)
    cells = leaders(history, count)
    if policy:
        last, all_kept = np.asarray(state.history)[-1], math.prod(space.shape[:2])
        favorite = strongest.derive(last, space, all_kept, budget)
        cell = strongest.as_architecture(favorite, space)
        if not (cells == cell).all((1, 2)).any():
            cells = np.concatenate([cells, cell[None]])
    return cells, score(state.params[WEIGHTS], batches, cells)


def leaders(history: History, count: int) -> np.ndarray:
    """Returns at most `count` distinct cells with the largest rewards, best first: [K, 2, 14]."""
    order = np.argsort(-history.rewards, kind="stable")
    cells = np.asarray(history.architectures)[order]
    _, first = np.unique(cells, axis=0, return_index=True)
    return cells[np.sort(first)[:count]]


def make_score(net: Applied, preprocessing: Preprocessing) -> Callable:
    """Makes `(weights, batches, cells) -> accuracies`: each cell's accuracy over all batches, float32 [K].

    `cells` are K choices of `net`. All devices compute, and one compiled program serves all cells.
    """

    def total(weights, cell, batches):
        def add(i, sums):
            more = _evaluate(net, preprocessing, weights, cell, *batch_at(batches, i))
            return jax.tree.map(jnp.add, sums, more)

        return lax.psum(lax.fori_loop(0, len(batches.indices), add, no_sums()), AXIS)

    on_all = map_over_devices(total, (None, None, BATCHES_AXES))

    def score(weights: Params, batches: Batches, cells: Sequence[Any]) -> np.ndarray:
        sums = jax.device_get([on_all(weights, cell, batches) for cell in cells])
        return np.array([s.correct / s.count for s in sums], np.float32)

    return score


def _ask(strategy, state, key):
    key = jax.random.fold_in(jax.random.fold_in(key, _DRAWS), state.step)
    return strategy.ask(state.params[EMBEDDING].state, key)


def _evaluate(net, preprocessing, weights, cell, images, labels):
    x = augment.normalize(images, preprocessing.mean, preprocessing.std)
    return gradient_steps.loss(net, weights, x, labels, cell)[1]
