"""A cell of either space, as a search ends with one: derived from P, counted, written and read."""

import numpy as np
import pytest

from nge_jax.errors import GenotypeError
from nge_jax.space import cell as space_cell
from nge_jax.space import genotype
from nge_jax.space.nas_bench_201 import BenchCell
from nge_jax.space.spaces import DARTS, NAS_BENCH_201, NO_NONE, KeptEdge

CELL = BenchCell("|none~0|+|skip_connect~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|none~2|")


def test_each_edge_of_the_benchmark_has_its_most_probable_operation():
    probs = np.full((1, 6, 5), 0.2)
    for edge, operation in enumerate((0, 1, 2, 3, 4)):  # the last edge stays undecided
        probs[0, edge, operation] += 0.01
    assert space_cell.derive(probs, NAS_BENCH_201) == CELL
    assert CELL.space == NAS_BENCH_201
    for wrong in (probs[0], np.full((1, 6, 5), np.nan)):
        with pytest.raises(ValueError, match="probs: expected finite values of shape"):
            space_cell.derive(wrong, NAS_BENCH_201)


def test_the_papers_cells_are_derived_as_ever():
    probs = np.random.default_rng(0).dirichlet(np.ones(7), (2, 14))
    cells = space_cell.derive(probs, DARTS)
    assert cells == genotype.derive(probs) and cells.space == DARTS
    for kind in DARTS.cell_types:
        assert cells.operation_counts(kind) == cells.operation_counts(kind)


def test_edges_and_counts():
    edges = CELL.kept_edges("normal")
    assert edges[0] == KeptEdge("none", 0, 1) and edges[4] == KeptEdge("avg_pool_3x3", 1, 3)
    counts = CELL.operation_counts("normal")
    assert counts == {
        "none": 2,
        "skip_connect": 1,
        "nor_conv_1x1": 1,
        "nor_conv_3x3": 1,
        "avg_pool_3x3": 1,
    }
    darts = genotype.load("DARTS_V2").kept_edges("reduction")
    assert darts[2] == KeptEdge("skip_connect", 2, 3)


@pytest.mark.parametrize("cell", [CELL, genotype.load("DARTS_V2")])
def test_json_and_back(cell):
    assert space_cell.from_json(cell.to_json()) == cell


@pytest.mark.parametrize("text", [CELL.cell, f"\ufeff{CELL.cell}\n", CELL.to_json()])
def test_a_cell_of_the_benchmark_is_read_from_a_file_as_from_its_text(tmp_path, text):
    (tmp_path / "cell.txt").write_text(text, encoding="utf-8")
    assert space_cell.load(str(tmp_path / "cell.txt")) == space_cell.load(text) == CELL


def test_a_file_that_begins_like_a_cell_is_refused_by_its_name_in_a_short_line(tmp_path):
    (tmp_path / "table.md").write_text("| a | b |\n" * 9000)
    with pytest.raises(
        GenotypeError, match=r"table\.md: genotype field \"cell\": expected"
    ) as error:
        space_cell.load(str(tmp_path / "table.md"))
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"cell": "|none~0|"}', 'genotype field "cell": expected a cell such as'),
        ('{"cell": null}', 'genotype field "cell": expected a cell such as'),
        ('{"cell": "", "normal": []}', "unknown, expected normal"),
        ("[]", "expected an object"),
        ("no", "not JSON"),
    ],
)
def test_what_is_no_cell_is_refused_in_one_line(text, message):
    with pytest.raises(GenotypeError, match=message) as error:
        space_cell.from_json(text)
    assert "\n" not in str(error.value)


def test_a_cell_without_none_is_of_both_spaces_of_the_benchmark():
    probs = np.full((1, 6, 4), 0.25)
    for edge, operation in enumerate((0, 1, 2, 3, 0, 1)):
        probs[0, edge, operation] += 0.01
    cell = space_cell.derive(probs, NO_NONE)
    names = ["skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
    found = [edge.operation for edge in cell.kept_edges("normal")]
    assert found == [*names, "skip_connect", "nor_conv_1x1"]
    assert [*cell.operation_counts("normal")] == names
    assert space_cell.from_json(cell.to_json()) == cell._replace(space=NAS_BENCH_201)
    assert space_cell.within(space_cell.from_json(cell.to_json()), NO_NONE) == cell
    assert space_cell.within(CELL, NO_NONE) is None  # the cell has `none`
    assert space_cell.within(CELL, DARTS) is None
