"""A search with other rates, epochs and decays runs the programs that an earlier search has compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nge_jax.devices import compile_times, parallel
from nge_jax.optim import Cosine
from nge_jax.search import build as search_build
from nge_jax.search import task as search_task
from nge_jax.search.steps import visible_state
from nge_jax.search.steps.gradient import SearchState
from nge_jax.search.steps.relaxation import Line
from tests.helpers.roundings import assert_equal_but_for_roundings
from tests.helpers.small_search import STEPS, make_config

# Another value of every number that a strategy's programs take as an argument.
ARGUMENTS = {
    "gradient": {
        "search.epochs": 3,
        "search.warmup": 0.3,
        "search.skip_dropout": 0.1,
        "search.entropy_weight": 0.4,
        "search.edge_mutation": 0.2,
        "weights.learning_rate": 0.01,
        "weights.momentum": 0.8,
        "weights.weight_decay": 1e-4,
        "weights.clip_norm": 1.0,
        "embedding.learning_rate": 0.1,
        "embedding.weight_decay": 0.1,
        "gumbel.first_temperature": 3.0,
        "gumbel.last_temperature": 0.7,
    },
    "evolution": {
        "search.epochs": 3,
        "weights.learning_rate": 0.01,
        "evolution.learning_rate": 0.1,
        "evolution.rank_scale": 7.0,
    },
}


def lowered(config, data, path, monkeypatch):
    """The texts of the programs that the search would compile, and the name of all by which they are known again."""
    texts = []

    def compile_ahead(phases, arguments):
        programs = zip(phases, arguments, strict=True)
        texts.extend(phase.lower(*given).as_text() for phase, given in programs)
        return phases

    monkeypatch.setattr(parallel, "compile_ahead", compile_ahead)
    task = search_task.make_task(search_build.build(config, data), path)
    assert task.compile is not None
    task.compile(task.state)
    visible = jax.eval_shape(task.visible, task.state)
    return texts, compile_times.program_key(task.settings, (visible, task.key))


@pytest.mark.parametrize("strategy", ARGUMENTS)
def test_other_numbers_are_given_to_the_same_programs(strategy, data, tmp_path, monkeypatch):
    config = make_config(strategy)
    if strategy == "gradient":
        config.search.update(relaxation="gumbel", skip_dropout=0.3, entropy_weight=0.2, warmup=0.5)
        config.search.edge_mutation = 0.1
    texts, name = lowered(config, data, tmp_path, monkeypatch)
    assert len(texts) == 2
    flat = config.copy_and_resolve_references()
    flat.update_from_flattened_dict(ARGUMENTS[strategy])
    others, others_name = lowered(flat, data, tmp_path, monkeypatch)
    for number, (text, other) in enumerate(zip(texts, others, strict=True)):
        assert text == other, f"the program of phase {number} is another"
    assert others_name == name


@pytest.mark.parametrize("rate, steps", [(0.025, 390), (0.1, 777)])
def test_the_rate_is_optaxs(rate, steps):
    counts = jnp.arange(steps)
    constant = optax.cosine_decay_schedule(rate, steps)
    expected = jax.jit(lambda counts: jax.lax.map(constant, counts))(counts)
    found = jax.jit(lambda cosine, counts: jax.lax.map(cosine, counts))
    given = jax.device_put(Cosine(rate, steps))
    assert_equal_but_for_roundings(found(given, counts), expected)
    assert float(Cosine(rate, steps)(steps)) == pytest.approx(0, abs=1e-7)


def test_a_line_is_as_exact_in_a_program_as_one_of_constants():
    first, last, epochs, each = line = Line(10.0, 0.1, 250, 3)
    steps = jnp.arange(750)
    expected = jax.jit(
        lambda steps: jax.lax.map(
            lambda step: first + (last - first) * (step // each) / (epochs - 1), steps
        )
    )(steps)
    found = jax.jit(lambda line, steps: jax.lax.map(line.at, steps))(jax.device_put(line), steps)
    assert_equal_but_for_roundings(found, expected)


@pytest.mark.parametrize("asked", [0, 1, STEPS, 2 * STEPS - 1])
def test_a_program_sees_the_rows_of_its_epoch_and_the_state_keeps_the_others(asked, data):
    config = make_config("random")
    built = search_build.build(config, data)
    searcher = built.edge_model.init(jax.random.key(0))
    known = jax.tree.map(lambda a: jnp.arange(a.size).reshape(a.shape), searcher.history)
    searcher = searcher._replace(history=known, asked=jnp.int32(asked))
    state = SearchState(jnp.int32(0), {"embedding": searcher}, (), {}, jnp.ones((3, 2, 14, 7)))

    def program(state):
        assert state.history is None
        searcher = state.params["embedding"]
        assert len(searcher.history.rewards) == STEPS
        rewards = searcher.history.rewards.at[searcher.asked % STEPS].set(-1)
        history = searcher.history._replace(rewards=rewards)
        searcher = searcher._replace(history=history, asked=searcher.asked + 1)
        return state._replace(step=state.step + 1, params={"embedding": searcher})

    after = visible_state.wrap_program(program, STEPS)(state)
    np.testing.assert_array_equal(after.history, state.history)
    found = after.params["embedding"]
    assert found.asked == asked + 1 and after.step == 1
    np.testing.assert_array_equal(found.history.rewards, known.rewards.at[asked].set(-1))
    np.testing.assert_array_equal(found.history.architectures, known.architectures)
