"""How far edges move together: known values of free logits and of an embedding with one feature, and a real Adam."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nge_jax.embedding.model import EdgeModel, Form, edge_model
from nge_jax.embedding.movement import matched_part, movement, movement_at
from nge_jax.space.spaces import NAS_BENCH_201


def test_free_logits_move_by_themselves():
    moved = movement(edge_model("alpha"), jax.random.key(0))
    np.testing.assert_allclose(moved.rank, 14, rtol=1e-5)
    np.testing.assert_allclose(moved.step, 1, rtol=1e-5)
    np.testing.assert_allclose(moved.common_share, 1 / 14, rtol=0.1)  # a mean over random gradients
    assert matched_part(edge_model("alpha")) == 1.0


def test_edges_with_the_same_parameters_move_as_one():
    def logits(params):
        return jnp.broadcast_to(params, (1, 6, 5))

    same = EdgeModel(lambda key: jax.random.normal(key, (5,)), jax.nn.softmax, "same", logits)
    moved = movement(same, jax.random.key(0))
    np.testing.assert_allclose(moved.common_share, 1, rtol=1e-5)
    np.testing.assert_allclose(moved.rank, 1, rtol=1e-5)
    np.testing.assert_allclose(moved.step, 1, rtol=1e-5)


def test_an_embedding_that_has_decayed_moves_nothing():
    model = edge_model("nge")
    zeros = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0)))
    assert not np.any(jnp.stack(movement_at(model, zeros)))


@pytest.mark.parametrize("name, form", [("nge", Form()), ("rnn", Form(classifier="per_edge"))])
def test_a_step_of_adam_moves_logits_so_far(name, form):
    """The measure is to first order; a small rate makes the rest small."""
    model, rate = edge_model(name, space=NAS_BENCH_201, form=form), 1e-5
    params, adam = model.init(jax.random.key(0)), optax.adam(rate, eps=1e-20)

    @jax.jit
    def step(gradient):
        before, pull = jax.vjp(model.logits, params)
        updates, _ = adam.update(pull(gradient)[0], adam.init(params))
        after = model.logits(optax.apply_updates(params, updates))
        return jnp.sqrt(jnp.square((after - before) / rate).mean())

    gradients = np.random.default_rng(0).normal(size=(20, 1, 6, 5)).astype(np.float32)
    steps = [step(gradient - gradient.mean(-1, keepdims=True)) for gradient in gradients]
    measured = movement_at(model, params).step
    np.testing.assert_allclose(np.mean(steps), measured[0], rtol=0.1)


def test_the_share_is_by_each_gradient_alone():
    """The kernel by hand, in NumPy, from the derivative by every parameter."""
    model = edge_model("nge", space=NAS_BENCH_201)
    params = model.init(jax.random.key(1))
    jacobian = jax.jacrev(model.logits)(params)
    rows = [np.asarray(leaf, np.float64).reshape(30, -1) for leaf in jax.tree.leaves(jacobian)]
    kernel = sum(row @ row.T for row in rows)
    rng, shares = np.random.default_rng(0), []
    for _ in range(200):
        gradient = rng.normal(size=(6, 5))
        gradient -= gradient.mean(1, keepdims=True)
        moved = (kernel @ gradient.ravel()).reshape(6, 5)
        shares.append(6 * np.square(moved.mean(0)).sum() / np.square(moved).sum())
    measured = movement_at(model, params)
    assert measured.common_share[0] == pytest.approx(np.mean(shares), rel=0.1)
    of_edges = np.einsum("aobo->ab", kernel.reshape(6, 5, 6, 5))
    values = np.linalg.eigvalsh(of_edges)
    assert measured.rank[0] == pytest.approx(values.sum() ** 2 / np.square(values).sum(), rel=1e-3)


# Measured before any search: the common share, the rank, and the step of the paper's rate of 6e-4.
KNOWN = {
    ("plain", "printed", Form()): (0.54, 6.4, 0.0065),
    ("rnn", "printed", Form()): (0.38, 5.3, 0.091),
    ("nge", "printed", Form()): (0.72, 2.4, 0.0166),
    ("nge", "predecessors", Form()): (0.92, 1.7, 0.0221),
    ("nge", "printed", Form(norm="center")): (0.0, 3.9, 0.0099),
    ("nge", "printed", Form(classifier="per_edge")): (0.07, 10.2, 0.0125),
}


@pytest.mark.parametrize("model", KNOWN, ids=str)
def test_known_movements(model):
    name, adjacency, form = model
    several = [
        movement(edge_model(name, adjacency, form=form), jax.random.key(seed)) for seed in range(4)
    ]
    share, rank, step = np.mean([[value[0] for value in moved] for moved in several], axis=0)
    expected_share, expected_rank, expected_step = KNOWN[model]
    assert share == pytest.approx(expected_share, abs=0.04)
    assert rank == pytest.approx(expected_rank, rel=0.05)
    assert 6e-4 * step == pytest.approx(expected_step, rel=0.08)
