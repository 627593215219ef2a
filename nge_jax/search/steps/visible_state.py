"""The part of a search's state that programs see. No array in this part grows with the length of the search.

Searches of any number of epochs thus run the same programs. A checkpoint holds the whole state.
"""

from collections.abc import Callable
from functools import partial

import jax
from jax import lax

from nge_jax.optim import EMBEDDING
from nge_jax.search.steps.gradient import SearchState
from nge_jax.search.steps.strategy import Searcher
from nge_jax.strategies.base import History


def visible_state(state: SearchState, rows: int) -> SearchState:
    """Returns the state without P's history, and with only the rows of a strategy's history that the epoch fills.

    Args:
      state: the whole state.
      rows: how many cells a strategy asks for in an epoch.
    """
    searcher = state.params[EMBEDDING]
    if isinstance(searcher, Searcher):
        searcher = searcher._replace(history=_take_rows(searcher.history, searcher.asked, rows))
    return state._replace(params=state.params | {EMBEDDING: searcher}, history=None)


def wrap_program(program: Callable, rows: int) -> Callable:
    """Makes `(whole state, ...) -> whole state` from a program of the visible state, which may donate that state."""

    def whole_program(state, *arguments):
        before, visible = state.params[EMBEDDING], visible_state(state, rows)
        # The row of the epoch's first cell. It is computed first, because the program may donate the visible state.
        place = before.asked // rows * rows if isinstance(before, Searcher) else None
        after = program(visible, *arguments)
        searcher = after.params[EMBEDDING]
        if place is not None:
            history = _put_rows(before.history, searcher.history, place)
            searcher = searcher._replace(history=history)
        params = after.params | {EMBEDDING: searcher}
        return after._replace(params=params, history=state.history)

    return whole_program


@partial(jax.jit, static_argnums=2)
def _take_rows(history: History, asked: jax.Array, rows: int) -> History:
    place = asked // rows * rows
    return jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, place, rows), history)


@jax.jit
def _put_rows(history: History, rows: History, place: jax.Array) -> History:
    def put(whole, part):
        return lax.dynamic_update_slice_in_dim(whole, part, place, 0)

    return jax.tree.map(put, history, rows)
