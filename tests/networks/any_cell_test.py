"""A network of any cell computes and learns what the derived network does, and one program serves all cells."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.errors import GenotypeError
from nge_jax.networks import layers
from nge_jax.networks.any_cell import AnyCell, as_arrays
from nge_jax.networks.cell import CellStack
from nge_jax.networks.network import cifar_network
from nge_jax.networks.weights_of_any_cell import edge_counter, from_derived, to_derived
from nge_jax.space import genotype
from nge_jax.space.spaces import DARTS
from nge_jax.space.stack import CellSpec

TRAINING = functools.partial(layers.BatchNorm, use_running_average=False, momentum=0.9)
# Three cells: stride 2 after stride 1, and stride 2 after stride 2, whose first input is reduced.
NETWORK = functools.partial(cifar_network, cells=3, channels=2, classes=3)
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def covering():
    """Cells in which every operation occurs with stride 1, with stride 2, and behind every predecessor."""
    names = itertools.cycle(DARTS.operations)

    def pairs(sources):
        return tuple((next(names), source) for node in sources for source in node)

    first, second = [(0, 1), (0, 2), (1, 3), (2, 4)], [(0, 1), (0, 1), (0, 3), (1, 2)]
    inner = (2, 3, 4, 5)
    return genotype.Genotype(pairs(first), inner, pairs(second), inner)


CELLS = [covering(), *map(genotype.random_genotype, range(3)), genotype.load("DARTS_V2")]


def loss_and_gradients(model, variables, images, scales):
    def loss(params):
        everything = variables | {"params": params}
        (logits, _), moved = model.apply(
            everything, images, train=True, path_scales=scales, mutable=["batch_stats"]
        )
        return (logits * jnp.arange(1.0, 4.0)).sum(), (logits, moved["batch_stats"])

    (_, (logits, stats)), gradients = jax.value_and_grad(loss, has_aux=True)(variables["params"])
    return logits, stats, gradients


def program_of_any_cell(arrays, variables, images, scales):
    return loss_and_gradients(NETWORK(arrays), variables, images, scales)


of_any_cell: Any = jit(program_of_any_cell)


def assert_close(found, expected, relative=1e-4):
    def compare(path, found, expected):
        tolerance = relative * max(1e-3, np.abs(expected).max())
        np.testing.assert_allclose(
            found, expected, atol=tolerance, err_msg=jax.tree_util.keystr(path)
        )

    jax.tree_util.tree_map_with_path(compare, found, expected)


# Compiling a derived network takes seconds.
@pytest.mark.parametrize(
    "cells", [CELLS[0], *(pytest.param(cell, marks=pytest.mark.whole) for cell in CELLS[1:])]
)
def test_logits_gradients_and_statistics_are_the_derived_networks(cells):
    derived, arrays = NETWORK(cells), as_arrays(cells)
    images = jax.random.normal(jax.random.key(0), (4, 8, 8, 1))
    scales = jax.random.uniform(jax.random.key(1), (3, 8, 4))
    variables = jit(functools.partial(derived.init, train=True))(jax.random.key(2), images)
    same = from_derived(cells, derived.plan, variables)
    logits, stats, gradients = of_any_cell(arrays, same, images, scales)
    expected = jit(functools.partial(loss_and_gradients, derived))(variables, images, scales)
    assert_close(logits, expected[0])
    found = to_derived(cells, derived.plan, {"params": gradients, "batch_stats": stats})
    assert_close(found, {"params": expected[2], "batch_stats": expected[1]})
    assert of_any_cell._cache_size() == 1


@pytest.mark.parametrize("cells", CELLS[:1] + CELLS[-1:])
def test_weights_convert_both_ways(cells):
    """Runs of equal cells have a leading axis; drop-path and pools have no weights."""
    plan = (
        CellSpec(2, True, False),
        *(CellSpec(4, False, reduced) for reduced in (True, False, False)),
    )
    s0 = jnp.zeros((1, 8, 8, 8))
    derived = CellStack(cells, plan, TRAINING)
    variables = jax.eval_shape(derived.init, jax.random.key(0), s0, s0)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda s: rng.random(s.shape, np.float32), variables)
    whole = {name: {"cells": tree, "stem": name} for name, tree in variables.items()}
    there = from_derived(cells, plan, whole)
    any_cell = CellStack(as_arrays(cells), plan, TRAINING, None, AnyCell)
    shapes = jax.eval_shape(any_cell.init, jax.random.key(0), s0, s0)
    found = {name: tree["cells"] for name, tree in there.items()}
    assert jax.tree.map(np.shape, found) == jax.tree.map(np.shape, shapes)
    jax.tree.map(np.testing.assert_array_equal, to_derived(cells, plan, there), whole)
    sizes = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    edges = [
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes["params"])
        if "edges" in str(path)
    ]
    others = sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) - sum(
        e.size for e in edges
    )
    assert edge_counter(plan)(as_arrays(cells)) == sizes - others


@pytest.mark.parametrize("name", ["ENASNet", "SNAS_aggressive"])
def test_a_cell_outside_the_space_is_refused(name):
    with pytest.raises(GenotypeError, match="expected a cell of the paper's space, found"):
        as_arrays(genotype.load(name))


def test_another_order_of_the_output_is_refused():
    turned = CELLS[1]._replace(reduce_concat=(3, 2, 4, 5))
    with pytest.raises(GenotypeError, match='"reduce_concat": found .* in ascending order'):
        as_arrays(turned)
