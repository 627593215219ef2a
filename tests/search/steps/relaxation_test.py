"""Relaxations: the operations that they draw, the gradients, and searches that use them, whole and resumed."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.runtime.loop import Phase
from nge_jax.search import runner as search_runner
from nge_jax.search.plan import count_held_steps
from nge_jax.search.steps import relaxation
from nge_jax.space import genotype, skips
from nge_jax.space.architecture import ABSENT
from nge_jax.space.mixture import Mixture
from nge_jax.space.spaces import DARTS
from tests.helpers.small_search import STEPS, leaves, make_config, run


def random_probs(*shape):
    return jax.nn.softmax(2 * jax.random.normal(jax.random.key(0), shape))


def test_softmax_is_p_itself():
    probs = random_probs(2, 14, 7)
    assert relaxation.softmax(net=None).mix(probs, jax.random.key(0), 0) is probs


def test_operations_are_drawn_from_p_whatever_the_temperature():
    probs = random_probs(3, 7)
    keys = jax.random.split(jax.random.key(1), 20_000)
    draw = jax.jit(jax.vmap(relaxation.draw, (None, 0, None)))
    for temperature in (10.0, 0.1):
        drawn = draw(probs, keys, temperature)
        assert drawn.operations.dtype == jnp.int32 and drawn.operations.shape == (20_000, 3)
        # The scale is exactly 1, because a weight step trains the drawn operation itself.
        assert (drawn.scales == 1).all()
        found = jax.nn.one_hot(drawn.operations, 7).mean(0)
        np.testing.assert_allclose(found, probs, atol=0.02)


@pytest.mark.parametrize("temperature", [10.0, 1.0, 0.1])
def test_the_straight_through_gradient_is_that_of_the_soft_samples_probability(temperature):
    """NumPy computes the gradient: q = softmax((log P + G) / t) has the derivative q_o ([o = j] - q_j) / (t p_j)."""
    probs, key = random_probs(4, 7), jax.random.key(2)
    noise = np.asarray(jax.random.gumbel(key, probs.shape), np.float64)
    logits = np.log(np.asarray(probs, np.float64)) + noise
    q = np.exp((logits - logits.max(-1, keepdims=True)) / temperature)
    q /= q.sum(-1, keepdims=True)
    chosen = logits.argmax(-1)
    factors = np.array([1.0, -2.0, 0.5, 3.0])  # each edge's factor of the loss
    expected = np.zeros((4, 7))
    for e, o in enumerate(chosen):
        for j in range(7):
            expected[e, j] = factors[e] * q[e, o] * ((o == j) - q[e, j])
    expected /= temperature * np.asarray(probs)

    drawn = relaxation.draw(probs, key, temperature)
    np.testing.assert_array_equal(drawn.operations, chosen)
    found = jax.grad(lambda p: (factors * relaxation.draw(p, key, temperature).scales).sum())(probs)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-6)


def test_an_impossible_operation_is_not_drawn_and_its_gradient_is_finite():
    probs = jnp.zeros((500, 7)).at[:, 2].set(1.0)
    drawn = relaxation.draw(probs, jax.random.key(3), 1.0)
    assert (drawn.operations == 2).all()
    grads = jax.grad(lambda p: relaxation.draw(p, jax.random.key(3), 0.1).scales.sum())(probs)
    assert np.isfinite(grads).all()


def test_the_temperature_falls_along_a_line_from_the_first_epoch_to_the_last():
    temperatures = relaxation.Line(10.0, 0.1, epochs=4, steps=5)
    found = [float(temperatures.at(step)) for step in (0, 4, 5, 9, 15, 19)]
    # The tolerance is float32's rounding error of 10 - 9.9.
    np.testing.assert_allclose(found, [10, 10, 6.7, 6.7, 0.1, 0.1], rtol=1e-5)
    assert temperatures._replace(epochs=1).at(4) == 10
    recorded = relaxation.gumbel(None, temperatures).record
    assert [round(recorded(epoch)["temperature"], 6) for epoch in (1, 2, 4)] == [10, 6.7, 0.1]


def test_each_step_draws_anew_and_all_epochs_alike():
    temperatures = relaxation.Line(10.0, 0.1, epochs=4, steps=5)
    mix, probs = relaxation.gumbel(None, temperatures).mix, random_probs(2, 14, 7)
    first, again, next_one = (mix(probs, jax.random.key(0), jnp.int32(s)) for s in (3, 3, 4))
    np.testing.assert_array_equal(first.operations, again.operations)
    assert (first.operations != next_one.operations).any()
    assert (first.operations != ABSENT).all()


@pytest.mark.parametrize("name", ["softmax", "gumbel", "partial"])
def test_the_embedding_pays_for_entropy_by_a_weight_that_grows(name):
    probs = random_probs(2, 14, 7)
    given = Mixture(probs, jnp.full((2, 14), 0.3)) if name == "partial" else probs
    relaxed = relaxation.Relaxation(None, relaxation.mix_all, lambda epoch: {"other": 1.0})
    weights = relaxation.Line(0.0, 0.5, epochs=3, steps=10)
    with_entropy = relaxation.with_entropy(relaxed, weights)
    assert with_entropy.mix is relaxed.mix
    p = np.asarray(probs, np.float64)
    entropy = -(p * np.log(p)).sum(-1).mean()
    for epoch, weight in ((0, 0.0), (1, 0.25), (2, 0.5)):
        found = with_entropy.penalty(given, jnp.int32(10 * epoch))
        np.testing.assert_allclose(found, weight * entropy, rtol=1e-5)
        assert with_entropy.record(epoch + 1) == {"other": 1.0, "entropy_weight": weight}
    # The gradient is finite even if an operation's probability is 0.
    certain = jnp.zeros((2, 14, 7)).at[..., 2].set(1.0)
    grads = jax.grad(lambda p: with_entropy.penalty(p, jnp.int32(20)))(certain)
    assert np.isfinite(grads).all() and with_entropy.penalty(certain, jnp.int32(20)) == 0


def relaxed_config(name, **search_keys):
    config = make_config("gradient", relaxation=name, **search_keys)
    config.network.channels = 8 if name == "partial" else 2
    return config


@pytest.mark.parametrize("name, alternation", [("gumbel", "epoch"), ("partial", "batch")])
def test_a_search_moves_p_and_records_what_the_relaxation_adds(
    name, alternation, data, tmp_path, monkeypatch
):
    config = relaxed_config(name, alternation=alternation, entropy_weight=100.0)
    if name == "partial":
        config.search.update({"warmup": 0.5, "skip_dropout": 0.3, "max_skips": 0})
    state = run(config, data, tmp_path, monkeypatch)
    assert all(np.isfinite(leaf).all() for leaf in leaves(state.params))
    for history in leaves(state.history):
        assert not np.array_equal(history[1], history[2])  # P moved, and so did the edges' weights
        assert np.array_equal(history[0], history[1]) == (name == "partial")  # held in the warm-up
    rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(row) for row in rows]
    assert [row["entropy_weight"] for row in rows] == pytest.approx([0, 100])
    assert rows[1]["embedding_loss"] < 10  # told without the penalty
    report = (tmp_path / "report.md").read_text()
    assert f"| Relaxation | {name} |" in report
    if name == "gumbel":
        assert [row["temperature"] for row in rows] == pytest.approx([10, 0.1])
        assert "Temperature of the draws" in report
        return
    with np.load(tmp_path / "architecture.npz") as arrays:
        probs, betas = arrays["probs"], arrays["betas"]
    np.testing.assert_array_equal(betas, state.history.betas)
    assert all(row["edge_entropy_normal"] > 0 for row in rows)
    assert "Entropy of edge weights" in report and "Dotted: the edge's weight" in report
    found = genotype.from_json((tmp_path / "genotype.json").read_text())
    assert found == skips.derive(probs[-1] * betas[-1][..., None], DARTS, 0)
    assert rows[0]["embedding_loss"] > 0  # recorded in the warm-up, too
    assert [row["skip_dropout"] for row in rows] == pytest.approx([0.3, 0.0])
    assert "Margins" in report


def test_the_summary_counts_the_operations_of_the_mixed_channels():
    def parameters(name):
        config = relaxed_config(name)
        config.network.channels = 8
        total = search_runner.summary(config).splitlines()[-1]
        return int(re.search(r"[\d,]+", total)[0].replace(",", ""))

    assert parameters("partial") < 0.5 * parameters("softmax")


def line(first, last=0.0):
    return relaxation.Line(first, last, epochs=5, steps=10)


@pytest.mark.parametrize("name", ["softmax", "gumbel", "partial"])
def test_skips_are_left_out_at_the_epochs_rate_and_count_more_where_they_stay(name):
    probs = random_probs(2, 14, 7)
    given = probs
    relaxed = relaxation.softmax(None)
    if name == "gumbel":
        relaxed = relaxation.gumbel(None, line(1.0, 1.0))
    if name == "partial":
        given = Mixture(probs, jnp.full((2, 14), 0.3))
    dropped = relaxation.with_skip_dropout(relaxed, line(0.4), skip=0)
    keys = jax.random.split(jax.random.key(5), 400)
    for epoch, rate in ((0, 0.4), (4, 0.0)):
        mixed, plain = (
            jax.vmap(lambda key, r=r, step=10 * epoch: r.mix(given, key, jnp.int32(step)))(keys)
            for r in (dropped, relaxed)
        )
        if name == "gumbel":
            np.testing.assert_array_equal(mixed.operations, plain.operations)
            is_skip = np.asarray(plain.operations) == 0
            factors = np.asarray(mixed.scales)
            assert (factors[~is_skip] == 1).all()
            factors = factors[is_skip]
        else:
            if name == "partial":
                np.testing.assert_array_equal(mixed.betas, plain.betas)
                mixed, plain = mixed.probs, plain.probs
            np.testing.assert_array_equal(mixed[..., 1:], plain[..., 1:])
            factors = np.asarray(mixed[..., 0] / plain[..., 0])
        stays = factors > 0
        np.testing.assert_allclose(factors[stays], 1 / (1 - rate), rtol=1e-5)
        assert abs(stays.mean() - (1 - rate)) < 0.04
        assert dropped.record(epoch + 1)["skip_dropout"] == pytest.approx(rate)


@pytest.mark.whole
def test_a_search_stops_on_skips_and_stays_stopped(data, tmp_path, monkeypatch):
    config = relaxed_config("gumbel", stop_on_skips=5)
    monkeypatch.setattr(skips, "count_skips", lambda cell, space: 5)
    state = run(config, data, tmp_path / "run", monkeypatch)
    assert state.step == 2 * STEPS  # the first of two epochs
    again = run(config, data, tmp_path / "run", monkeypatch)
    for a, b in zip(leaves(state), leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 1
    assert "stopped after epoch 1 of 2" in (tmp_path / "run" / "report.md").read_text()
    with np.load(tmp_path / "run" / "architecture.npz") as arrays:
        last = arrays["probs"][-1]
    assert last.any()
    found = genotype.from_json((tmp_path / "run" / "genotype.json").read_text())
    assert found == genotype.derive(last)


def test_warm_up_steps_are_counted_as_held():
    phases = Phase("weights", None, 5), Phase("embedding", None, 3)
    steps = (0, 5, 6, 8, 13, 14, 16, 17, 24)
    counts = [count_held_steps(phases, 2, step) for step in steps]
    assert counts == [0, 0, 1, 3, 3, 4, 6, 6, 6]
    both = (Phase("both", None, 4, updates=2),)
    counts = [count_held_steps(both, 2, step) for step in (0, 2, 8, 16, 18)]
    assert counts == [0, 1, 4, 8, 8]
