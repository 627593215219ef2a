"""Numbers that are not finite: found before they reach a checkpoint, and updates that would bring them left out.

`optax.apply_if_finite` looks at the gradient alone, adds to the optimizer's state, and after so many in a row lets them
through. A step also has sums and batch statistics, and a checkpoint keeps its form whether updates may be left out or
not: so the whole state is chosen here, and how many updates were left out follows from the optimizer's own count.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nge_jax.errors import InputError

Tree = Any


class NotFinite(ArithmeticError):
    """A number that a task has computed is not finite; the message says what it is."""


class Diverged(InputError):
    """Ends a run whose numbers are not finite: with its settings it leads nowhere, though none was wrong by itself."""


def find_not_finite(tree: Tree) -> str | None:
    """Returns the name of the first array with NaN or infinity in it, such as ".params['weights']"; None for none."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):  # None is no leaf
        if jnp.issubdtype(leaf.dtype, jnp.floating) and not np.isfinite(np.asarray(leaf)).all():
            return jax.tree_util.keystr(path)
    return None


def choose(new: Tree, old: Tree) -> Tree:
    """Returns the new state if all of its numbers are finite, else the old one; for use inside a step."""
    floats = [a for a in jax.tree.leaves(new) if jnp.issubdtype(a.dtype, jnp.floating)]
    finite = jnp.all(jnp.stack([jnp.isfinite(a).all() for a in floats]))
    return jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)


def updates_made(opt_state: Tree) -> int:
    """Returns how many updates the optimizers of this state have made, by their own counts."""
    counts = optax.tree.get_all_with_path(opt_state, "count")
    return sum(int(np.asarray(count)) for _, count in counts)
