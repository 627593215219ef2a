"""What a search shows of an epoch."""

import numpy as np
import pytest

from nge_jax.console.progress import table_header, table_row
from nge_jax.search import record
from nge_jax.search.steps import relaxation
from nge_jax.space.spaces import DARTS, SPACES
from nge_jax.strategies.random_search import random_search
from nge_jax.workdir.artifacts import Member

LINE = relaxation.Line(10.0, 0.1, 50, 100)
RELAXATIONS = {
    "softmax": relaxation.softmax(None),
    "gumbel": relaxation.gumbel(None, LINE),
    "partial": relaxation.partial(None),
}
# Of a long search on a fast device, each value as long as it becomes.
ROW = {
    "epoch": 1000,
    "weight_loss": 6.90775,
    "weight_accuracy": 1.0,
    "embedding_loss": 6.90775,
    "embedding_accuracy": 1.0,
    "entropy_normal": 1.945910,
    "entropy_reduction": 1.945910,
    "skip_connect_normal": 8,
    "skip_connect_reduction": 8,
    "images_per_second": 123_456.78,
    "seconds": 9999.9,
    "best_reward": 1.0,
    "temperature": 10.0,
    "skip_dropout": 1.0,
}


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
    """Makes an epoch's row in which so many edges of the cells (normal, reduction) are skip connections."""
    kinds = dict(zip(DARTS.cell_types, skips, strict=True))
    none = {f"{name}_{kind}": 0 for name in DARTS.operations for kind in kinds}
    row = none | {f"skip_connect_{kind}": n for kind, n in kinds.items()}
    return row | {f"sep_conv_3x3_{kind}": 8 - n for kind, n in kinds.items()}


def probabilities(*uniform):
    """Makes P of each cell type, uniform or with a preference as small as that of first logits on one edge."""
    probs = {kind: np.full((14, 7), 1 / 7, np.float32) for kind in DARTS.cell_types}
    for kind in set(probs) - set(uniform):
        probs[kind][3, :2] += (1e-4, -1e-4)
    return probs


@pytest.mark.parametrize(
    "skips, uniform, expected",
    [
        ((3, 0), [], []),
        ((4, 0), [], [f"{record.HALF_SKIPS.format('normal')} now"]),
        (
            (8, 8),
            ["normal"],
            [f"{record.UNIFORM} in the normal", record.HALF_SKIPS.format("reduction")],
        ),
        ((0, 0), ["reduction"], [f"{record.UNIFORM} in the reduction"]),
    ],
)
def test_an_epoch_warns_of_what_has_taken_a_cell_over(skips, uniform, expected):
    lines = [*record.warnings(counts(skips), probabilities(*uniform), DARTS)]
    assert len(lines) == len(expected)
    assert all(map(str.startswith, lines, expected)), lines


def test_a_strategy_is_not_warned_of_its_uniform_probabilities():
    assert not [*record.warnings(counts((0, 0)), {}, DARTS)]


def test_warnings_of_several_searches_name_them():
    first, second, third = (Member(seed, None) for seed in range(3))
    rows = {first: counts((8, 0)), second: counts((8, 0)), third: counts((0, 0))}
    probs = {first: probabilities("normal"), second: probabilities(), third: probabilities()}
    uniform, skips = record.warnings_of_several(rows, probs, DARTS)
    assert uniform.startswith(f"{record.UNIFORM} in the normal cell now, of seed 0")
    assert skips.endswith("of seed 1")
