"""The row that a search shows after an epoch."""

import numpy as np
import pytest

from nge_jax.console.progress import table_header, table_row
from nge_jax.search import record
from nge_jax.search.steps import relaxation
from nge_jax.space import cell as space_cell
from nge_jax.space.mixture import Mixture
from nge_jax.space.spaces import DARTS, SPACES
from nge_jax.strategies.random_search import random_search
from nge_jax.workdir.artifacts import Member
from tests.helpers.small_search import LINE, RELAXATIONS, ROW


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("drops", [False, True])
@pytest.mark.parametrize("name", [*RELAXATIONS, "strategy"])
def test_a_table_fits_80_columns(name, drops, space):
    strategy = random_search(space) if name == "strategy" else None
    relaxed = RELAXATIONS.get(name, RELAXATIONS["softmax"])
    if drops:
        relaxed = relaxation.with_entropy(relaxation.with_skip_dropout(relaxed, LINE, 0), LINE)
    columns = record.make_columns(strategy, relaxed, space)
    header, row = table_header(columns).splitlines(), table_row(columns, ROW)
    assert max(map(len, [*header, row])) <= 80
    # Each value stands below its title, so that the columns stay where they are.
    assert len(row) >= len(header[-1]) and len(row) - len(header[-1]) <= 1
    assert len(row.split()) == len(columns)


def counts(skips):
    """Makes an epoch's row with `skips` skip connections in the (normal, reduction) cells."""
    kinds = dict(zip(DARTS.cell_types, skips, strict=True))
    none = {f"{name}_{kind}": 0 for name in DARTS.operations for kind in kinds}
    row = none | {f"skip_connect_{kind}": n for kind, n in kinds.items()}
    return row | {f"sep_conv_3x3_{kind}": 8 - n for kind, n in kinds.items()}


# The first two edges into each node. A cell keeps them where no other edge is stronger.
KEPT = [e for node in DARTS.inner_nodes for e in DARTS.incoming(node)[:2]]


def probabilities(skips, margin):
    """Makes P [2, 14, 7] from which cells with `skips` skip connections are derived; the other edges are sep_conv_3x3.

    `margin` is the lead of an edge's first operation over the second; the lead is smaller on edges that are not kept.
    With a margin of 0, P is uniform.
    """
    probs = np.full(DARTS.shape, 1 / 7)
    for cell, count in enumerate(skips):
        for edge in range(14):
            is_skip = edge in KEPT[:count]
            lead = margin if edge in KEPT else margin / 2
            probs[
                cell, edge, DARTS.operations.index("skip_connect" if is_skip else "sep_conv_3x3")
            ] += lead
    return (probs / probs.sum(-1, keepdims=True)).astype(np.float32)


CONSTANT = {
    kind: record.CONSTANT.format("one operation", kind) + " now" for kind in DARTS.cell_types
}


def of_skips(lines):
    """Leaves out the lines on edges that all have one operation: most cells here are so."""
    return [line for line in lines if not line.startswith((*CONSTANT.values(),))]


def warned(before, now):
    """Returns the warnings on P and its skips, of an epoch that begins with P `before` and ends with P `now`."""
    cell = space_cell.derive(now, DARTS)
    row = {
        f"{name}_{kind}": n
        for kind in DARTS.cell_types
        for name, n in cell.operation_counts(kind).items()
    }
    return of_skips(record.warnings(row, np.stack([before, now]), DARTS))


HALF = {kind: f"{record.HALF_SKIPS.format(kind)} now" for kind in DARTS.cell_types}


@pytest.mark.parametrize(
    "before, now, expected",
    [
        ((3, 0), (3, 0), []),
        ((4, 0), (4, 0), ["normal"]),
        ((5, 8), (6, 4), ["normal", "reduction"]),
        ((4, 3), (3, 4), []),
        ((6, 0), (0, 6), []),  # each epoch decides for the other cell
    ],
)
def test_half_the_edges_are_told_of_when_they_are_skips_two_epochs_in_a_row(before, now, expected):
    lines = warned(probabilities(before, 0.2), probabilities(now, 0.2))
    assert lines == [HALF[kind] for kind in expected]


