"""Costs as parts of their limits, as arrays of a program: the excess of P or of a cell, and draws within the limits.

The numbers are arguments of compiled programs. A kind of cost without a limit has zeros, so that one program serves all
limits, and any network. Parts are float32. A drawn cell counts as within a limit when the sum stays below 1 by MARGIN.
The margin is larger than the rounding of the sum. No drawn cell breaks a limit of the exact counts.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nge_jax.space import architecture
from nge_jax.space.budget.costs import Budget, CellCosts, expected_cost
from nge_jax.space.spaces import Space

MARGIN = 4e-6  # float32 rounds each of at most 17 summands by 6e-8
TRIES = 32  # draws before the fallback


class RelativeCosts(NamedTuple):
    """Costs divided by their limits, and the weight of their excess.

    Attributes:
        base: float32 [K].
        edges: float32 [K, C, E, O].
        weight: the weight of the excess in a loss or a reward.
        fallback: int32 [C, E], an architecture within the limits; None: cheapest operations are always within them.
    """

    base: Any
    edges: Any
    weight: Any
    fallback: Any = None


def relative_costs(budget: Budget) -> RelativeCosts:
    """Makes the arguments of a program from exact counts."""
    inverse = np.array([1 / limit if limit else 0.0 for limit in budget.limits])
    return RelativeCosts(
        base=(budget.costs.base * inverse).astype(np.float32),
        edges=(budget.costs.edges * inverse[:, None, None, None]).astype(np.float32),
        weight=float(budget.weight),
        fallback=None if budget.fallback is None else budget.fallback.astype(np.int32),
    )


def relative_to_mean(costs: CellCosts, number: int, weight: float, space: Space) -> RelativeCosts:
    """Makes the costs of one kind as parts of their mean over all cells of the space.

    Args:
        costs: the costs of all cells.
        number: the kind's number in `costs`.
        weight: the weight of the expected part in a loss.
        space: the space of the cells.
    """
    kind = CellCosts(costs.base[number, None], costs.edges[number, None])
    (mean,) = kind.expected(np.asarray(architecture.uniform(space)), space)
    return RelativeCosts(
        base=(kind.base / mean).astype(np.float32),
        edges=(kind.edges / mean).astype(np.float32),
        weight=float(weight),
    )


def expected_part(costs: RelativeCosts, mixture: Any, space: Space) -> jax.Array:
    """Computes the weighted expected cost of P [C, E, O] or a `Mixture`; `costs` are those of `relative_to_mean`."""
    return costs.weight * expected_cost(costs.base, costs.edges, mixture, space).sum()


def expected_excess(costs: RelativeCosts, mixture: Any, space: Space) -> jax.Array:
    """Sums, over the limits, the parts by which the expected cost of P [C, E, O] or a `Mixture` exceeds them."""
    return _excess(expected_cost(costs.base, costs.edges, mixture, space))


def cell_excess(costs: RelativeCosts, cell: jax.Array, space: Space) -> jax.Array:
    """Sums the parts by which the cost of an architecture [C, E] exceeds the limits."""
    return _excess(_parts(costs, cell, space))


def _excess(parts_K: jax.Array) -> jax.Array:
    return jnp.maximum(parts_K - 1, 0).sum()


def _parts(costs: RelativeCosts, cell: jax.Array, space: Space) -> jax.Array:
    """Sums the parts [K] of the limits that an architecture takes."""
    # A product of matrices would round to 16 bits on some devices.
    return costs.base + (costs.edges * architecture.one_hot(cell, space)).sum((1, 2, 3))


def fits(costs: RelativeCosts, cell: jax.Array, space: Space) -> jax.Array:
    """Tells whether an architecture [C, E] is within the limits."""
    return (_parts(costs, cell, space) <= 1 - MARGIN).all()


def draw_within(
    draw: Callable[[jax.Array], jax.Array],
    key: jax.Array,
    costs: RelativeCosts | None,
    space: Space,
) -> jax.Array:
    """Draws an architecture [C, E] within the limits: the first of TRIES draws that fits, or a cheapened draw.

    Args:
        draw: key -> architecture.
        key: the key of the draw.
        costs: None: there is no limit, and the result is `draw(key)`.
        space: the space of the cells.
    """
    if costs is None:
        return draw(key)
    key_tries, key_cheapen = jax.random.split(key)
    cells = jax.vmap(draw)(jax.random.split(key_tries, TRIES))
    each_fits = jax.vmap(lambda cell: fits(costs, cell, space))(cells)
    return cheapen(key_cheapen, costs, cells[each_fits.argmax()], space)


def cheapen(key: jax.Array, costs: RelativeCosts, cell: jax.Array, space: Space) -> jax.Array:
    """Replaces operations of an architecture [C, E] by the cheapest ones of their edges until it fits.

    The order of the edges is drawn, and so is one of equally cheap operations. A cell that fits stays as it is.

    Every edge of the paper's space has an operation without weights. No operation of a reduction costs no time, and
    some edges cost more than others. Where there is a fallback, inner nodes then take its edges until the cell fits.
    """
    key_order, key_operations = jax.random.split(key)
    dear = jnp.asarray(costs.edges).sum(0)
    is_cheapest = dear == dear.min(-1, keepdims=True)
    logits = jnp.where(is_cheapest, 0.0, -jnp.inf)
    cheapest = jax.random.categorical(key_operations, logits).astype(cell.dtype)
    order = jax.random.uniform(key_order, cell.shape, minval=1.0, maxval=2.0)

    def turns(cell):
        """Gives the turn of each edge that can save; 0 for other edges."""
        is_dear = (architecture.one_hot(cell, space) * ~is_cheapest).sum(-1)
        return order * is_dear

    def must_save(cell):
        return ~fits(costs, cell, space) & (turns(cell).max() > 0)

    def save(cell):
        place = jnp.unravel_index(turns(cell).argmax(), cell.shape)
        return cell.at[place].set(cheapest[place])

    cell = lax.while_loop(must_save, save, cell)
    if costs.fallback is None:
        return cell
    return _approach(jax.random.fold_in(key, 2), costs, cell, space)


def _approach(key: jax.Array, costs: RelativeCosts, cell: jax.Array, space: Space) -> jax.Array:
    """Gives inner nodes the fallback's edges, one node after another in a drawn order, until the cell fits.

    With all of its nodes the cell is the fallback, whose exact costs are within the limits.
    """
    types, nodes = len(space.cell_types), len(space.inner_nodes)
    node_of_edge = np.array([target - space.num_inputs for _, target in space.edges])
    turns = jax.random.permutation(key, types * nodes).reshape(types, nodes)[:, node_of_edge]
    fallback = jnp.asarray(costs.fallback, cell.dtype)
    counts = jnp.arange(types * nodes + 1)
    tried = jax.vmap(lambda count: jnp.where(turns < count, fallback, cell))(counts)
    each_fits = jax.vmap(lambda cell: fits(costs, cell, space))(tried)
    return tried[each_fits.at[-1].set(True).argmax()]
