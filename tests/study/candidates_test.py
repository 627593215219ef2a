"""The networks of a study: random cells of the same cost, each once; a plain network of the nearest cost."""

import functools

import jax
import jax.numpy as jnp
import pytest

from nge_jax import cost
from nge_jax.networks import layers
from nge_jax.networks.plain import nearest_width, plain_network
from nge_jax.settings.configs import load_config
from nge_jax.space import genotype
from nge_jax.space.stack import cell_plan
from nge_jax.study import candidates
from nge_jax.study.candidates import find_alike, find_beside, list_cells, make_plain
from nge_jax.study.plan import FOUND, PUBLISHED, RANDOM
from nge_jax.train import build as train_build
from nge_jax.train import images as train_images


@functools.cache
def training():
    config = load_config("train_digits")
    config.network.cells, config.network.channels = 3, 2
    source = train_images.open_source(train_images.read_settings(config))
    return train_build.build(config, source, genotype.random_genotype(0))


def test_random_cells_have_the_size_of_the_cell_found_and_serve_once():
    sizes = {"a": 100, "b": 104, "c": 200}
    random = iter(
        [("r0", 150), ("r1", 102), ("r2", 96), ("r3", 105), ("r4", 209), ("r5", 100), ("r6", 190)]
    )
    chosen = find_alike(sizes, random, 2, 0.05)
    assert chosen == {"a": ("r1", "r2"), "b": ("r3", "r5"), "c": ("r4", "r6")}


def test_cells_found_earlier_keep_their_random_cells():
    names = [(f"r{number}", size) for number, size in enumerate((101, 99, 100, 98, 103, 102))]
    before = find_alike({"a": 100}, names, 2, 0.05)
    assert before["a"] == find_alike({"a": 100, "b": 101}, names, 2, 0.05)["a"] == ("r0", "r1")


def test_the_tolerance_widens_where_cells_are_too_few(monkeypatch):
    monkeypatch.setattr(candidates, "DRAWN", 6)
    sizes = [100, 111, 119, 300, 92, 500]

    def size(name):
        return sizes[int(name.removeprefix("random:"))]

    assert find_beside({"a": 100}, size, 1) == ({"a": ("random:0",)}, 0.05)
    assert find_beside({"a": 100}, size, 2) == ({"a": ("random:0", "random:4")}, 0.1)
    assert find_beside({"a": 100}, size, 3)[1] == 0.2
    assert find_beside({"a": 100}, size, 5)[1] == float("inf")


def test_a_cell_found_is_no_random_cell_beside_itself():
    found = {"a": genotype.load("random:3")}
    chosen, _ = candidates.cells_beside(found, training(), 40)
    assert "random:3" not in chosen["a"]
    alone, _ = find_beside({"a": 1}, lambda name: 1, 4)
    assert alone["a"][3] == "random:3"


def test_the_random_cells_networks_cost_as_much_as_the_found_cells():
    cells, tolerance = list_cells({4: genotype.load("PC_DARTS_cifar")}, training(), 3)
    assert [cell.kind for cell in cells] == [FOUND, RANDOM, RANDOM, RANDOM, PUBLISHED]
    assert tolerance == 0.05 and len({cell.name for cell in cells}) == 5
    found, *random, _ = cells
    for cell in random:
        assert cell.genotype is not None
        expected = cost.cifar_cost(cell.genotype, cells=3, channels=2, image_shape=(8, 8, 1))
        assert (cell.parameters, cell.multiply_adds) == expected
        assert abs(cell.parameters - found.parameters) <= 0.05 * found.parameters
        assert cell.search == 4 and genotype.load(cell.name) == cell.genotype


@pytest.mark.parametrize("parameters", [1_000, 2_500, 30_000])
def test_the_plain_network_has_the_nearest_parameters(parameters):
    network, plain = make_plain(training(), parameters)
    assert abs(plain.parameters - parameters) < 0.2 * parameters
    assert [stride for _, stride in network.blocks] == [1, 2, 2]
    sizes = [
        cost.model_cost(
            plain_network(training().model.plan, network.blocks[-1][0] + step, 10), (8, 8, 1)
        ).parameters
        for step in (-1, 0, 1)
    ]
    assert sizes[1] == plain.parameters
    assert min(sizes, key=lambda size: abs(size - parameters)) == plain.parameters


def test_the_plain_network_is_narrower_where_a_limit_of_the_recipe_asks_for_it():
    _, free = make_plain(training(), 1_000)
    limit = free.multiply_adds - 1
    settings = {**training().settings, "limits": {"parameters": 0, "multiply_adds": limit}}
    _, narrower = make_plain(training()._replace(settings=settings), 1_000)
    assert 0.5 * limit < narrower.multiply_adds <= limit
    assert narrower.parameters < free.parameters


def test_the_width_is_the_nearest():
    for wanted, width in ((0, 1), (16, 4), (12, 3), (13, 4), (10_000, 100)):
        assert nearest_width(wanted, lambda width: width**2) == width


@pytest.mark.parametrize("stem, side", [(layers.CifarStem, 9), (layers.ImageNetStem, 40)])
def test_a_plain_network_classifies_images_of_odd_sides(stem, side):
    plan = cell_plan(4, 2, reduction_prev=stem is layers.ImageNetStem)
    network = plain_network(plan, 8, 3, stem=stem)
    (logits, _), variables = jax.eval_shape(
        lambda: network.init_with_output(
            jax.random.key(0), jnp.zeros((2, side, side, 3)), train=True
        )
    )
    assert logits.shape == (2, 3) and logits.dtype == jnp.float32
    assert set(variables["batch_stats"]) == {"stem", *(f"block_{n:02d}" for n in range(4))}
