"""Several searches as one program: states with a leading axis of searches, and phases mapped over this axis.

One search leaves a large GPU idle most of the time, because it runs many small kernels. Mapped over searches, the
kernels are as many and larger: `jax.vmap` batches the products and gives convolutions more groups. Shared values have
no axis of searches: the images, the arguments (`arguments.ProgramArguments`) and the count of steps. With a shared
count of steps, a warm-up stays one branch.

The searches differ in their seeds, and may differ in their edge models. Edge models have parameters of different
shapes, so each search has a slot for the parameters of each model (`ModelSlots`). An argument says which slot is in
use. They may also differ in the weight that they pay for parameters, which is an argument.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax.devices.parallel import Batches
from nge_jax.embedding.model import EdgeModel, Params
from nge_jax.search.steps.arguments import ProgramArguments
from nge_jax.search.steps.gradient import SearchState
from nge_jax.space.budget.relative import RelativeCosts

# `in_axes` of a state of several searches.
STATE_AXES: Any = SearchState._make(None if name == "step" else 0 for name in SearchState._fields)
# `in_axes` of an epoch's batches [searches, steps, B]; on the host the axis of devices comes first.
BATCHES_AXES = Batches(images=None, labels=None, indices=0)


def arguments_axes(*, models: bool, weights: bool) -> Any:
    """Makes `in_axes` of the arguments over searches; None: searches that differ only by seed share them all.

    Args:
      models: whether the searches differ in their edge models.
      weights: whether the searches differ in the weight that they pay for parameters.
    """
    if not models and not weights:
        return None
    axes: Any = ProgramArguments._make([None] * len(ProgramArguments._fields))
    if models:
        axes = axes._replace(edge_model=0)
    if weights:
        axes = axes._replace(price=RelativeCosts(base=None, edges=None, weight=0))
    return axes


class ModelSlots(NamedTuple):
    """The parameters of a search that has one of several edge models.

    The slots of the other models hold zeros. They stay zeros: no gradient reaches these slots, and neither weight decay
    nor Adam moves a zero without a gradient. `jax.vmap` computes all models of each search, and zeros keep every result
    finite.

    Attributes:
      of_model: parameters by the models' names.
    """

    of_model: dict[str, Params]


def choose_model(models: Mapping[str, EdgeModel], number: Any) -> EdgeModel:
    """Makes one edge model from several, with `ModelSlots` as its parameters.

    Args:
      models: the edge models by their names.
      number: which model it is, from 0. The number may be traced, because a program initializes nothing.
    """

    def init(key):
        begin = {name: model.init(key) for name, model in models.items()}
        chosen = [*models][number]
        return ModelSlots(
            {n: p if n == chosen else jax.tree.map(jnp.zeros_like, p) for n, p in begin.items()}
        )

    def branch(name):
        return lambda of_model: models[name].probs(of_model[name])

    def probs(params):
        branches = [branch(name) for name in models]
        if isinstance(number, int):
            return branches[number](params.of_model)
        return lax.switch(number, branches, params.of_model)

    def logits(params):
        name = [*models][number]
        of_model = models[name].logits
        assert of_model is not None, f"{name} has logits"
        return of_model(params.of_model[name])

    return EdgeModel(init, probs, f"one of {', '.join(models)}", logits)


def model_by_model(phases: Mapping[str, Callable], batches: Any) -> Callable:
    """Makes the phase of all searches, ordered by their models, from the phase with each edge model.

    Each model's phase is compiled whole, with a separate supernet, and rounds as in a search alone. With `choose_model`
    all models share one supernet. The compiler then fuses the last operations of an edge model with others, and rounds
    differently.

    Args:
      phases: the phase of a search alone, by the models' names.
      batches: `in_axes` of the batches over the searches.
    """
    axes = (STATE_AXES, batches, (0, None), None, None)

    def phase(*arguments):
        seeds = len(arguments[2][0]) // len(phases)
        states = []
        for number, (name, phase_of_model) in enumerate(phases.items()):
            searches = slice(number * seeds, (number + 1) * seeds)
            state, *others = _at(searches, axes, arguments)
            mapped = map_phase(phase_of_model, batches, one_by_one=True)
            after = mapped(select_model(state, name), *others)
            states.append(_put_model(state, name, after))
        merged = jax.tree.map(
            lambda *leaves: jnp.concatenate(leaves), *[s._replace(step=()) for s in states]
        )
        return merged._replace(step=states[0].step)

    return phase


def map_phase(
    phase: Callable, batches: Any, *, one_by_one: bool, arguments: Any = None
) -> Callable:
    """Makes the phase of several searches from the phase of one search, with the same arguments.

    Args:
      phase: `(state, batches, (key, arguments), start, stop) -> state`.
      batches: `in_axes` of the batches over the searches.
      one_by_one: computes one search after the other; results differ in the last bits at most. It serves CPUs: one
        search keeps a CPU busy, and batched kernels would outgrow the caches (`kernels/depthwise.py`). It also serves
        steps that branch: batched, they compute every branch.
      arguments: `in_axes` of the arguments; None: the searches share them.
    """
    axes = (STATE_AXES, batches, (0, arguments), None, None)
    if not one_by_one:
        return jax.vmap(phase, axes, out_axes=STATE_AXES)

    def mapped_phase(*given):
        def phase_of(search):
            return phase(*_at(search, axes, given))

        state = lax.map(phase_of, jnp.arange(len(given[2][0])))
        return state._replace(step=state.step[0])

    return mapped_phase


def stack_states(states: Sequence[SearchState]) -> SearchState:
    """Makes the state of several searches from the states of single searches after the same number of steps."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    # The step must be a new array: a program donates the state, and the given states stay valid.
    return stacked._replace(step=stacked.step[0])


@jax.jit
def take_search(state: SearchState, number: jax.Array | int) -> SearchState:
    """Takes the state of search `number`, counted from 0, out of the state of several searches."""
    return _at(number, STATE_AXES, state)


def select_model(state: SearchState, edge_model: str) -> SearchState:
    """Makes the state of a search alone, with the edge model of this name, from a state with `ModelSlots`."""

    def select(node):
        return node.of_model[edge_model] if isinstance(node, ModelSlots) else node

    return jax.tree.map(select, state, is_leaf=lambda node: isinstance(node, ModelSlots))


def _put_model(state, edge_model, alone):
    """Puts the state of a search alone into a state with `ModelSlots`; inverts `select_model`."""

    def put(node, new):
        if isinstance(node, ModelSlots):
            return ModelSlots(node.of_model | {edge_model: new})
        return new

    return jax.tree.map(put, state, alone, is_leaf=lambda node: isinstance(node, ModelSlots))


def _at(number, axes, tree):
    """Takes a search's part out of a tree; `axes` are `in_axes`, 0 or None for each subtree."""

    def take(axis, subtree):
        if axis is None:
            return subtree
        return jax.tree.map(lambda leaf: leaf[number], subtree)

    return jax.tree.map(take, axes, tree, is_leaf=lambda axis: axis is None)
