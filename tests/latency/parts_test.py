"""A network's parts: together they are the network, counted by their parameters and multiply-adds."""

import flax.linen as nn
import pytest

from nge_jax.cost import model_cost
from nge_jax.latency import parts
from nge_jax.measure.parts import PartNetwork
from nge_jax.networks.network import cifar_network, imagenet_network
from nge_jax.space import genotype


class Called(nn.Module):
    """A part, called as networks are."""

    part: parts.Part

    @nn.compact
    def __call__(self, x, *, train):
        return PartNetwork(self.part)(x)


def count(part):
    if part.name in (parts.CALL, parts.SUM, parts.CONCATENATION) or "pool" in part.name:
        return 0, 0
    return model_cost(Called(part), (part.height, part.width, part.inputs))


@pytest.mark.parametrize("cell", ["DARTS_V2", "ENASNet"])
@pytest.mark.parametrize(
    "make, image, is_large",
    [(cifar_network, (9, 12, 1), False), (imagenet_network, (64, 96, 3), True)],
    ids=["cifar", "imagenet"],
)
def test_the_parts_of_a_cell_are_its_network(cell, make, image, is_large):
    cells = genotype.load(cell)
    whole = model_cost(make(cells, cells=5, channels=4, classes=7), image)
    network = parts.network_shape(5, 4, 7, image, is_large=is_large).of_cell(cells)
    found = parts.fixed_parts(network)
    for place in parts.placed_cells(network):
        kept = cells.kept_edges(place.kind)
        found += [p for e in kept if (p := place.operation(e.operation, e.source)) is not None]
    parameters, multiply_adds = (sum(n) for n in zip(*map(count, found), strict=True))
    assert (parameters, multiply_adds) == whole
    if cell == "DARTS_V2":  # a cell with as many nodes as a search finds
        assert set(found) <= set(parts.all_parts(network))


def test_a_network_that_begins_with_a_reduction_keeps_its_stem():
    network = parts.network_shape(2, 4, 3, (8, 8, 1))
    whole = model_cost(cifar_network(genotype.load("DARTS_V2"), cells=2, channels=4), (8, 8, 1))
    assert network.plan[0].reduction and whole.parameters
    stem = parts.fixed_parts(network)[1]
    assert (stem.name, stem.channels) == (parts.CIFAR_STEM, 12)
