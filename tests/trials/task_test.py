"""A search by trials: what it asks, tells and keeps; killed and resumed it ends like another; its network is usable."""

import json
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import nge_jax as nge
from nge_jax.errors import InputError, Preempted
from nge_jax.report import run as report_run
from nge_jax.report import trials as trials_report
from nge_jax.report.document import Caution
from nge_jax.report.pareto.front import undominated
from nge_jax.runtime import task as run_task
from nge_jax.search import build as search_build
from nge_jax.search import checks as search_checks
from nge_jax.search import images as search_images
from nge_jax.search import runner as search_runner
from nge_jax.settings import configs, keys
from nge_jax.settings.configs import load_config
from nge_jax.space import architecture, genotype
from nge_jax.space.spaces import DARTS
from nge_jax.strategies.base import Strategy
from nge_jax.train import trained
from nge_jax.trials import runner as trials_runner
from nge_jax.trials import state as trial_state
from nge_jax.trials.build import build, rebuild
from nge_jax.trials.ledger import new_ledger
from nge_jax.trials.result import TrialsResult
from nge_jax.trials.task import Director
from nge_jax.workdir import artifacts, removal
from tests.helpers.small_search import result
from tests.helpers.small_trials import make_config, run


def make_plan(**changes):
    config = make_config(**changes)
    return build(search_build.build(config, search_images.load_data(config)))


