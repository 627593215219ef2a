"""Parameters and multiply-adds against the sizes of public code."""

import pytest

from nge_jax.cost import Cost, cifar_cost, imagenet_cost, supernet_part_costs, total
from nge_jax.space import genotype
from nge_jax.supernet.model import make_supernet
from nge_jax.train import runner as train_runner
from tests.helpers import sizes
from tests.helpers.small_training import make_config


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
    """Two reductions of 4 and 8 channels have two nodes with `none`, skip and separable convolution."""
    pairs = (("none", 0), ("skip_connect", 1), ("sep_conv_5x5", 1), ("none", 2))
    cell = genotype.Genotype(pairs, (2, 3), pairs, (2, 3))
    cost = cifar_cost(cell, cells=2, channels=2, classes=3, image_shape=(8, 8, 1))

    def edges(c):  # kernels of FactorizedReduce and SepConv on input 1
        return c * c + 2 * (25 * c + c * c)

    stem = 9 * 6  # 1 -> 6 channels, on 8x8
    kernels = [stem, (6 + 6) * 4, edges(4), 6 * 8 + 8 * 8, edges(8), 16 * 3]
    # The pixels that each of these weights reads. Input 0 of the second cell is first halved to 4x4.
    pixels = [64, 64, 16, 16, 4, 1]
    norms = 2 * (6 + 2 * 4 + 3 * 4 + 2 * 8 + 3 * 8)  # scales and biases
    assert cost == Cost(
        sum(kernels) + norms + 3, sum(k * p for k, p in zip(kernels, pixels, strict=True))
    )


@pytest.mark.parametrize("name", ["ENASNet", "SNAS_aggressive"])  # five nodes; `none`
def test_any_cell_by_formula(name):
    """Twelve cells give each third single cells and a run of equal cells."""
    cell = genotype.KNOWN[name]
    counted = sizes.count(cell, cells=12, channels=4, classes=10, shape=(32, 32, 3))
    assert cifar_cost(cell, cells=12, channels=4)._asdict() == counted
    counted = sizes.count(cell, cells=5, channels=6, classes=7, shape=(72, 72, 3), large=True)
    shape = {"cells": 5, "channels": 6, "classes": 7, "image_shape": (72, 72, 3)}
    assert imagenet_cost(cell, **shape)._asdict() == counted


def test_the_supernets_size():
    net = make_supernet(8, 16, 10)
    cost = total(supernet_part_costs(net, (32, 32, 3)))
    assert cost.parameters == 1_930_618
    assert round(cost.multiply_adds / 1e6, 2) == 300.26


def test_a_table_has_the_parts_in_order_and_their_total():
    config = make_config("train_cifar10", "smoke")
    title, header, *rows, end, note = train_runner.summary(config).splitlines()
    assert title == "DARTS_V2 on cifar10"
    parts = [row.split() for row in rows]
    names = [part[0] for part in parts]
    assert names == ["stem", "cell_00", "cell_01", "cell_02", "auxiliary", "classifier"]
    assert [part[1] for part in parts[:4]] == ["32x32x12", "32x32x16", "16x16x32", "8x8x64"]
    sizes = [int(part[-2].replace(",", "")) for part in parts if part[0] != "auxiliary"]
    size = cifar_cost(genotype.KNOWN["DARTS_V2"], cells=3, channels=4)
    assert sum(sizes) == size.parameters
    assert end.split() == ["total", *(f"{count:,}" for count in size)]
    assert "auxiliary" in note


def test_a_search_is_summarized_too(python):
    done = python("-m", "nge_jax.main", "--config=configs/search_cifar.py", "--summary")
    assert done.returncode == 0, done.stderr
    (total,) = (line for line in done.stdout.splitlines() if line.startswith("total"))
    assert total.split() == ["total", "1,930,618", "300,255,744"]
