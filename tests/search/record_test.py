"""What a search shows of an epoch."""

import pytest

from nge_jax.runtime.progress import table_header, table_row
from nge_jax.search import record, relaxation
from nge_jax.space.spaces import SPACES
from nge_jax.strategies.random_search import random_search

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
@pytest.mark.parametrize("name", [*relaxation.RELAXATIONS, "strategy"])
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