def another(value, key):
    """Another value that a key allows."""
    if isinstance(value, bool):
        return not value
    tried = (2 * value, value // 2, value / 2, 1, key.allowed.least)
    kind = type(key.default)
    return next(kind(v) for v in tried if kind(v) != value and key.allowed.allow(kind(v)))


@pytest.mark.parametrize("strategy", ["evolution", "random"])
def test_what_a_search_by_trainings_does_not_read_changes_nothing(strategy):
    chosen = {"search.strategy": strategy}
    values = configs.flatten(configs.to_values(make_config(**chosen)))
    unread, rows = keys.unread(values), keys.keys_of(values)
    assert {"search.epochs", "search.batch_size", "weights.momentum", "data.pad"} <= {*unread}
    assert not {"search.images_per_epoch", "trained.cells", "final.candidates"} & {*unread}
    words = {
        "search.edge_model": "alpha", "search.adjacency": "predecessors", "embedding.rate": "matched",
        "embedding.classifier": "per_edge", "embedding.norm": "center", "embedding.start": "uniform",
        "embedding.residual": "free", "evolution.screen": "ridge",
    }  # fmt: skip
    changes = {n: words[n] if n in words else another(values[n], rows[n]) for n in unread}
    first, second = (
        (plan.halving, plan.minutes, plan.rating.recipe, plan.rating.arguments, [*plan.half],
         plan.strategy.probs(plan.strategy.init(plan.keys().ask)).tolist())
        for plan in (make_plan(**chosen), make_plan(**chosen, **changes))
    )  # fmt: skip
    assert first == second


def test_the_batch_of_a_supernet_refuses_no_images_of_trainings():
    config = load_config("search_digits")
    config.data.train_fraction = 0.004  # six images train a cell, two fewer than search.batch_size
    data = search_images.load_data(config)
    search_checks.check_data(config, data)
    config.search.images_per_epoch = 5
    search_checks.check_data(config, data)
    config.search.images_per_epoch = 7
    with pytest.raises(InputError, match=r"images_per_epoch: found 7, .* from 1 to the 6 images"):
        search_checks.check_data(config, data)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    path = tmp_path_factory.mktemp("trials")
    return run(path), path


def test_the_search_leaves_the_files_of_a_search(searched):
    found, path = searched
    assert artifacts.read_genotype(path / artifacts.GENOTYPE) == found.genotype
    history = artifacts.read_history(path / artifacts.HISTORY)
    assert len(history.rewards) == 3 and np.isfinite(history.rewards).all()
    assert history.accuracies.max() == pytest.approx(np.mean(found.accuracies))
    rows = [json.loads(line) for line in (path / artifacts.METRICS).read_text().splitlines()]
    assert [(row["cell"], row["train_seed"], row["trained_epochs"]) for row in rows[:4]] == [
        (0, 0, 2), (1, 0, 2), (2, 0, 2), (rows[3]["cell"], 0, 4),
    ]  # fmt: skip
    # The cell that went on is the best of the first rung, and is trained again.
    assert rows[3]["cell"] == history.rewards.argmax() == rows[-1]["cell"]
    assert rows[-1]["train_seed"] == 1 and rows[-1]["trained_epochs"] == 4
    # The training of the cell found alone is of use.
    kept = {entry.name for entry in (path / artifacts.TRIALS).iterdir()}
    assert kept == {f"{rows[-1]['cell']:05d}-1.npz"}
    page = (path / artifacts.REPORT).read_text()
    pareto = json.loads((path / artifacts.PARETO).read_text())
    sizes = np.load(path / artifacts.HISTORY)["parameters"]
    assert [*pareto] == [f"cell_{n}" for n in undominated(sizes, history.rewards)]
    for name, cell in pareto.items():
        number = int(name.removeprefix("cell_"))
        found = genotype.load(f"{path / artifacts.PARETO}:{name}")
        np.testing.assert_array_equal(
            architecture.from_genotype(found), history.architectures[number]
        )
        assert cell["parameters"] == sizes[number]
        assert f"{artifacts.PARETO}:{name}" in page
    assert "Do the ratings agree?" in page and "Finalists" in page


def test_overwriting_leaves_nothing_of_the_search(searched, tmp_path):
    shutil.copytree(searched[1], tmp_path / "copy")
    removal.remove_results(tmp_path / "copy")
    left = {entry.name for entry in (tmp_path / "copy").rglob("*")}
    assert left == {artifacts.CONFIG, artifacts.ENVIRONMENT, artifacts.CHECKPOINTS}


@pytest.mark.parametrize(
    "killed_after",
    # In a cell's first training, and in a kept training that goes on; after ratings, and in a finalist's training.
    [(1, 14), pytest.param((3, 4, 12, 16, 19), marks=pytest.mark.whole)],
)
def test_a_search_that_was_killed_ends_bit_for_bit_like_another(searched, tmp_path, killed_after):
    path = tmp_path / "killed"
    assert run(path, killed_after).accuracies == searched[0].accuracies
    assert result(path) == result(searched[1])
    for name in (artifacts.HISTORY, "network/weights.npz"):
        found, expected = np.load(path / name), np.load(searched[1] / name)
        assert {*found} == {*expected}
        for array in found:
            np.testing.assert_array_equal(found[array], expected[array])


def test_the_network_of_the_cell_found_predicts_as_it_was_rated(searched):
    found, path = searched
    network = trained.load(path / "network")
    assert network.module.genotype == found.genotype
    plan = make_plan()
    source = plan.rating.training.source
    images, labels = (
        np.concatenate(parts)
        for parts in zip(
            *((x[m], y[m]) for x, y, m in source.held_out("validation", 128)), strict=True
        )
    )
    right = network.predict(images).probabilities.argmax(-1) == labels
    assert right.mean() == pytest.approx(found.accuracies[0])


def test_the_recipe_is_the_trainings_at_each_rungs_length():
    plan: Any = make_plan(**{"trained.rungs": (2, 4)})
    assert [arguments.rate.steps for arguments in plan.rating.arguments] == [2 * 2, 4 * 2]
    recipe = load_config("train_digits")
    assert plan.rating.arguments[0].rate.peak == recipe.weights.learning_rate
    assert (
        plan.rating.recipe["network"]["channels"] == 2
        and plan.rating.recipe["network"]["cells"] == 1
    )
    assert plan.rating.recipe["data"]["cutout"] == recipe.data.cutout == 0
    assert plan.rating.training.source.examples == {"train": 721, "validation": 721, "test": 0}


def scripted(cells):
    """Makes a strategy that asks for the next of the cells after each tell, and the list of what it is told."""
    told = []

    def tell(state, asked, rewards):
        jax.debug.callback(lambda a, r: told.append((a[0].tolist(), float(r[0]))), asked, rewards)
        return state + 1

    def ask(state, key):
        return jnp.asarray(cells)[state][None]

    uniform = architecture.uniform(DARTS)
    strategy = Strategy(1, lambda key: np.int32(0), ask, tell, lambda state: uniform, "scripted")
    return told, strategy


def exchanged(cell):
    """Exchanges the first two inner nodes of a normal cell whose first nodes read the inputs."""
    pairs = cell.normal
    later = [(name, {2: 3, 3: 2}.get(source, source)) for name, source in pairs[4:]]
    return cell._replace(normal=(*pairs[2:4], *pairs[:2], *later))


def test_a_cell_that_equals_a_known_one_is_told_and_not_trained(tmp_path):
    cell, other = genotype.load("DARTS_V2"), genotype.random_genotype(0)
    cells = [architecture.from_genotype(c) for c in (cell, exchanged(cell), other)]
    told, strategy = scripted(cells)
    director = Director(make_plan()._replace(strategy=strategy), tmp_path)
    ledger, searcher = director._add_cell(new_ledger(director.plan.halving), np.int32(0))
    assert told == [] and int(ledger.count) == 1
    ledger = ledger._replace(ratings=np.full_like(ledger.ratings, 0.75))
    ledger, searcher = director._add_cell(ledger, searcher)
    jax.effects_barrier()
    assert told == [(cells[0].tolist(), 0.75), (cells[1].tolist(), 0.75)]
    assert cells[0].tolist() != cells[1].tolist()
    assert int(ledger.count) == 2 and int(ledger.asked) == 4
    np.testing.assert_array_equal(ledger.cells[1], cells[2])


def test_no_cell_is_asked_for_when_the_rest_would_take_too_long(tmp_path):
    plan = make_plan(**{"trained.cells": 100, "trained.minutes": 1.0, "trained.seeds": 0})
    director = Director(plan, tmp_path)
    # An epoch takes a second. Of 17 cells, five go on: 17 * 2 + 5 * 2 = 44 seconds; of 24 cells eight: 64 seconds.
    ledger = new_ledger(plan.halving)

    def may_ask(count):
        return director._may_ask(
            ledger._replace(count=np.int32(count), seconds=np.float32(2 * count))
        )

    assert may_ask(16) and may_ask(21) and not may_ask(23)


def test_a_kept_training_of_another_network_is_refused(tmp_path):
    path = trial_state.place(tmp_path, 3, 0)
    three: Any = (np.ones(3, np.float32),)
    four: Any = (np.zeros(4, np.float32),)
    with pytest.raises(InputError, match=r"00003-0.npz: expected a cell's training, found"):
        trial_state.kept(path, three)
    trial_state.keep(path, three)
    np.testing.assert_array_equal(trial_state.kept(path, three)[0], np.ones(3))
    with pytest.raises(InputError, match=r"found \(3,\), expected \(4,\)"):
        trial_state.kept(path, four)


def test_a_training_is_removed_when_no_checkpoint_leads_to_it(tmp_path):
    collector, checkpoints = trial_state.Collector(tmp_path), tmp_path / artifacts.CHECKPOINTS
    for trial in range(3):
        trial_state.keep(trial_state.place(tmp_path, trial, 0), ())

    def left(needed, step, *steps):
        for entry in checkpoints.glob("*"):
            entry.rmdir()
        for entry in (*map(str, steps), "9.damaged", "9.orbax-checkpoint-tmp-1"):
            (checkpoints / entry).mkdir(parents=True)
        collector.collect(needed, step)
        return sorted(int(path.name[:5]) for path in (tmp_path / artifacts.TRIALS).iterdir())

    assert left({(0, 0), (1, 0)}, 10) == [
        0,
        1,
        2,
    ]  # the run begins anew where there is no checkpoint
    assert left({(0, 0)}, 20, 9, 10) == [0, 1, 2]
    assert left({(0, 0)}, 30, 10, 20) == [0, 1]
    assert left({(0, 0), (1, 0)}, 40, 20, 30) == [0, 1]  # a run that goes on from before
    assert left({(0, 0)}, 50, 30, 40) == [0, 1]
    assert left({(0, 0)}, 60, 50, 60) == [0]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"search.strategy": "gradient"}, "config.search.strategy: found 'gradient', expected a strategy that asks"),
        ({"trained.rungs": (9, 3)}, r"config.trained.rungs: found \(9, 3\), expected ascending numbers"),
        ({"search.train_config": "search_digits"}, "config.search.train_config: .* expected the config of a training"),
    ],
)  # fmt: skip
def test_a_wrong_config_is_refused_before_any_compute(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        trials_runner.run(make_config(**changes), tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


def uniform(space, numbers, edge_model):
    return nge.random_search(space)


NAME = f"{__name__}:uniform"


@pytest.mark.whole
def test_one_entry_takes_parts_and_callbacks_as_values(tmp_path):
    rows = []
    config = make_config(**{"trained.cells": 2, "trained.seeds": 0})

    def search(**hooks):
        watch = nge.Callback(**hooks)
        return nge.search.run(config, tmp_path / "run", strategy=uniform, callbacks=[watch])

    with pytest.raises(Preempted):
        search(on_epoch=lambda row, state: rows.append(row) or True)
    assert len(rows) == 1
    found = search(on_epoch=lambda row, state: rows.append(row), on_end=rows.append)
    assert isinstance(found, nge.trials.TrialsResult) and rows[-1] is found
    recorded = json.loads((tmp_path / "run/config.json").read_text())
    assert recorded["search"]["strategy"] == NAME


@pytest.mark.parametrize(
    "evaluator, runner", [("supernet", search_runner), ("trained", trials_runner)]
)
def test_the_evaluator_decides_how_one_entry_searches(monkeypatch, evaluator, runner):
    def begin(kind, config, path, *, overwrite, given):
        return kind, config.search.strategy, [*given.parts], given.callbacks

    monkeypatch.setattr(run_task, "run", begin)
    watch, config = nge.Callback(on_end=print), make_config(**{"search.evaluator": evaluator})
    found = nge.search.run(config, "nowhere", strategy=uniform, callbacks=[watch])
    assert found == (runner.KIND, NAME, [NAME], [watch])


def test_evolution_is_guided_by_an_edge_model_given_as_a_value():
    def half(space, numbers, head):
        return head(lambda key: [], lambda x, theta: x / 2)

    config, parts = configs.with_parts(make_config(), {"edge_model": half})
    config = configs.complete(config, parts)
    data = search_images.load_data(config, None)
    plan = build(search_build.build(config, data, parts))
    assert plan.strategy.name == "evolution" and plan.search.learner.name == "task_test:half"
    # A worker of Ray's does not know the value, and trains cells as the search does.
    assert rebuild(plan.search.settings, data).rating.recipe == plan.rating.recipe


def test_a_part_without_a_meaning_is_refused(tmp_path):
    with pytest.raises(
        InputError, match="^config.search.relaxation: found 'sigmoid', expected 'softmax' with"
    ):
        nge.search.run(make_config(), tmp_path / "run", relaxation="sigmoid")


def test_the_end_and_the_report_tell_of_a_cell_of_one_operation(
    searched, tmp_path, capsys, monkeypatch
):
    path = tmp_path / "copy"
    shutil.copytree(searched[1], path)
    pairs = [("sep_conv_3x3", 0), ("sep_conv_3x3", 1)] * 4
    cells = genotype.Genotype(pairs, (2, 3, 4, 5), pairs, (2, 3, 4, 5))
    (path / artifacts.GENOTYPE).write_text(cells.to_json())
    found = TrialsResult(cells, (0.5,), np.zeros(0), path)
    monkeypatch.setattr(trials_runner, "conclude", lambda *_: found)
    plan: Any = None
    assert trials_runner._conclude(plan, plan, path) == found
    told = " ".join(capsys.readouterr().out.split())
    # Drawing takes most of a report's time.
    for name in ("_ratings_section", "_pareto_sections"):
        monkeypatch.setattr(trials_report, name, lambda *_: ())
    monkeypatch.setattr(report_run, "write", lambda *given: given[-1][0])
    section = trials_report.write_trials_report(path, [], "nge train")
    cautions = [block.text for block in section.blocks if isinstance(block, Caution)]
    for kind in DARTS.cell_types:
        line = f"sep_conv_3x3 takes 8 of the 8 edges of the {kind} cell."
        assert line in told and line in cautions
