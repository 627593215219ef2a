"""Skip connections of derived cells, on strengths made by hand."""

import numpy as np
import pytest

from nge_jax.space import skips
from nge_jax.space.cell import derive
from nge_jax.space.genotype import EDGES, OPERATIONS
from nge_jax.space.spaces import DARTS, NAS_BENCH_201

SKIP, SEP = OPERATIONS.index("skip_connect"), OPERATIONS.index("sep_conv_3x3")


def mostly_skips():
    """The normal cell favors skips on edges from the inputs, the later the node the less; the reduction cell too."""
    strengths = np.full(DARTS.shape, 0.01)
    for e, (i, k) in enumerate(EDGES):
        strengths[:, e, SKIP] = 0.9 - 0.1 * k if i < 2 else 0.02
        strengths[:, e, SEP] = 0.15 if i < 2 else 0.2
    return strengths


def test_no_limit_derives_what_p_favors():
    strengths = mostly_skips()
    assert skips.count_skips(derive(strengths, DARTS), DARTS) == 8
    assert skips.derive(strengths, DARTS, 8) == derive(strengths, DARTS)


@pytest.mark.parametrize("most", range(9))
def test_the_weakest_skips_give_way_and_the_cell_is_derived_anew(most):
    strengths = mostly_skips()
    cell = skips.derive(strengths, DARTS, most)
    assert skips.count_skips(cell, DARTS) == most
    # Ties go to the lower edge: of a node's two skips, the one from node 0 gives way first.
    kept = [pair for pair in cell.normal if pair[0] == "skip_connect"]
    assert kept == [("skip_connect", i) for i in (0, 1, 0, 1, 0, 1, 0, 1)][: most - most % 2] + [
        ("skip_connect", 1)
    ] * (most % 2)
    # Node 2 has no other sources; the edges from inner nodes are stronger elsewhere once the skip is gone.
    if most == 0:
        assert cell.normal[:2] == (("sep_conv_3x3", 0), ("sep_conv_3x3", 1))
        assert {i for _, i in cell.normal[4:]} <= {2, 3, 4}
    assert cell.reduce == derive(strengths, DARTS).reduce
    assert (strengths == mostly_skips()).all()


def test_a_cell_of_nas_bench_201_is_limited_too():
    strengths = np.full(NAS_BENCH_201.shape, 0.1)
    strengths[0, :, 1] = np.linspace(0.5, 0.6, 6)
    strengths[0, :, 3] = 0.3
    cell = skips.derive(strengths, NAS_BENCH_201, 2)
    operations = [edge.operation for edge in cell.kept_edges("normal")]
    assert operations == ["nor_conv_3x3"] * 4 + ["skip_connect"] * 2


def test_margins_are_leads_over_the_strongest_that_lost():
    strengths = mostly_skips()
    cell = derive(strengths, DARTS)
    first, *_, last = skips.margins(strengths, cell, "normal", DARTS)
    assert first.edge == ("skip_connect", 0, 2)
    assert first.runner_up == "sep_conv_3x3" and first.rival is None and first.edge_margin is None
    assert first.strength == pytest.approx(0.7)
    assert first.operation_margin == pytest.approx(0.55)
    assert last.edge == ("skip_connect", 1, 5) and last.rival == 2
    assert last.operation_margin == pytest.approx(0.4 - 0.15)
    assert last.edge_margin == pytest.approx(0.4 - 0.2)

    limited = skips.derive(strengths, DARTS, 0)
    margin, *_ = skips.margins(strengths, limited, "normal", DARTS)
    assert margin.operation_margin == pytest.approx(-0.55)
