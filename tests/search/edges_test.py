"""The metrics of the edges after an epoch."""

import jax
import numpy as np
import pytest

from nge_jax.embedding.model import edge_model
from nge_jax.optim import EMBEDDING
from nge_jax.search import edges
from nge_jax.search.steps.gradient import SearchState
from nge_jax.space.spaces import NAS_BENCH_201


def cosines_by_hand(before, after):
    """Computes the mean over the pairs of two edges, one by one."""
    moved = np.log(after) - np.log(before)
    means = []
    for cell in moved:
        directions = [edge - edge.mean() for edge in cell]
        pairs = [
            a @ b / np.sqrt((a @ a) * (b @ b))
            for i, a in enumerate(directions)
            for b in directions[i + 1 :]
        ]
        means.append(np.mean(pairs))
    return means


def test_cosines_are_means_over_pairs_of_edges():
    before, after = np.random.default_rng(0).dirichlet(np.ones(7), (2, 2, 14))
    found = edges.mean_cosines(before, after)
    np.testing.assert_allclose(found, cosines_by_hand(before, after), rtol=1e-9)


def test_edges_that_move_alike_or_not_at_all():
    before = np.full((1, 6, 5), 0.2)
    alike = before.copy()
    alike[..., 1] += 0.1
    np.testing.assert_allclose(edges.mean_cosines(before, alike), 1)
    np.testing.assert_array_equal(edges.mean_cosines(before, before), 0)
    certain = np.eye(5)[None, [0, 1, 2, 3, 4, 0]]  # P of 0 has no logarithm
    assert np.isfinite(edges.mean_cosines(before, certain)).all()


@pytest.mark.parametrize("name, share, rank", [("alpha", 1 / 6, 6), ("nge", 0.75, 1.9)])
def test_the_row_has_the_metrics_of_the_learners_parameters(name, share, rank):
    model = edge_model(name, space=NAS_BENCH_201)
    params = model.init(jax.random.key(0))
    state = SearchState(0, {EMBEDDING: params}, None, None, None)
    two_epochs = np.stack([model.probs(params)] * 2)
    row = edges.metrics(model, state, two_epochs, NAS_BENCH_201)
    assert row["common_share_normal"] == pytest.approx(share, abs=0.08)
    assert row["edge_rank_normal"] == pytest.approx(rank, rel=0.1)
    assert row["edge_cosine_normal"] == 0
    assert edges.metrics(None, state, two_epochs, NAS_BENCH_201) == {}
