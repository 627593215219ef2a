"""Weights of a network of any cell as weights of the derived network, and back."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from nge_jax.networks import layers
from nge_jax.networks.any_cell import EDGES, GenotypeArrays, as_arrays
from nge_jax.networks.cell import edge_name
from nge_jax.networks.operation_rows import Variables, count, make_operations, pack, unpack
from nge_jax.space.genotype import Genotype
from nge_jax.space.spaces import DARTS, Space
from nge_jax.space.stack import CellSpec


def to_derived(
    genotype: Genotype, plan: tuple[CellSpec, ...], variables: Variables, space: Space = DARTS
) -> Variables:
    """Makes the variables of the derived network from the variables of a network of any cell.

    Args:
        genotype: the cells that the variables belong to.
        plan: the plan of the networks' cells.
        variables: the variables of the network of any cell. A momentum is converted as {"params": momentum}.
        space: the space of the network of any cell.
    """

    def convert(cell, size, edges):
        del size
        rows = cell.pop(EDGES)
        unpacked = {name: unpack(rows[..., j, :], shapes) for j, (name, shapes) in enumerate(edges)}
        return cell | {name: tree for name, tree in unpacked.items() if tree}

    return _convert(genotype, plan, variables, convert, space)


def from_derived(
    genotype: Genotype, plan: tuple[CellSpec, ...], variables: Variables, space: Space = DARTS
) -> Variables:
    """Makes the variables of a network of any cell from the variables of the derived network, see `to_derived`."""

    def convert(cell, size, edges):
        rows = [pack(cell.pop(name, {}), shapes, size) for name, shapes in edges]
        # Rows without variables have no axis of a run of equal cells.
        run = jax.tree.leaves(cell["input_1"]["norm"])[0].shape[:-1]
        rows = [jnp.broadcast_to(row, (*run, size)) for row in rows]
        return cell | {EDGES: jnp.stack(rows, axis=-2)}

    return _convert(genotype, plan, variables, convert, space)


def edge_counter(
    plan: tuple[CellSpec, ...], space: Space = DARTS
) -> Callable[[GenotypeArrays], int]:
    """Makes a function that counts the parameters of a network's edges, without making the network."""
    norm = functools.partial(layers.BatchNorm, use_running_average=False)
    known = {spec: make_operations(spec, norm, space=space) for spec in set(plan)}
    sizes = {
        spec: np.array([count(o.shapes["params"]) for o in operations.every])
        for spec, operations in known.items()
    }

    def count_edges(arrays: GenotypeArrays) -> int:
        pairs = [arrays.cell("reduction" if spec.reduction else "normal")[0] for spec in plan]
        numbers = [known[spec].numbers(p) for spec, p in zip(plan, pairs, strict=True)]
        return int(sum(sizes[spec][n].sum() for spec, n in zip(plan, numbers, strict=True)))

    return count_edges


def _convert(genotype, plan, variables, convert, space):
    """Converts each cell: `(variables of a collection, size of a row, [(name, shapes) of each edge]) -> variables`."""
    norm = functools.partial(layers.BatchNorm, use_running_average=False)
    arrays, converted = as_arrays(genotype, space), {}
    for collection, tree in variables.items():
        cells = {}
        for name, cell in tree["cells"].items():
            spec = plan[int(name.split("_")[1])]  # a run of equal cells begins with this one
            kind = "reduction" if spec.reduction else "normal"
            operations = make_operations(spec, norm, space=space)
            chosen = operations.numbers(arrays.cell(kind)[0])
            edges = [
                (edge_name(j, operation), operations.every[number].shapes[collection])
                for j, (number, (operation, _)) in enumerate(
                    zip(chosen, genotype.cell(kind)[0], strict=True)
                )
            ]
            cells[name] = convert(dict(cell), operations.size(collection), edges)
        converted[collection] = {**tree, "cells": cells}
    return converted
