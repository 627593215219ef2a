"""The report's part on the edges."""

import json

import pytest

from nge_jax.report import edges
from nge_jax.report.document import Table
from nge_jax.space.nas_bench_201 import BenchCell

SAME = BenchCell("+".join("|" + "".join(f"skip_connect~{i}|" for i in range(k)) for k in (1, 2, 3)))


def epoch(number, accuracy):
    return {
        "epoch": number,
        "embedding_accuracy": accuracy,
        "common_share_normal": 0.721,
        "edge_rank_normal": 2.44,
        "edge_cosine_normal": -0.5,
    }


@pytest.mark.parametrize("search, told", [({"keep_best_below": 0.7}, True), ({}, False)])
def test_the_config_of_the_run_says_whether_an_earlier_epoch_decides(tmp_path, search, told):
    (tmp_path / "config.json").write_text(json.dumps({"search": search}))
    found, (line,) = edges.fallen(tmp_path, [epoch(1, 0.5), epoch(2, 0.1)], SAME)
    assert (found is not None) == told
    assert ("derived from P after epoch 1" in line) == told
    assert edges.fallen(tmp_path, [epoch(1, 0.5), epoch(2, 0.4)], SAME) == (None, [])


def test_the_table_has_the_metrics_of_each_epoch():
    _, table = edges.blocks([epoch(1, 0.5), epoch(2, 0.1)], ["normal"])
    assert isinstance(table, Table)
    assert [*table.header] == [
        "Epoch",
        "Common share, normal",
        "Effective rank, normal",
        "Mean cosine, normal",
    ]
    assert [*map(list, table.rows)] == [[str(n), "0.72", "2.4", "-0.50"] for n in (1, 2)]
    assert not edges.blocks([{"epoch": 1}], ["normal"]), "an older run has none"
