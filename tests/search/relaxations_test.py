"""The relaxations that see logits, each beside a plain reference in NumPy, and searches by them, killed and resumed."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.search import runner as search_runner
from nge_jax.search.parts.outside import RULES
from nge_jax.search.relaxations.rule import Scores, make_relaxation
from nge_jax.search.steps.relaxation import Line
from nge_jax.space.spaces import DARTS
from tests.helpers.small_search import Killed, dying, make_config, result, run, stand_ins

LOGITS = 2 * np.random.default_rng(0).standard_normal((2, 14, 7)).astype(np.float32)
KEY = jax.random.key(3)


def rule_and_scores(name, **numbers):
    rule = RULES[name](DARTS, numbers)
    return rule, Scores(rule.probs(LOGITS), jnp.asarray(LOGITS))


def test_sigmoid_weighs_each_operation_by_itself_and_pushes_weights_to_0_or_1():
    rule, scores = rule_and_scores("sigmoid", zero_one_weight=10.0)
    p = 1 / (1 + np.exp(-LOGITS.astype(np.float64)))
    np.testing.assert_allclose(scores.probs, p, rtol=1e-5)
    np.testing.assert_array_equal(rule.mix(scores, KEY, 0.0), scores.probs)
    np.testing.assert_allclose(rule.penalty(scores, 0.0), -10 * ((p - 0.5) ** 2).mean(), rtol=1e-5)
    assert not rule.is_distribution


def test_dirichlet_draws_weights_whose_mean_is_p():
    rule, scores = rule_and_scores("dirichlet", anchor_weight=2.0)
    x = LOGITS.astype(np.float64)
    b = np.where(x > 0, x, np.expm1(x)) + 1
    total = b.sum(-1, keepdims=True)
    np.testing.assert_allclose(scores.probs, b / total, rtol=1e-3)
    divergence = (
        special.gammaln(total[..., 0]) - special.gammaln(b).sum(-1) - special.gammaln(7)
        + ((b - 1) * (special.digamma(b) - special.digamma(total))).sum(-1)
    )  # fmt: skip
    assert (divergence > 0).all()
    np.testing.assert_allclose(rule.penalty(scores, 0.0), 2 * divergence.mean(), rtol=1e-3)

    edge = Scores(scores.probs[0, 0], scores.logits[0, 0])
    draw = jax.jit(jax.vmap(lambda key: rule.mix(edge, key, 0.0)))
    drawn = draw(jax.random.split(KEY, 20_000))
    np.testing.assert_allclose(drawn.sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(drawn.mean(0), edge.probs, atol=0.01)


def test_the_gradient_through_a_draw_is_on_average_the_gradient_of_the_mean():
    rule, _ = rule_and_scores("dirichlet", anchor_weight=0.0)
    logits = jnp.asarray([0.5, -1.0, 1.5])
    factors = jnp.asarray([1.0, -2.0, 0.5])

    def drawn(logits, key):
        return (factors * rule.mix(Scores(rule.probs(logits), logits), key, 0.0)).sum()

    grads = jax.jit(jax.vmap(jax.grad(drawn), (None, 0)))(logits, jax.random.split(KEY, 40_000))
    mean = jax.grad(lambda logits: (factors * rule.probs(logits)).sum())(logits)
    np.testing.assert_allclose(grads.mean(0), mean, atol=0.01)


@pytest.mark.parametrize("progress, temperature", [(0.0, 2.0), (0.5, 1.25), (1.0, 0.5)])
def test_concrete_is_a_softmax_of_noisy_logits_at_a_falling_temperature(progress, temperature):
    rule, scores = rule_and_scores("concrete", first_temperature=2.0, last_temperature=0.5)
    noise = np.asarray(jax.random.gumbel(KEY, LOGITS.shape), np.float64)
    noisy = (LOGITS + noise) / temperature
    expected = np.exp(noisy - noisy.max(-1, keepdims=True))
    expected /= expected.sum(-1, keepdims=True)
    np.testing.assert_allclose(rule.mix(scores, KEY, progress), expected, rtol=1e-3, atol=1e-6)
    assert rule.record(progress) == {"temperature": temperature}


def test_each_step_draws_anew_and_the_progress_goes_from_0_to_1():
    relaxed = make_relaxation(
        RULES["concrete"](DARTS, {"first_temperature": 1.0, "last_temperature": 0.1}),
        None,
        Line(0.0, 1.0, epochs=3, steps=2),
    )
    logits = jnp.asarray(LOGITS)
    first, again, second = (relaxed.mix(logits, KEY, jnp.int32(step)) for step in (0, 0, 1))
    assert (first == again).all() and (first != second).any()
    recorded = [relaxed.record(epoch)["temperature"] for epoch in (1, 2, 3)]
    np.testing.assert_allclose(recorded, [1, 0.55, 0.1])


def test_a_search_by_draws_goes_on_as_if_it_had_not_stopped(data, tmp_path):
    config = make_config("gradient", relaxation="dirichlet", edge_model="alpha")
    config.run.random_cells = 0
    with stand_ins(data) as patched:
        search_runner.run(config, tmp_path / "straight")
        left = [2, 9]
        with patched.context() as other:
            other.setattr(Checkpoints, "save", dying(left))
            while left:
                with pytest.raises(Killed):
                    search_runner.run(config, tmp_path / "killed")
        search_runner.run(config, tmp_path / "killed")
    found = result(tmp_path / "straight")
    assert result(tmp_path / "killed") == found
    assert "entropy_normal" in found.rows[0]
    np.testing.assert_allclose(np.sum(found.probs, -1), 1, rtol=1e-5)


def test_a_report_of_p_without_probabilities_tells_no_entropies_and_no_margins(
    data, tmp_path, monkeypatch, capsys
):
    config = make_config("gradient", relaxation="sigmoid", entropy_weight=0.0)
    config.run.random_cells = 0
    run(config, data, tmp_path, monkeypatch)
    rows = [json.loads(row) for row in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert not any("entropy" in key or "cosine" in key for row in rows for key in row)
    probs = np.load(tmp_path / "architecture.npz")["probs"]
    assert (probs > 0).all() and (probs < 1).all() and probs[0].sum(-1).min() > 2
    report = (tmp_path / "report.md").read_text()
    assert "| Relaxation | sigmoid |" in report and "## Strengths" in report
    assert "Entropy" not in report and "## Margins" not in report and "Common share" in report
    assert "entropy" not in capsys.readouterr().out
