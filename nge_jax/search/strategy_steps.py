"""Searches that ask for whole cells, with the weight-sharing supernet as their evaluator.

    for every epoch:
        for every batch of the training half:     update w under a cell that the strategy asks for
        for every batch of the validation half:   ask for a cell; its reward is its accuracy on the batch; tell
    the genotype: of the cells with the largest rewards the one that is best on further validation batches

The steps have the form of the gradient's (see `search_step`), and the loop around them is the same. The strategy's
state and the history of what was evaluated take the embedding's place in the search's parameters.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from ml_collections import ConfigDict

from nge_jax.data import augment
from nge_jax.embedding import EdgeModel
from nge_jax.metrics import no_sums
from nge_jax.optim import EMBEDDING, WEIGHTS, Optimizer
from nge_jax.runtime import artifacts, parallel
from nge_jax.runtime.parallel import AXIS, BATCHES_AXES, Batches
from nge_jax.search import gradient_steps
from nge_jax.search.gradient_steps import Inputs, SearchState
from nge_jax.space import architecture, genotype
from nge_jax.space.genotype import Genotype
from nge_jax.space.spaces import DARTS
from nge_jax.strategies.base import History, State, Strategy
from nge_jax.supernet.model import Params, Supernet
from nge_jax.supernet.sampled import SampledSupernet

_DRAWS = 2**31  # begins a stream of random numbers beside the steps', whose numbers are smaller


class Searcher(NamedTuple):
    """What the strategy carries from step to step.

    state: the strategy's own.
    history: of the whole search; zeros for what is still to come.
    asked: how many cells have been evaluated.
    """

    state: State
    history: History
    asked: jax.Array

    def told(self) -> History:
        """What was evaluated so far, as NumPy arrays."""
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: int(self.asked)], self.history)


def as_edge_model(strategy: Strategy, queries: int) -> EdgeModel:
    """What the search's loop asks of an edge model, of a `Searcher` with room for `queries` cells."""

    def init(key):
        history = History(
            architectures=jnp.zeros((queries, *DARTS.shape[:2]), jnp.int32),
            rewards=jnp.zeros(queries),
        )
        return Searcher(strategy.init(key), history, jnp.int32(0))

    return EdgeModel(init, lambda searcher: strategy.probs(searcher.state))


def make_weight_step(
    net: Supernet, strategy: Strategy, optimizer: Optimizer, inputs: Inputs
) -> Callable:
    """`(state, probs, images, labels, key) -> state`: one batch of the training half updates w.

    As of `search_step.make_weight_step`, under a cell that the strategy asks for now instead of `probs`. Momentum
    and weight decay also move the operations that the cell does not have.
    """
    train = gradient_steps.make_weight_step(SampledSupernet(net), optimizer, inputs)

    def weight_step(state, probs, images, labels, key):
        del probs  # the strategy may draw in another way
        return train(state, _ask(strategy, state, key)[0], images, labels, key)

    return weight_step


def make_query_step(net: Supernet, strategy: Strategy, inputs: Inputs) -> Callable:
    """`(state, images, labels, key) -> state`: the strategy asks, a validation batch answers, w is held.

    A reward is the accuracy on the whole batch, unaugmented.
    """

    def query_step(state, images, labels, key):
        searcher = state.params[EMBEDDING]
        asked = _ask(strategy, state, key)
        sums = _evaluate(net, inputs, state.params[WEIGHTS], asked[0], images, labels)
        sums = lax.psum(sums, AXIS)
        rewards = (sums.correct / sums.count)[None]
        history = History(
            architectures=searcher.history.architectures.at[searcher.asked].set(asked[0]),
            rewards=searcher.history.rewards.at[searcher.asked].set(rewards[0]),
        )
        told = Searcher(strategy.tell(searcher.state, asked, rewards), history, searcher.asked + 1)
        added = jax.tree.map(jnp.add, state.sums[EMBEDDING], sums)
        return state._replace(
            step=state.step + 1,
            params=state.params | {EMBEDDING: told},
            sums=state.sums | {EMBEDDING: added},
        )

    return query_step


def choose(
    config: ConfigDict,
    net: Supernet,
    state: SearchState,
    batches: Batches,
    inputs: Inputs,
    path: Path,
) -> Genotype:
    """The best on `batches` of the cells with the largest rewards, and of a policy's own most probable one.

    Adds to history.npz, in the workdir `path`, who competed and their accuracies. Of equals the first wins.
    """
    told = state.params[EMBEDDING].told()
    cells = leaders(told, config.final.candidates)
    if config.search.strategy == "reinforce":
        policy = architecture.from_genotype(genotype.derive(np.asarray(state.history[-1])))
        if not (cells == policy).all((1, 2)).any():
            cells = np.concatenate([cells, policy[None]])
    accuracies = score(net, inputs, state.params[WEIGHTS], batches, cells)
    artifacts.write_history(path, *told, candidates=cells, accuracies=accuracies)
    return architecture.to_genotype(cells[accuracies.argmax()])


def leaders(told: History, count: int) -> np.ndarray:
    """The distinct cells with the largest rewards, `count` of them if there are so many, best first: [K, 2, 14]."""
    order = np.argsort(-told.rewards, kind="stable")
    cells = told.architectures[order]
    _, first = np.unique(cells, axis=0, return_index=True)
    return cells[np.sort(first)[:count]]


def score(
    net: Supernet, inputs: Inputs, weights: Params, batches: Batches, cells: np.ndarray
) -> np.ndarray:
    """Accuracy of each of the cells [K, 2, 14] over all of the batches, on all devices: float32 [K]."""

    def total(weights, cell, batches):
        def add(i, sums):
            more = _evaluate(net, inputs, weights, cell, *parallel.row(batches, i))
            return jax.tree.map(jnp.add, sums, more)

        return lax.psum(lax.fori_loop(0, len(batches.indices), add, no_sums()), AXIS)

    on_all = jax.pmap(total, AXIS, in_axes=(None, None, BATCHES_AXES), out_axes=None)
    sums = jax.device_get([on_all(weights, cell, batches) for cell in cells])
    return np.array([s.correct / s.count for s in sums], np.float32)


def _ask(strategy, state, key):
    key = jax.random.fold_in(jax.random.fold_in(key, _DRAWS), state.step)
    return strategy.ask(state.params[EMBEDDING].state, key)


def _evaluate(net, inputs, weights, cell, images, labels):
    x = augment.normalize(images, inputs.mean, inputs.std)
    return gradient_steps.loss(SampledSupernet(net), weights, x, labels, cell)[1]
