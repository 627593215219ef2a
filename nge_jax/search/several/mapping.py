"""Several searches as one program: states with a leading axis of searches, and phases mapped over this axis.

One search leaves a large GPU idle most of the time: its kernels are many and small. Mapped over searches they are as
many and larger: `jax.vmap` batches the products and makes more groups of the convolutions. Shared values have no axis
of searches: the images, the arguments (`arguments.ProgramArguments`) and the count of steps. So a warm-up stays one
branch.

The searches differ in their seeds, and may differ in their edge models. Edge models have parameters of different
shapes. So each search has a slot for the parameters of each model (`ModelSlots`), and an argument tells which slot
counts.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax.devices.parallel import Batches
from nge_jax.embedding import EdgeModel, Params
from nge_jax.search.steps.arguments import ProgramArguments
from nge_jax.search.steps.gradient import SearchState

# in_axes of a state of several searches.
STATE_AXES: Any = SearchState._make(None if name == "step" else 0 for name in SearchState._fields)
# in_axes of an epoch's batches: [searches, steps, B], on the host behind the axis of devices.
BATCHES_AXES = Batches(images=None, labels=None, indices=0)
# in_axes of the arguments of searches with several edge models; searches of seeds alone share all arguments.
ARGUMENTS_AXES: Any = ProgramArguments._make(
    0 if name == "edge_model" else None for name in ProgramArguments._fields
)


class ModelSlots(NamedTuple):
    """The parameters of a search that has one of several edge models.

    of_model: parameters by the models' names. The slots of the other models hold zeros, and keep them: no gradient
      reaches these slots, and neither weight decay nor Adam moves a zero without a gradient. `jax.vmap` computes all
      models of each search; zeros keep every result finite.
    """

    of_model: dict[str, Params]


def choose_model(models: Mapping[str, EdgeModel], number: Any) -> EdgeModel:
    """Makes one edge model from several, with `ModelSlots` as its parameters.

    Args:
      models: by their names.
      number: which model it is, from 0. The number may be a value of a program, where nothing is initialized.
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

    return EdgeModel(init, probs, f"one of {', '.join(models)}")


def model_by_model(phases: Mapping[str, Callable], batches: Any) -> Callable:
    """Makes the phase of all searches, ordered by their models, from the same phase with each edge model.

    Each model's phase is compiled whole, with a supernet of its own. `choose_model` needs one supernet for all models.
    But a compiler puts the last operations of a model together with the first ones behind the model, and rounds
    otherwise.

    Args:
      phases: by the models' names, of searches as they are alone.
      batches: in_axes of their batches over the searches.
    """
    axes = (STATE_AXES, batches, (0, None), None, None)

    def phase(*arguments):
        state, *_ = arguments
        seeds = len(arguments[2][0]) // len(phases)
        parts = []
        for number, (name, phase_of_model) in enumerate(phases.items()):
            mine = _at(slice(number * seeds, (number + 1) * seeds), axes, arguments)
            mapped = map_phase(phase_of_model, batches, one_by_one=True)
            after = mapped(select_model(mine[0], name), *mine[1:])
            parts.append(_put_model(mine[0], name, after))
        merged = jax.tree.map(
            lambda *leaves: jnp.concatenate(leaves), *[p._replace(step=()) for p in parts]
        )
        return merged._replace(step=parts[0].step)

    return phase


def map_phase(
    phase: Callable, batches: Any, *, one_by_one: bool, arguments: Any = None
) -> Callable:
    """Makes the phase of several searches from the phase of one search, with the same arguments.

    Args:
      phase: `(state, batches, (key, arguments), start, stop) -> state`.
      batches: in_axes of the batches over the searches.
      one_by_one: computes one search after the other, with the same result except for the last bits. One search keeps
        a CPU busy, and the CPU's kernels would grow out of the caches (`kernels/depthwise.py`). Steps that branch
        would have to take every branch of all searches.
      arguments: in_axes of the arguments; None: the searches share them.
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
    """Makes the state of several searches from states of single ones after as many steps."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return stacked._replace(step=stacked.step[0])  # and no alias: a program uses it up


@jax.jit
def take_search(state: SearchState, number: jax.Array | int) -> SearchState:
    """Takes a single search's state out of the state of several; `number`: of the search, from 0."""
    return _at(number, STATE_AXES, state)


def select_model(state: SearchState, edge_model: str) -> SearchState:
    """Makes the state that a search has alone from a state with `ModelSlots`; `edge_model`: the search's model."""

    def select(node):
        return node.of_model[edge_model] if isinstance(node, ModelSlots) else node

    return jax.tree.map(select, state, is_leaf=lambda node: isinstance(node, ModelSlots))


def _put_model(state, edge_model, alone):
    """Puts the state of a search alone into a state with `ModelSlots`; the inverse of `select_model`."""

    def put(node, mine):
        if isinstance(node, ModelSlots):
            return ModelSlots(node.of_model | {edge_model: mine})
        return mine

    return jax.tree.map(put, state, alone, is_leaf=lambda node: isinstance(node, ModelSlots))


def _at(number, axes, tree):
    """Takes a search's part out of a tree with these in_axes, 0 or None for each subtree."""

    def take(axis, subtree):
        if axis is None:
            return subtree
        return jax.tree.map(lambda leaf: leaf[number], subtree)

    return jax.tree.map(take, axes, tree, is_leaf=lambda axis: axis is None)
