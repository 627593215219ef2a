"""When edges do not decide by themselves, and when an earlier P decides."""

import pytest

from nge_jax.space import sharing
from nge_jax.space.genotype import Genotype
from nge_jax.space.nas_bench_201 import BenchCell

SAME = [("sep_conv_5x5", 0), ("sep_conv_5x5", 1)] * 4
OTHER = [("sep_conv_3x3", 0), ("dil_conv_3x3", 1)] * 4
NODES = (2, 3, 4, 5)
CONSTANT, VARIED = Genotype(SAME, NODES, OTHER, NODES), Genotype(OTHER, NODES, OTHER, NODES)


def epochs(*accuracies):
    return [{"epoch": n, "embedding_accuracy": a} for n, a in enumerate(accuracies, 1)]


def test_the_most_common_operation():
    assert sharing.most_common(CONSTANT.operation_counts("normal")) == ("sep_conv_5x5", 1)
    assert sharing.most_common(VARIED.operation_counts("normal"))[1] == 0.5


@pytest.mark.parametrize(
    "accuracies, cell, limit, best",
    [
        ((0.3, 0.55, 0.2), CONSTANT, 0.7, 2),
        ((0.3, 0.55, 0.39), CONSTANT, 0.7, None),  # above 70 % of the best
        ((0.3, 0.55, 0.2), VARIED, 0.7, None),
        ((0.3, 0.55, 0.2), CONSTANT, 0, None),
        ((0.3,), CONSTANT, 0.7, None),
    ],
)
def test_an_earlier_epoch_decides_where_the_last_has_spoiled_the_supernet(
    accuracies, cell, limit, best
):
    found = sharing.fallen(epochs(*accuracies), cell, limit)
    assert (found and found[0]["epoch"]) == best
    if found:
        text = sharing.tell_fallen(*found)
        assert "fell from 55.0% (epoch 2) to 20.0% (epoch 3)" in text and "after epoch 2" in text


@pytest.mark.parametrize(
    "accuracies, cell, limit, advice",
    [
        ((0.3, 0.55, 0.2), CONSTANT, 0, "search.keep_best_below=0.7 derives them from P after epoch 2"),
        ((0.3, 0.55, 0.39), CONSTANT, 0, None),  # above 70 % of the best
        ((0.3, 0.55, 0.2), VARIED, 0, ""),
        ((0.3, 0.55, 0.2), VARIED, 0.7, ""),
        ((0.3, 0.55, 0.2), VARIED, 0.3, None),
    ],
)  # fmt: skip
def test_a_last_epoch_that_decides_all_the_same_is_told_of(accuracies, cell, limit, advice):
    told = sharing.not_kept(epochs(*accuracies), cell, limit)
    assert (told is None) == (advice is None)
    if told is not None:
        assert (
            "from 55.0% (epoch 2) to 20.0% (epoch 3). The cells are derived from the last" in told
        )
        assert told.endswith(f"all the same: {advice}." if advice else "all the same.")


def test_each_cell_type_of_one_operation_is_told_of():
    assert [*sharing.constant_cells(CONSTANT)] == [
        "sep_conv_5x5 takes 8 of the 8 edges of the normal cell."
    ]
    assert not [*sharing.constant_cells(VARIED)]
    assert len([*sharing.constant_cells(Genotype(SAME, NODES, SAME, NODES))]) == 2


def test_a_cell_of_the_benchmark_counts_all_edges():
    five = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|none~2|"
    assert sharing.fallen(epochs(0.5, 0.1), BenchCell(five), 0.7) is not None
    assert (
        sharing.fallen(epochs(0.5, 0.1), BenchCell(five.replace("3x3~0", "1x1~0", 1)), 0.7) is None
    )
