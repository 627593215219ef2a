"""Parameters and multiply-adds against the sizes of the public codes."""

import pytest

from nge_jax import genotype
from nge_jax.cost import Cost, cifar_cost, imagenet_cost


@pytest.mark.parametrize("name, parameters, millions", [
    ("DARTS_V1", 3_169_414, 501.0),
    ("DARTS_V2", 3_349_342, 528.4),
    ("PC_DARTS_cifar", 3_634_678, 556.7),
])  # fmt: skip
def test_cifar_sizes(name, parameters, millions):
    cost = cifar_cost(genotype.KNOWN[name])
    assert cost.parameters == parameters
    assert round(cost.multiply_adds / 1e6, 1) == millions


@pytest.mark.parametrize("name, millions_of_parameters, millions", [
    ("DARTS_V1", 4.5104, 505.9),
    ("DARTS_V2", 4.7188, 529.9),
    ("PC_DARTS_cifar", 5.2706, 571.1),
])  # fmt: skip
def test_imagenet_sizes(name, millions_of_parameters, millions):
    cost = imagenet_cost(genotype.KNOWN[name])
    assert round(cost.parameters / 1e6, 4) == millions_of_parameters
    assert round(cost.multiply_adds / 1e6, 1) == millions


def test_a_cell_counted_by_hand():
    """Two nodes of `none`, skip and separable convolution; two cells, both reductions, of 4 and 8 channels."""
    pairs = (("none", 0), ("skip_connect", 1), ("sep_conv_5x5", 1), ("none", 2))
    cell = genotype.Genotype(pairs, (2, 3), pairs, (2, 3))
    cost = cifar_cost(cell, cells=2, channels=2, classes=3, image_shape=(8, 8, 1))

    def edges(c):  # FactorizedReduce of input 1, SepConv of input 1: weights of kernels
        return c * c + 2 * (25 * c + c * c)

    stem = 9 * 6  # 1 -> 6 channels, on 8x8
    kernels = [stem, (6 + 6) * 4, edges(4), 6 * 8 + 8 * 8, edges(8), 16 * 3]
    # Pixels each of these weights meets. The second cell's input 0 is halved to 4x4 on entry.
    pixels = [64, 64, 16, 16, 4, 1]
    norms = 2 * (6 + 2 * 4 + 3 * 4 + 2 * 8 + 3 * 8)  # scale and bias
    assert cost == Cost(
        sum(kernels) + norms + 3, sum(k * p for k, p in zip(kernels, pixels, strict=True))
    )


def test_five_nodes_and_runs_of_cells():
    """The count does not depend on whether equal cells run one by one (6 cells) or stacked (9)."""
    cell = genotype.KNOWN["ENASNet"]
    cost = {cells: cifar_cost(cell, cells=cells, channels=4) for cells in (6, 9, 12)}
    assert cost[9].parameters - cost[6].parameters == cost[12].parameters - cost[9].parameters
    assert (
        cost[9].multiply_adds - cost[6].multiply_adds
        == cost[12].multiply_adds - cost[9].multiply_adds
    )
