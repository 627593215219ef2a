"""Finds numbers that are not finite before they reach a checkpoint, and leaves out updates that would make them.

`optax.apply_if_finite` does not serve here. It checks only the gradient, adds to the optimizer's state, and accepts an
update after several failures in a row. A step also has sums and batch statistics, so `choose` checks the whole state.
The optimizer's count tells how many updates were left out, so a checkpoint has the same form with and without `choose`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nge_jax.errors import InputError

Tree = Any


class NotFinite(ArithmeticError):
    """A number that a task has computed is not finite; the message names the number."""


class Diverged(InputError):
    """Ends a run whose numbers are not finite. Each setting was valid, but the run cannot continue with them."""


def find_not_finite(tree: Tree) -> str | None:
    """Returns the name of the first array with NaN or infinity, such as ".params['weights']"; None without such."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):  # skips None, which is no leaf
        if jnp.issubdtype(leaf.dtype, jnp.floating) and not np.isfinite(np.asarray(leaf)).all():
            return jax.tree_util.keystr(path)
    return None


def choose(new: Tree, old: Tree) -> Tree:
    """Returns the new state if all its numbers are finite, and the old state otherwise; for use inside a step."""
    floats = [a for a in jax.tree.leaves(new) if jnp.issubdtype(a.dtype, jnp.floating)]
    finite = jnp.all(jnp.stack([jnp.isfinite(a).all() for a in floats]))
    return jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, old)


def updates_made(opt_state: Tree) -> int:
    """Returns how many updates several optimizers have made together, of which each has one count in its state."""
    return sum(_counts(opt_state))


def updates_of_one(opt_state: Tree) -> int:
    """Returns how many updates one optimizer has made; AdamW's parts have two counts of the same updates."""
    return max(_counts(opt_state))


def _counts(opt_state: Tree) -> list[int]:
    counts = optax.tree.get_all_with_path(opt_state, "count")
    return [int(np.asarray(count)) for _, count in counts]
