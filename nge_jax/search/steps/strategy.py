"""Searches that ask for whole cells, with the weight-sharing supernet as their evaluator.

    for every epoch:
        for every batch of the training half:     update w under a cell that the strategy asks for
        for every batch of the validation half:   ask for a cell; its reward is its accuracy on the batch; tell
    the genotype: of the cells with the largest rewards the one that is best on further validation batches

The steps have the form of the gradient's (see `steps.gradient`), and the loop around them is the same. The strategy's
state and the history of what was evaluated take the embedding's place in the search's parameters.
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
from nge_jax.embedding import EdgeModel
from nge_jax.metrics import no_sums
from nge_jax.optim import EMBEDDING, WEIGHTS, Optimizer
from nge_jax.search.steps import gradient as gradient_steps
from nge_jax.search.steps.gradient import Preprocessing, SearchState
from nge_jax.search.steps.relaxation import Applied
from nge_jax.space import architecture, genotype
from nge_jax.space.spaces import DARTS
from nge_jax.strategies.base import History, State, Strategy
from nge_jax.supernet.model import Params, Supernet
from nge_jax.supernet.sampled import SampledSupernet

_DRAWS = 2**31  # begins a stream of random numbers beside the steps', whose numbers are smaller


class Searcher(NamedTuple):
    """What the strategy carries from step to step.

    state: the strategy's own.
    history: of the whole search, or of an epoch in what a program sees; zeros for what is still to come.
    asked: how many cells have been evaluated.
    """

    state: State
    history: History
    asked: jax.Array

    def evaluated(self) -> History:
        """Returns what was evaluated so far, as NumPy arrays."""
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: int(self.asked)], self.history)


# Of a cell and its reward in a `History`.
QUERY_BYTES = 4 * (math.prod(DARTS.shape[:2]) + 1)


def as_edge_model(strategy: Strategy, queries: int) -> EdgeModel:
    """Makes what a search asks of an edge model of a strategy: a `Searcher` with room for `queries` cells."""

    def init(key):
        history = History(
            architectures=jnp.zeros((queries, *DARTS.shape[:2]), jnp.int32),
            rewards=jnp.zeros(queries),
        )
        return Searcher(strategy.init(key), history, jnp.int32(0))

    return EdgeModel(init, lambda searcher: strategy.probs(searcher.state), strategy.name)


def make_weight_step(
    net: Supernet,
    strategy: Strategy,
    optimizer: Optimizer,
    preprocessing: Preprocessing,
    *,
    skip_nonfinite: bool = False,
) -> Callable:
    """Makes `(state, probs, images, labels, key) -> state`: one batch of the training half updates w.

    As of `gradient_steps.make_weight_step`, under a cell that the strategy asks for now instead of `probs`. Momentum
    and weight decay also move the operations that the cell does not have.
    """
    train = gradient_steps.make_weight_step(
        SampledSupernet(net), optimizer, preprocessing, skip_nonfinite=skip_nonfinite
    )

    def weight_step(state, probs, images, labels, key):
        del probs  # the strategy may draw in another way
        return train(state, _ask(strategy, state, key)[0], images, labels, key)

    return weight_step


def make_query_step(net: Supernet, strategy: Strategy, preprocessing: Preprocessing) -> Callable:
    """Makes `(state, images, labels, key) -> state`: the strategy asks, a validation batch answers, w is held.

    A reward is the accuracy on the whole batch, unaugmented.
    """
    sampled = SampledSupernet(net)

    def query_step(state, images, labels, key):
        searcher = state.params[EMBEDDING]
        asked = _ask(strategy, state, key)
        sums = _evaluate(sampled, preprocessing, state.params[WEIGHTS], asked[0], images, labels)
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
) -> tuple[np.ndarray, np.ndarray]:
    """Evaluates on `batches` the `count` cells with the largest rewards, and of a policy its own most probable one.

    `score`: of `make_score` for the sampled supernet.

    Returns:
      The candidates [K, 2, 14] and their accuracies [K]; of equals the first wins.
    """
    cells = leaders(state.params[EMBEDDING].evaluated(), count)
    if policy:
        cell = architecture.from_genotype(genotype.derive(np.asarray(state.history)[-1]))
        if not (cells == cell).all((1, 2)).any():
            cells = np.concatenate([cells, cell[None]])
    return cells, score(state.params[WEIGHTS], batches, cells)


def leaders(history: History, count: int) -> np.ndarray:
    """Returns the distinct cells with the largest rewards, `count` if there are so many, best first: [K, 2, 14]."""
    order = np.argsort(-history.rewards, kind="stable")
    cells = np.asarray(history.architectures)[order]
    _, first = np.unique(cells, axis=0, return_index=True)
    return cells[np.sort(first)[:count]]


def make_score(net: Applied, preprocessing: Preprocessing) -> Callable:
    """Makes `(weights, batches, cells) -> accuracies`: of each cell over all batches, on all devices, float32 [K].

    cells: a sequence of what `net` is applied under; they share one program.
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
