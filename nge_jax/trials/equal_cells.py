"""Cells that are the same graph: they differ by the order of their inner nodes alone, and train alike. No jax."""

import itertools
from collections.abc import Sequence

from nge_jax.space.genotype import NUM_INPUTS, Genotype, Pair

Nodes = tuple[tuple[Pair, ...], ...]


def canonical_form(cell: Genotype) -> tuple[Nodes, Nodes]:
    """Returns the form that isomorphic cells have in common: of the normal and of the reduction cell.

    Another order of the inner nodes permutes the channels of a cell's output. The next layers' weights absorb this.
    The cells must concatenate all inner nodes, as the cells of the paper's space do.
    """
    return _smallest(cell.normal), _smallest(cell.reduce)


def _smallest(pairs: Sequence[Pair]) -> Nodes:
    nodes = [pairs[j : j + 2] for j in range(0, len(pairs), 2)]
    forms = (_renumbered(nodes, order) for order in itertools.permutations(range(len(nodes))))
    return min(form for form in forms if form is not None)


def _renumbered(nodes: Sequence[Sequence[Pair]], order: Sequence[int]) -> Nodes | None:
    """Puts the inner nodes in another order; None if a node would come before one of its predecessors."""
    numbers = {i: i for i in range(NUM_INPUTS)}
    numbers |= {NUM_INPUTS + node: NUM_INPUTS + place for place, node in enumerate(order)}
    form = []
    for place, node in enumerate(order):
        pairs = sorted((name, numbers[source]) for name, source in nodes[node])
        if any(source >= NUM_INPUTS + place for _, source in pairs):
            return None
        form.append(tuple(pairs))
    return tuple(form)
