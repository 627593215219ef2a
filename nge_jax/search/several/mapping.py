"""Several searches as one program: states with a leading axis of searches, and phases mapped over it.

One search leaves a large GPU idle most of the time: its kernels are many and small. Mapped over searches they are as
many and larger, `jax.vmap` batches the products and makes more groups of the convolutions. What the searches share has
no such axis: the images, the numbers (`arguments.Numbers`), and the count of steps, by which a warm-up stays one
branch.

They differ in their seeds, and may in their edge models, too. Those have parameters of different shapes; so each search
carries a place for each model's (`OneOf`), and which of them counts is one of its numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax.devices.parallel import Batches
from nge_jax.embedding import EdgeModel, Params
from nge_jax.search.steps.arguments import Numbers
from nge_jax.search.steps.gradient import SearchState

# Of a state of several searches, as in_axes.
STATE_AXES: Any = SearchState._make(None if name == "step" else 0 for name in SearchState._fields)
# Of an epoch's batches: [searches, steps, B], on the host behind the axis of devices.
BATCHES_AXES = Batches(images=None, labels=None, indices=0)
# Of the numbers of searches with several edge models; those of seeds alone share all of them.
NUMBERS_AXES: Any = Numbers._make(0 if name == "edge_model" else None for name in Numbers._fields)


class OneOf(NamedTuple):
    """The parameters of a search that has one of several edge models.

    of_model: by the models' names. Those of the others are zeros, and stay so: no gradient reaches them, and neither
      weight decay nor Adam moves a zero without one. They are there for `jax.vmap`, which computes all models of each
      search; of zeros they all are finite.
    """

    of_model: dict[str, Params]


def one_of(models: Mapping[str, EdgeModel], number: Any) -> EdgeModel:
    """Makes of several edge models one whose parameters are `OneOf`.

    Args:
      models: by their names.
      number: which of them it is, from 0; it may be a value of a program, where nothing is initialized.
    """

    def init(key):
        begin = {name: model.init(key) for name, model in models.items()}
        own = [*models][number]
        return OneOf(
            {n: p if n == own else jax.tree.map(jnp.zeros_like, p) for n, p in begin.items()}
        )

    def of(name):
        return lambda of_model: models[name].probs(of_model[name])

    def probs(params):
        branches = [of(name) for name in models]
        if isinstance(number, int):
            return branches[number](params.of_model)
        return lax.switch(number, branches, params.of_model)

    return EdgeModel(init, probs, f"one of {', '.join(models)}")


def model_by_model(phases: Mapping[str, Callable], batches: Any) -> Callable:
    """Makes of the same phase with each edge model the phase of all searches, which stand by their models.

    Each is compiled whole, with a supernet of its own. With `one_of` there is one for all models; but a compiler puts
    the last operations of a model and the first of what follows together, and rounds otherwise.

    Args:
      phases: by the models' names, of searches as they are alone, as of `mapped`.
      batches: in_axes of their batches over the searches.
    """
    axes = (STATE_AXES, batches, (0, None), None, None)

    def phase(*arguments):
        state, *_ = arguments
        seeds = len(arguments[2][0]) // len(phases)
        parts = []
        for number, (name, of_model) in enumerate(phases.items()):
            mine = _at(slice(number * seeds, (number + 1) * seeds), axes, arguments)
            own = mapped(of_model, batches, one_by_one=True)(alone(mine[0], name), *mine[1:])
            parts.append(_filled(mine[0], name, own))
        together = jax.tree.map(
            lambda *leaves: jnp.concatenate(leaves), *[p._replace(step=()) for p in parts]
        )
        return together._replace(step=parts[0].step)

    return phase


def mapped(phase: Callable, batches: Any, *, one_by_one: bool, numbers: Any = None) -> Callable:
    """Makes of a phase of one search the same phase of several, with the same arguments.

    Args:
      phase: `(state, batches, (key, numbers), start, stop) -> state`.
      batches: in_axes of its batches over the searches.
      one_by_one: computes one search after the other, which gives the same but for the last bits. For CPUs, which one
        search keeps busy, and whose forms of the kernels would grow out of the caches (`kernels/depthwise.py`); and for
        steps that branch, which all searches would have to take every branch of.
      numbers: in_axes of its numbers; None: they share them.
    """
    axes = (STATE_AXES, batches, (0, numbers), None, None)
    if not one_by_one:
        return jax.vmap(phase, axes, out_axes=STATE_AXES)

    def mapped_phase(*arguments):
        def phase_of(search):
            return phase(*_at(search, axes, arguments))

        state = lax.map(phase_of, jnp.arange(len(arguments[2][0])))
        return state._replace(step=state.step[0])

    return mapped_phase


def stacked(states: Sequence[SearchState]) -> SearchState:
    """Makes the state of several searches of those of single ones that have made as many steps."""
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return together._replace(step=together.step[0])  # and no alias: a program uses it up


@jax.jit
def of_search(state: SearchState, number: jax.Array | int) -> SearchState:
    """Takes a single search's state out of one of several; `number`: of the search among them, from 0."""
    return _at(number, STATE_AXES, state)


def alone(state: SearchState, edge_model: str) -> SearchState:
    """Makes of a state with `OneOf` that which the search would have alone; `edge_model`: the name of its own."""

    def own(node):
        return node.of_model[edge_model] if isinstance(node, OneOf) else node

    return jax.tree.map(own, state, is_leaf=lambda node: isinstance(node, OneOf))


def _filled(state, edge_model, own):
    """Puts what a search has alone into a state with `OneOf`; undoes `alone`."""

    def put(node, mine):
        if isinstance(node, OneOf):
            return OneOf(node.of_model | {edge_model: mine})
        return mine

    return jax.tree.map(put, state, own, is_leaf=lambda node: isinstance(node, OneOf))


def _at(number, axes, tree):
    """Takes what belongs to a search of a tree whose in_axes are `axes`, 0 or None for each subtree."""

    def take(axis, subtree):
        if axis is None:
            return subtree
        return jax.tree.map(lambda leaf: leaf[number], subtree)

    return jax.tree.map(take, axes, tree, is_leaf=lambda axis: axis is None)
