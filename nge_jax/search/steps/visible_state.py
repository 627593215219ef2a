"""The part of a search's state that its programs see: nothing in it grows with the search's length.

So a search of other epochs runs the same programs. A checkpoint holds the whole state.
"""

from collections.abc import Callable
from functools import partial

import jax
from jax import lax

from nge_jax.optim import EMBEDDING
from nge_jax.search.steps.gradient import SearchState
from nge_jax.search.steps.strategy import Searcher
from nge_jax.strategies.base import History


def seen(state: SearchState, rows: int) -> SearchState:
    """Returns the part of a state: without P's history, and with the `rows` of a strategy's that the epoch fills."""
    searcher = state.params[EMBEDDING]
    if isinstance(searcher, Searcher):
        searcher = searcher._replace(history=_rows(searcher.history, searcher.asked, rows))
    return state._replace(params=state.params | {EMBEDDING: searcher}, history=None)


def of_whole(program: Callable, rows: int) -> Callable:
    """Makes `(state, ...) -> state` of a program of the part that is `seen`, which it may donate."""

    def whole_program(state, *arguments):
        before, part = state.params[EMBEDDING], seen(state, rows)
        # Of the epoch's first cell, before the program's own first; the program uses up what it is given.
        place = before.asked // rows * rows if isinstance(before, Searcher) else None
        after = program(part, *arguments)
        searcher = after.params[EMBEDDING]
        if place is not None:
            searcher = searcher._replace(history=_filled(before.history, searcher.history, place))
        params = after.params | {EMBEDDING: searcher}
        return after._replace(params=params, history=state.history)

    return whole_program


@partial(jax.jit, static_argnums=2)
def _rows(history: History, asked: jax.Array, rows: int) -> History:
    place = asked // rows * rows
    return jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, place, rows), history)


@jax.jit
def _filled(history: History, rows: History, place: jax.Array) -> History:
    def filled(whole, part):
        return lax.dynamic_update_slice_in_dim(whole, part, place, 0)

    return jax.tree.map(filled, history, rows)
