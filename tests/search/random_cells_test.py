"""The comparison with random cells: how they are drawn, and which choices make a supernet compute one of them."""

import jax
import numpy as np
import pytest

from nge_jax.search import random_cells
from nge_jax.space import architecture, genotype
from nge_jax.space.cell import draw, load, within
from nge_jax.space.spaces import DARTS, NAS_BENCH_201, NO_NONE, SPACES
from nge_jax.supernet.model import make_supernet
from nge_jax.supernet.nas_bench_201 import NasBench201Supernet

NETS = {
    "darts": make_supernet(1, 4, 3, image_channels=1),
    "partial": make_supernet(1, 8, 3, image_channels=1, share=4),
    "nas_bench_201": NasBench201Supernet(1, 4, 3, image_channels=1),
    "no_none": NasBench201Supernet(1, 4, 3, image_channels=1, space=NO_NONE),
}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_random_cells_are_the_same_for_all_searches_and_of_the_space(space):
    cells = draw(space, 5)
    assert cells == draw(space, 5) and len({*cells.values()}) == 5
    for cell in cells.values():
        assert within(cell, space) == cell
        for number, kind in enumerate(space.cell_types):
            for edge in cell.kept_edges(kind):
                place = space.edges.index((edge.source, edge.target))
                assert edge.operation in space.choices(number, place)


@pytest.mark.parametrize("space", [DARTS, NAS_BENCH_201, NO_NONE])
def test_random_cells_load_by_their_names(space):
    for name, cell in draw(space, 5).items():
        assert within(load(name), space) == cell and cell.space == space


@pytest.mark.parametrize("name", NETS)
def test_every_supernet_can_be_a_single_cell(name):
    net = NETS[name]
    (cell,) = draw(net.space, 1).values()
    choices = net.choices(cell)
    weights = jax.eval_shape(net.init, jax.random.key(0))
    images = jax.ShapeDtypeStruct((2, 8, 8, 1), np.float32)
    one = net.single_cell()
    logits, _ = jax.eval_shape(one.apply, weights, images, jax.eval_shape(lambda: choices))
    assert logits.shape == (2, 3)


def test_a_mixing_supernet_gets_the_cells_operations_and_edges_that_sum_to_one():
    cell = genotype.random_genotype(3)
    probs, betas = NETS["partial"].choices(cell)
    chosen = architecture.from_genotype(cell)
    np.testing.assert_array_equal(probs, architecture.one_hot(chosen, DARTS))
    for node in DARTS.inner_nodes:
        np.testing.assert_array_equal(betas[:, list(DARTS.incoming(node))].sum(-1), 1)
    np.testing.assert_array_equal(betas > 0, chosen != architecture.ABSENT)


def test_each_cell_is_scored_once_and_the_found_one_is_told_apart():
    asked = []

    def score(weights, batches, cells):
        asked.extend(cells)
        return np.arange(1, len(cells) + 1) / 4

    cell = genotype.KNOWN["DARTS_V2"]
    compared = random_cells.compare(NETS["darts"], score, {}, None, cell, 2)
    assert compared == {"found": 0.25, "random": {"random:0": 0.5, "random:1": 0.75}}
    np.testing.assert_array_equal(asked[0], architecture.from_genotype(cell))


@pytest.mark.parametrize("name", NETS)
def test_every_weight_of_a_supernet_is_in_one_part(name):
    net = NETS[name]
    weights = jax.eval_shape(net.init, jax.random.key(0))
    used = [use.weights for uses in net.parts(weights).values() for use in uses]
    shapes = [sorted(leaf.shape for leaf in jax.tree.leaves(tree)) for tree in (used, weights)]
    assert shapes[0] == shapes[1]
    assert jax.eval_shape(
        net.apply, weights, np.zeros((2, 8, 8, 1), np.float32), net.example_probs()
    )
