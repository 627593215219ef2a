"""Searches that ask for cells: which group a step updates, resuming within an epoch, and the results of a run."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.search import build as search_build
from nge_jax.search import task as search_task
from nge_jax.search.steps import strategy as strategy_steps
from nge_jax.space import architecture, genotype
from nge_jax.space.architecture import ABSENT
from nge_jax.space.spaces import DARTS
from nge_jax.strategies.base import History
from nge_jax.workdir import artifacts
from tests.helpers.small_search import BATCH, EPOCHS, STEPS, leaves, make_config, run

STRATEGIES = ("reinforce", "evolution", "random")


@pytest.fixture(scope="module")
def evolved(data, tmp_path_factory):
    """(workdir, final state) of a search by evolution, whose state holds all that a strategy's may."""
    path = tmp_path_factory.mktemp("evolved")
    with pytest.MonkeyPatch.context() as patched:
        return path, run(make_config("evolution"), data, path, patched)


@pytest.mark.whole
def test_killed_it_ends_bit_for_bit_alike(evolved, data, tmp_path, monkeypatch):
    straight, state = evolved
    # In the weights' phase of the first epoch, in the queries' of the second.
    config = make_config("evolution")
    resumed = run(config, data, tmp_path, monkeypatch, kill_after=(2, 11))
    for a, b in zip(leaves(state), leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    histories = [dict(np.load(path / "history.npz")) for path in (straight, tmp_path)]
    for name, array in histories[0].items():
        np.testing.assert_array_equal(array, histories[1][name])
    cells = [(path / "genotype.json").read_text() for path in (straight, tmp_path)]
    assert cells[0] == cells[1]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_search_ends_with_its_history(strategy, evolved, data, tmp_path, monkeypatch):
    path = evolved[0] if strategy == "evolution" else tmp_path
    if strategy != "evolution":
        run(make_config(strategy), data, path, monkeypatch)
    files = [artifacts.CHECKPOINTS, "genotype.json", "history.npz", "metrics.jsonl", "report.html"]
    for file in files:
        assert (path / file).exists()

    with np.load(path / "history.npz", allow_pickle=False) as arrays:
        arrays = dict(arrays)
    queries = EPOCHS * STEPS
    cells, rewards = arrays["architectures"], arrays["rewards"]
    assert cells.shape == (queries, 2, 14) and cells.dtype == np.int32
    assert rewards.shape == (queries,) and rewards.dtype == np.float32
    assert set(rewards * BATCH) <= set(range(BATCH + 1))
    assert ((cells != ABSENT).sum(-1) == 8).all()
    assert len(np.unique(cells, axis=0)) > 2

    found = (path / "genotype.json").read_text()
    best = arrays["candidates"][arrays["accuracies"].argmax()]
    assert genotype.from_json(found) == architecture.to_genotype(best)

    beside = json.loads((path / "random_cells.json").read_text())
    assert list(beside["random"]) == ["random:0", "random:1"]
    assert beside["found"] == arrays["accuracies"].max()

    rows = (path / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(row) for row in rows]
    assert [row["queries"] for row in rows] == [STEPS, queries]
    for row in rows:
        told = rewards[: row["queries"]]
        assert row["best_reward"] == told.max()
        assert row["embedding_accuracy"] == pytest.approx(told[-STEPS:].mean())
    report = (path / "report.md").read_text()
    assert "best-so-far" in report and "![Best validation reward so far" in report
    assert strategy in report and f"{arrays['accuracies'].max():.2%}" in report


@pytest.mark.whole
def test_each_step_moves_its_group_and_leaves_the_other_bit_for_bit(data, tmp_path):
    config = make_config("reinforce")
    built = search_build.build(config, data)
    task = search_task.make_task(built, tmp_path)
    state, key = task.state, task.key
    batches = {p.name: next(task.batches(0, p.name, [(0, 1)], state))[0] for p in task.phases}
    # The first steps fill the momentum and the baseline.
    for phase in task.phases:
        state = phase.program(state, batches[phase.name], key, 0, 1)
    for phase in built.phases:
        before = jax.device_get(state)
        state = phase.program(state, batches[phase.name], key, 1, 2)
        after = jax.device_get(state)
        for group in (WEIGHTS, EMBEDDING):
            pairs = zip(leaves(before.params[group]), leaves(after.params[group]), strict=True)
            moved = any(not np.array_equal(a, b, equal_nan=True) for a, b in pairs)
            assert moved == (group == phase.name)
        assert after.step == before.step + 1
        assert after.sums[phase.name].count == before.sums[phase.name].count + BATCH
    assert len(after.params[EMBEDDING].evaluated().rewards) == 2
    assert (after.params[EMBEDDING].history.rewards[2:] == 0).all()


def make_history(rewards, numbers):
    """Makes a history of cells that differ in one operation; `numbers` says which."""
    cells = np.asarray(architecture.from_genotype(genotype.random_genotype(0)))
    cells = np.stack([cells] * len(numbers))
    cells[:, 0, 0] = numbers
    return History(cells, np.asarray(rewards, np.float32))


def test_the_leaders_are_distinct_and_the_best_first():
    history = make_history([0.1, 0.5, 0.5, 0.9, 0.7, 0.2], [0, 1, 2, 3, 3, 5])
    assert strategy_steps.leaders(history, 3)[:, 0, 0].tolist() == [3, 1, 2]
    assert strategy_steps.leaders(history, 9)[:, 0, 0].tolist() == [3, 1, 2, 5, 0]


def test_genotypes_and_architectures_say_the_same():
    for seed in range(5):
        found = genotype.random_genotype(seed)
        cells = architecture.from_genotype(found)
        assert architecture.to_genotype(cells) == found
        assert ((cells != ABSENT).sum(-1) == 8).all()
    drawn = architecture.sample(jax.random.key(0), architecture.uniform(DARTS), DARTS)
    again = architecture.from_genotype(architecture.to_genotype(drawn))
    np.testing.assert_array_equal(again, drawn)


def test_the_searcher_begins_with_nothing_and_its_p_is_the_strategys(data):
    config = make_config("random")
    built = search_build.build(config, data)
    searcher = built.edge_model.init(jax.random.key(0))
    assert len(searcher.evaluated().rewards) == 0
    assert searcher.history.architectures.shape == (EPOCHS * STEPS, 2, 14)
    np.testing.assert_allclose(built.edge_model.probs(searcher), jnp.full(DARTS.shape, 1 / 7))
