"""Searches that ask for cells: which group a step updates, resuming within an epoch, and the results of a run."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.data import small
from nge_jax.errors import InputError
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.runtime import loop
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.search import build as search_build
from nge_jax.search import runner as search_runner
from nge_jax.search import task as search_task
from nge_jax.search.checks import check, check_data
from nge_jax.search.steps import strategy as strategy_steps
from nge_jax.space import architecture, genotype
from nge_jax.space.architecture import ABSENT
from nge_jax.space.spaces import DARTS
from nge_jax.strategies.base import History
from nge_jax.workdir import artifacts
from tests.configs_test import ROOT, load

STRATEGIES = ("reinforce", "evolution", "random")
EPOCHS, STEPS, BATCH = 2, 3, 8

pytestmark = pytest.mark.usefixtures("programs_compiled_once")


def make_config(strategy, **search_keys):
    """Makes a config of one reduction cell, the smallest network with both kinds of edges, and dispatches of a step."""
    config = load(ROOT / "configs" / "search_digits.py").get_config(f"{strategy},smoke")
    config.network.cells = 1
    config.search.images_per_epoch = STEPS * BATCH
    config.search.update(search_keys)
    config.evolution.population = 2
    config.evolution.tournament = 2
    config.evolution.proposals = 2
    config.evolution.memory = 3
    config.run.steps_per_dispatch = 1
    config.run.checkpoint_every_steps = 1
    config.run.random_cells = 2
    return config


@pytest.fixture(scope="module")
def data():
    """Makes noise images, whose brightness shows their class."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 64).astype(np.int32)
    images = rng.integers(0, 80, (64, 8, 8, 1)) + 80 * labels[:, None, None, None]
    return small.SmallDataset(images.astype(np.uint8), labels, None, None, 3, (0.5,), (0.25,))


class Killed(Exception):
    pass


def leaves(state):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def run(config, data, path, monkeypatch, kill_after=()):
    """Runs a search, kills it after the checkpoints of the steps `kill_after`, and resumes it each time."""
    monkeypatch.setattr(small, "load", lambda name, folder: data)
    states = []

    def run_loop(*args, run_loop=loop.run, **settings):
        states.append(run_loop(*args, **settings))
        return states[-1]

    def save(self, step, *args, save=Checkpoints.save):
        save(self, step, *args)
        if step in left:
            left.remove(step)
            self.wait()
            raise Killed

    left = list(kill_after)
    with monkeypatch.context() as patched:
        patched.setattr(loop, "run", run_loop)
        patched.setattr(Checkpoints, "save", save)
        while True:
            try:
                search_runner.run(config, path, overwrite=False)
            except Killed:
                continue
            break
    assert not left
    return states[-1]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_search_ends_with_its_history_and_killed_ends_the_same(
    strategy, data, tmp_path, monkeypatch
):
    config = make_config(strategy)
    state = run(config, data, tmp_path / "straight", monkeypatch)
    # The search dies in the weights' phase of the first epoch and in the queries' phase of the second.
    resumed = run(config, data, tmp_path / "killed", monkeypatch, kill_after=(2, 11))
    for a, b in zip(leaves(state), leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    files = [artifacts.CHECKPOINTS, "genotype.json", "history.npz", "metrics.jsonl", "report.html"]
    for file in files:
        assert (tmp_path / "straight" / file).exists()

    with np.load(tmp_path / "straight" / "history.npz", allow_pickle=False) as arrays:
        arrays = dict(arrays)
    with np.load(tmp_path / "killed" / "history.npz", allow_pickle=False) as again:
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, again[name])
    queries = EPOCHS * STEPS
    cells, rewards = arrays["architectures"], arrays["rewards"]
    assert cells.shape == (queries, 2, 14) and cells.dtype == np.int32
    assert rewards.shape == (queries,) and rewards.dtype == np.float32
    assert set(rewards * BATCH) <= set(range(BATCH + 1))
    assert ((cells != ABSENT).sum(-1) == 8).all()
    assert len(np.unique(cells, axis=0)) > 2

    found = (tmp_path / "straight" / "genotype.json").read_text()
    assert found == (tmp_path / "killed" / "genotype.json").read_text()
    best = arrays["candidates"][arrays["accuracies"].argmax()]
    assert genotype.from_json(found) == architecture.to_genotype(best)

    accuracies = json.loads((tmp_path / "straight" / "random_cells.json").read_text())
    assert list(accuracies["random"]) == ["random:0", "random:1"]
    assert accuracies["found"] == arrays["accuracies"].max()

    rows = (tmp_path / "straight" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(row) for row in rows]
    assert [row["queries"] for row in rows] == [STEPS, queries]
    for row in rows:
        so_far = rewards[: row["queries"]]
        assert row["best_reward"] == so_far.max()
        assert row["embedding_accuracy"] == pytest.approx(so_far[-STEPS:].mean())
    report = (tmp_path / "straight" / "report.md").read_text()
    assert "best-so-far" in report and "![Best validation reward so far" in report
    assert strategy in report and f"{arrays['accuracies'].max():.2%}" in report


@pytest.mark.slow
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


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("search.strategy", "annealing", "config.search.strategy: found 'annealing', expected one"),
        ("search.alternation", "batch", "config.search.alternation: found 'batch', expected 'ep"),
        ("evolution.memory", 1, "config.evolution.memory: found 1, expected at least the popul"),
        ("evolution.tournament", 0, "config.evolution.tournament: found 0, expected 1 or more"),
        ("evolution.rank_scale", 0.0, "config.evolution.rank_scale: found 0.0, expected more"),
        ("evolution.train_steps", -1, "config.evolution.train_steps: found -1, expected 0 or"),
        ("reinforce.baseline_decay", 1.0, "config.reinforce.baseline_decay: found 1.0, expected"),
        ("reinforce.learning_rate", -0.1, "config.reinforce.learning_rate: found -0.1, expected"),
        ("final.candidates", 0, "config.final.candidates: found 0, expected 1 or more"),
        ("search.batch_size", 999, "config.search.batch_size: found 999, expected at most the"),
        ("final.batches", 99, "config.final.batches: found 99, expected at most the 4 of the sm"),
    ],
)
def test_bad_values_are_refused_by_name(data, key, value, message):
    config = make_config("evolution")
    config.update_from_flattened_dict({key: value})
    with pytest.raises(InputError) as error:
        check(config)
        check_data(config, data)
    assert str(error.value).startswith(message)
