"""Searches of several seeds as one program: states with a leading axis of seeds, and phases mapped over it.

One search leaves a large GPU idle most of the time: its kernels are many and small. Mapped over seeds they are as many
and larger, `jax.vmap` batches the products and makes more groups of the convolutions. What the searches share has no
such axis: the images, the numbers (`numbers.Numbers`), and the count of steps, by which a warm-up stays one branch.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax.runtime.parallel import Batches
from nge_jax.search.gradient_steps import SearchState

# Of a state of several seeds, as in_axes.
STATE_AXES: Any = SearchState._make(None if name == "step" else 0 for name in SearchState._fields)
# Of an epoch's batches: [seeds, steps, B], on the host behind the axis of devices.
BATCHES_AXES = Batches(images=None, labels=None, indices=0)


def mapped(phase: Callable, batches: Any, *, one_by_one: bool) -> Callable:
    """Makes of a phase of one search the same phase of several, with the same arguments.

    Args:
      phase: `(state, batches, (key, numbers), start, stop) -> state`.
      batches: in_axes of its batches over seeds.
      one_by_one: computes one seed after the other, which gives the same but for the last bits. For CPUs, which one
        search keeps busy, and whose forms of the kernels would grow out of the caches (`kernels/depthwise.py`); and for
        steps that branch, which all seeds would have to take every branch of.
    """
    axes = (STATE_AXES, batches, (0, None), None, None)
    if not one_by_one:
        return jax.vmap(phase, axes, out_axes=STATE_AXES)

    def mapped_phase(*arguments):
        def phase_of(seed):
            return phase(*_at(seed, axes, arguments))

        state = lax.map(phase_of, jnp.arange(len(arguments[2][0])))
        return state._replace(step=state.step[0])

    return mapped_phase


def stacked(states: Sequence[SearchState]) -> SearchState:
    """Makes the state of several seeds of those of single searches that have made as many steps."""
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return together._replace(step=together.step[0])  # and no alias: a program uses it up


@jax.jit
def of_seed(state: SearchState, number: jax.Array | int) -> SearchState:
    """Takes a single search's state out of one of several; `number`: of the seed among them, from 0."""
    return _at(number, STATE_AXES, state)


def _at(number, axes, tree):
    """Takes what belongs to a seed of a tree whose in_axes are `axes`, 0 or None for each subtree."""

    def take(axis, subtree):
        if axis is None:
            return subtree
        return jax.tree.map(lambda leaf: leaf[number], subtree)

    return jax.tree.map(take, axes, tree, is_leaf=lambda axis: axis is None)