def test_skips_are_told_of_when_p_has_decided():
    """If P is within 1 % of uniform, it still prefers an operation on every edge, but another one each epoch."""
    sure, close = probabilities((6, 6), 0.15), probabilities((6, 6), 0.01)
    assert space_cell.derive(close, DARTS).operation_counts("normal")["skip_connect"] == 6
    assert warned(sure, sure) == [*HALF.values()]
    assert warned(close, close) == warned(close, sure) == warned(sure, close) == []


def test_betas_do_not_count_as_margins():
    """Edge normalization multiplies P by an edge's weight, but leaves the lead of P's first operation as it was."""
    sure = probabilities((6, 0), 0.15)
    betas = np.array([[1 / k for _, k in DARTS.edges]] * 2, np.float32)
    two_epochs = Mixture(np.stack([sure] * 2), np.stack([betas] * 2))
    assert of_skips(record.warnings(counts((6, 0)), two_epochs, DARTS)) == [HALF["normal"]]


def test_uniform_p_is_told_of_instead_of_the_skips_it_falls_back_on():
    p = probabilities((0, 6), 0.2)
    p[0] = 1 / 7
    assert space_cell.derive(p, DARTS).operation_counts("normal")["skip_connect"] == 8
    uniform, half = warned(p, p)
    assert uniform.startswith(f"{record.UNIFORM} in the normal") and half == HALF["reduction"]


def test_a_strategys_leading_cell_is_told_of_at_once_whatever_its_probabilities():
    assert not [*record.warnings(counts((3, 3)), None, DARTS)]
    assert [*record.warnings(counts((4, 3)), None, DARTS)] == [HALF["normal"]]
    assert [*record.warnings(counts((3, 0)), None, DARTS)] == [CONSTANT["reduction"]]


@pytest.mark.parametrize("two_epochs", [None, np.stack([probabilities((3, 7), 0.2)] * 2)])
def test_a_cell_of_skips_alone_has_one_warning(two_epochs):
    (line,) = record.warnings(counts((3, 7)), two_epochs, DARTS)
    assert line.startswith(
        "warning: skip_connect takes 80 % of the reduction cell's edges or more now"
    )
    advice = "" if two_epochs is None else record.CONSTANT_BY_P_ADVICE
    assert line.endswith(f"now{advice}")


def test_the_history_gives_p_before_and_after_an_epoch():
    history = Mixture(np.arange(4)[:, None], np.arange(10, 14))
    assert record.latest(history, 3).probs[:, 0].tolist() == [2, 3]
    assert record.latest(history, 1).betas.tolist() == [10, 11]


def test_warnings_of_several_searches_name_them():
    first, second, third = (Member(seed, None) for seed in range(3))
    rows = {first: counts((8, 0)), second: counts((6, 0)), third: counts((0, 0))}
    uniform = np.full((2, *DARTS.shape), 1 / 7)
    uniform[:, 1] = probabilities((0, 0), 0.2)[1]
    skips, none = (np.stack([probabilities((n, 0), 0.2)] * 2) for n in (6, 0))
    probs = {first: uniform, second: skips, third: none}
    uniform, skips = of_skips(record.warnings_of_several(rows, probs, DARTS))
    assert uniform.startswith(f"{record.UNIFORM} in the normal cell now, of seed 0")
    assert skips.endswith("of seed 1")


@pytest.mark.parametrize(
    "share, same", [(0.72, 8), (0.72, 7), (0.72, 6), (0.49, 8), (None, 7), (None, 6)]
)
def test_a_leading_cell_of_one_operation_is_told_of_with_its_cause(share, same):
    """Edges of free logits, of drawn cells and of a model without logits can end in one operation, too."""
    row = counts((8 - same, 3))
    if share is not None:
        row |= {"common_share_normal": share, "common_share_reduction": share}
    p = probabilities((8 - same, 3), 0.2)
    lines = [*record.warnings(row, np.stack([p, p]), DARTS)]
    advice = record.CONSTANT_ADVICE if share == 0.72 else record.CONSTANT_BY_P_ADVICE
    assert lines == [f"{CONSTANT['normal']}{advice}"] * (same > 6)
