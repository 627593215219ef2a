"""Limits of a search: the network they hold for, the banner, refusals, and the cells that searches end with."""

import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nge_jax.cost import model_cost
from nge_jax.embedding.model import edge_model
from nge_jax.errors import InputError
from nge_jax.latency.costs import cell_cost, cell_costs, expected_cost
from nge_jax.latency.parts import all_parts, network_shape
from nge_jax.latency.table import read, to_csv
from nge_jax.latency.timing import Timing
from nge_jax.optim import EMBEDDING
from nge_jax.search import build as search_build
from nge_jax.search import images as search_images
from nge_jax.search import runner as search_runner
from nge_jax.search.limits.limits import SearchLimits, find_limits
from nge_jax.search.limits.network import LimitedNetwork, read_limits
from nge_jax.search.steps import strategy as strategy_steps
from nge_jax.settings import keys
from nge_jax.settings.configs import load_config
from nge_jax.space import architecture, genotype
from nge_jax.space.budget import costs as budget_costs
from nge_jax.space.budget import strongest
from nge_jax.space.budget.costs import Budget, CellCosts
from nge_jax.space.budget.relative import relative_costs
from nge_jax.space.spaces import DARTS
from nge_jax.strategies import evolution, reinforce
from nge_jax.strategies import limits as strategy_limits
from nge_jax.strategies.base import run_strategy
from nge_jax.strategies.random_search import random_search
from nge_jax.trials.build import build as build_trials
from nge_jax.trials.ledger import new_ledger
from nge_jax.trials.runner import _begin as begin_trials
from nge_jax.trials.task import Director
from nge_jax.workdir import artifacts
from tests.helpers.budgets import draw_times
from tests.helpers.small_search import make_config, stand_ins

LIMIT = 40_000  # train_digits's network has 20,954 to 155,354 parameters
MILLISECONDS = 4.5  # cells of this network take 3.659 to 7.15 in the drawn table


def limits_of(name, **changes):
    config = load_config(*name.split(":"))
    config.update_from_flattened_dict(changes)
    config, images = search_images.resolve(config)
    data = search_images.load_data(config, images)
    large = search_images.has_large_stem(config)
    return find_limits(config.to_dict(), data.train_images.shape[1:], data.num_classes, large)


def test_without_a_limit_there_is_none():
    assert limits_of("search_digits:gradient,smoke") is None


def test_the_limited_network_is_the_one_that_the_training_builds():
    limits = limits_of("search_digits:gradient,smoke", **{"limits.parameters": LIMIT})
    (network,) = limits.networks
    assert network[:6] == ("train_digits", 3, 16, 10, "small", (8, 8, 1))
    (line,) = limits.describe()
    assert line == (
        "limit: at most 40,000 parameters of the network that train_digits trains (3 cells that begin with 16 "
        "channels, 10 classes, images of 8x8x1); cells have 20,954 to 155,354"
    )
    for seed in range(3):
        cell = genotype.random_genotype(seed)
        counted = limits.budget.costs.count(architecture.from_genotype(cell))
        assert tuple(counted) == model_cost(network.make(cell), (8, 8, 1))
    assert limits.words == {"limits.parameters": LIMIT}


def test_a_limit_that_every_cell_meets_is_said():
    limits = limits_of("search_digits:gradient,smoke", **{"limits.multiply_adds": 10**9})
    (line,) = limits.describe()
    assert line.endswith("so that every cell meets it")


@pytest.mark.parametrize("name, least", [("parameters", "20,954"), ("multiply_adds", "554,496")])
def test_limits_are_shown_with_all_their_digits(name, least):
    with pytest.raises(InputError, match=rf"config\.limits\.{name}: found 9, .* at least {least}"):
        limits_of("search_digits:gradient,smoke", **{f"limits.{name}": 9})
    (line,) = limits_of("search_digits:gradient,smoke", **{f"limits.{name}": 2**31 - 1}).describe()
    assert line.startswith("limit: at most 2,147,483,647 ") and f" cells have {least} to " in line


@pytest.fixture
def table(tmp_path):
    """A table of latencies of the network of train_digits, with the times in it."""
    times = draw_times(0, 3, 16, 10, (8, 8, 1), False)
    file = tmp_path / "device.csv"
    file.write_text(to_csv({part: Timing(time, time, time, 1) for part, time in times.items()}))
    return file, read(file)


def timed(file, milliseconds, **changes):
    given = {"limits.milliseconds": milliseconds, "limits.latency_table": str(file)}
    return limits_of("search_digits:gradient,smoke", **given, **changes)


def test_milliseconds_are_sums_over_the_table(table):
    file, times = table
    limits = timed(file, MILLISECONDS)
    (line,) = limits.describe()
    assert line.startswith(
        f"limit: at most {MILLISECONDS} milliseconds of the network that train_digits trains (3 cells"
    )
    least, most = (
        limits.budget.costs.least(DARTS)[2] / 1e6,
        limits.budget.costs.most(DARTS)[2] / 1e6,
    )
    assert (round(least, 3), round(most, 3)) == (3.659, 7.149)
    assert line.endswith(f"; cells have 3.66 to 7.15 by {file}")
    shape = network_shape(3, 16, 10, (8, 8, 1))
    for seed in range(3):
        cell = genotype.random_genotype(seed)
        counted = limits.budget.costs.count(architecture.from_genotype(cell))
        assert counted[2] / 1e6 == pytest.approx(cell_cost(times, shape, cell), abs=1e-4)
        assert least <= counted[2] / 1e6 <= most
    assert not limits.words, "a training knows no milliseconds"
    assert limits.budget.allows(limits.budget.fallback)


def test_milliseconds_that_no_cell_takes_are_refused_with_the_least(table):
    file, _ = table
    expected = r"limits\.milliseconds: found 0\.000000001, expected at least 3\.66, the fewest"
    with pytest.raises(InputError, match=expected):
        timed(file, 1e-9)
    assert timed(file, 3.66) is not None


def limited_to(given, least):
    """Limits the milliseconds of cells of which every edge's operations take 0 to 6 times `least / 16` nanoseconds."""
    nanoseconds = CellCosts(
        np.array([least]), np.arange(7) * np.full((1, *DARTS.shape), least // 16)
    )
    network = LimitedNetwork("a config", 3, 16, 10, "small", (8, 8, 1), False)
    budget = Budget(nanoseconds, (max(1, round(1e6 * given)),))
    columns = ((network, budget_costs.MILLISECONDS),)
    return SearchLimits((network,), columns, budget, {"milliseconds": given}, {}, "a table")


@pytest.mark.parametrize("least, shown", [
    (1, "0.000001"), (12_345, "0.0124"), (12_345_678, "12.4"), (123_456_789_000, "123,457"), (10**15, "1,000,000,000"),
])  # fmt: skip
@pytest.mark.parametrize("part", [1e-9, 0.123_45, 0.999_999])
def test_limits_of_every_size_are_told_with_three_digits(least, shown, part):
    """A limit is told as it was given. The least is rounded up, and is a limit that a cell meets."""
    given = float(f"{part * least / 1e6:.12g}")
    limits = limited_to(given, least)
    if limits.budget.limits[0] < least:  # a count cannot be smaller than 1
        with pytest.raises(InputError, match=r"milliseconds: found .* at least \S+, the") as error:
            limits.check(8)
        found, expected = re.findall(r"(?:found|at least) ([\d.,]+),", str(error.value))
        assert expected == shown and float(found.replace(",", "")) == given
    limits = limited_to(float(shown.replace(",", "")), least)
    limits.check(8)
    (line,) = limits.describe()
    assert f"at most {shown} milliseconds of" in line and f"cells have {shown} to " in line


def test_limits_that_no_cell_meets_together_are_refused_with_the_least(table):
    """A cell without skip connections takes more time than the least."""
    file, _ = table
    least = math.ceil(timed(file, 100).budget.costs.least(DARTS)[2] / 1e3) / 1e3
    expected = r"limits\.milliseconds: found .* expected at least (\S+), .* config\.search\.max_skips=0 in the network"
    with pytest.raises(InputError, match=expected) as error:
        timed(file, least, **{"search.max_skips": 0})
    shown = float(re.search(r"at least (\S+),", str(error.value))[1])
    budget = timed(file, shown, **{"search.max_skips": 0}).budget
    strengths = np.random.default_rng(0).dirichlet(np.ones(7), (2, 14))
    found = strongest.derive(strengths, DARTS, 0, budget)
    assert budget.allows(strongest.as_architecture(found))


def test_a_table_that_lacks_a_part_is_refused(table):
    file, _ = table
    lines = [line for line in file.read_text().splitlines() if not line.startswith("sep_conv_5x5")]
    file.write_text("\n".join(lines))
    with pytest.raises(
        InputError, match=r"^config\.limits\.latency_table: .* no row sep_conv_5x5 of"
    ):
        timed(file, MILLISECONDS)


def test_a_search_goes_on_by_the_table_that_it_began_with(table, tmp_path):
    file, _ = table
    limits = timed(file, MILLISECONDS)
    (tmp_path / artifacts.LIMITS).write_text(limits.to_json())
    limits.check_begun(tmp_path)
    moved = file.rename(tmp_path / "moved.csv")
    timed(moved, MILLISECONDS).check_begun(tmp_path)
    moved.write_text(
        moved.read_text().replace("sep_conv_5x5,16,16,1,8,8,0.", "sep_conv_5x5,16,16,1,8,8,1.")
    )
    with pytest.raises(
        InputError, match=r"config\.limits\.latency_table: found moved\.csv with other times"
    ):
        timed(moved, MILLISECONDS).check_begun(tmp_path)


def test_a_search_records_the_times_of_its_cell(data, table, tmp_path):
    _, times = table
    shape = network_shape(3, 16, 3, (8, 8, 1))
    parts = {part: times.get(part, 0.02) for part in all_parts(shape)}
    file = tmp_path / "three.csv"
    file.write_text(to_csv({part: Timing(time, time, time, 1) for part, time in parts.items()}))
    costs = cell_costs(parts, shape)
    limit = float(0.8 * costs.least(DARTS)[0] + 0.2 * costs.most(DARTS)[0]) / 1e6
    config = make_config("gradient")
    config.limits.milliseconds, config.limits.latency_table = limit, str(file)
    config.run.random_cells = 0
    with stand_ins(data):
        found = search_runner.run(config, tmp_path / "run")
    sums = artifacts.read_json(tmp_path / "run" / artifacts.LATENCY)["table"]
    assert sums["file"] == "three.csv" and sums["summed"] <= limit
    assert sums["summed"] == pytest.approx(cell_cost(parts, shape, found.genotype), abs=1e-4)
    row = artifacts.read_metrics(tmp_path / "run" / artifacts.METRICS, ())[-1]
    assert sums["expected"] == row["expected_milliseconds"]
    expected = expected_cost(parts, shape, found.probabilities.astype(float))
    assert sums["expected"] == pytest.approx(expected, rel=1e-4)
    command = search_runner.train_command({**config.to_dict()}, tmp_path / "run")
    assert "milliseconds" not in command


def test_cells_rated_by_trainings_are_limited_in_both_networks():
    limits = limits_of("search_digits:smoke", **{"limits.parameters": LIMIT})
    assert [network[:6] for network in limits.networks] == [
        ("train_digits", 3, channels, 10, "small", (8, 8, 1)) for channels in (16, 2)
    ]
    first, second = limits.describe()
    assert "that train_digits trains" in first and first.endswith("20,954 to 155,354")
    assert "that this search trains" in second and second.endswith("so that every cell meets it")
    assert limits.words == {"limits.parameters": LIMIT}
    larger = {"network.channels": 64, "limits.parameters": LIMIT}
    with pytest.raises(InputError, match="any cell in the network that this search trains"):
        limits_of("search_digits:smoke", **larger)


def test_a_users_images_decide_classes_and_sizes(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (60, 40, 40, 3), np.uint8)
    np.savez(tmp_path / "mine.npz", images=images, labels=np.arange(60) % 3)
    changes = {"data.name": f"npz:{tmp_path / 'mine.npz'}", "limits.parameters": 10**6}
    limits = limits_of("search_folder:gradient", **changes)
    assert limits.networks[0][:6] == ("train_folder", 6, 16, 3, "small", (40, 40, 3))
    assert limits.words == {"data.image_size": 40, "limits.parameters": 10**6}
    changes |= {"search.train_config": "train_imagenet", "limits.parameters": 10**7}
    limits = limits_of("search_folder:gradient", **changes)
    assert limits.networks[0][1:6] == (14, 48, 3, "large", (224, 224, 3))


def test_a_training_that_leaves_the_channels_to_the_limits_is_refused(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from nge_jax.settings.configs import load_config\n"
        "def get_config(words=''):\n"
        "    config = load_config('train_digits')\n"
        "    config.network.channels = 0\n"
        "    return config\n"
    )
    changes = {"search.train_config": str(file), "limits.parameters": LIMIT}
    with pytest.raises(InputError, match=r"config\.search\.train_config: .* network\.channels=0"):
        limits_of("search_digits:gradient,smoke", **changes)


def test_limits_are_arguments_of_the_programs():
    for name in ("parameters", "multiply_adds", "milliseconds", "latency_table", "weight"):
        assert not keys.in_program("search", f"limits.{name}")
    structures = set()
    for values in (
        {"limits.parameters": LIMIT},
        {"limits.multiply_adds": 10**6, "limits.weight": 3},
    ):
        costs = relative_costs(limits_of("search_digits:gradient,smoke", **values).budget)
        structures.add(str(jax.tree.map(jax.typeof, costs)))
    assert len(structures) == 1


def test_every_search_of_several_ends_within_the_limit(data, tmp_path):
    """Seeds and edge models in one program; the report and the command tell of the limited network."""
    config = make_config("gradient", edge_models=("nge", "alpha"))
    config.limits.parameters = 26_000
    config.run.random_cells = 0
    least = 20_954 - 7 * (256 + 1)  # three classes in place of ten
    with stand_ins(data):
        found = search_runner.run(config, tmp_path)
    for results in found.of_models.values():
        for result in results.values():
            network, words = read_limits(result.workdir)
            assert network.cost(result.genotype).parameters <= 26_000
            command = search_runner.train_command({**config.to_dict()}, result.workdir)
            assert command.endswith("genotype.json limits.parameters=26000") and words
            first, *_ = search_runner.sizes(result.workdir)
            assert first[1:] == network.cost(result.genotype)
            rows = artifacts.read_metrics(result.workdir / artifacts.METRICS, ())
            assert rows[-1]["expected_parameters"] > least
    record = json.loads((tmp_path / artifacts.LIMITS).read_text())
    assert record["networks"][0]["parameters"] == {"limit": 26_000, "least": least, "most": 153_555}


def budget_of(limit):
    return limits_of("search_digits:gradient,smoke", **{"limits.parameters": limit}).budget


def make_strategy(name, budget):
    model, costs = edge_model("alpha", "printed", DARTS), relative_costs(budget)
    adam = optax.adam(1e-3)
    if name == "evolution":
        classic = evolution.classic(population=2, tournament=2)._replace(proposals=2)
        return evolution.evolution(model, DARTS, adam, classic, costs)
    if name == "reinforce":
        learner = reinforce.reinforce(model, DARTS, adam, reinforce.Settings())
        return strategy_limits.punish(learner, costs, DARTS)
    return random_search(DARTS, costs=costs)


@pytest.mark.parametrize("name", ["evolution", "random"])
def test_strategies_ask_for_cells_within_the_limit(name):
    budget = budget_of(30_000)
    strategy = make_strategy(name, budget)
    history = jax.jit(
        lambda key: run_strategy(strategy, lambda cells: jnp.zeros(len(cells)), 40, key)
    )(jax.random.key(0))
    cells = np.asarray(history.architectures)
    assert budget.allows(cells).all()
    assert len(np.unique(cells, axis=0)) > 20


def test_reinforce_is_told_less_for_a_cell_beyond_the_limit():
    budget = budget_of(30_000)._replace(weight=2.0)
    strategy = make_strategy("reinforce", budget)
    state = strategy.init(jax.random.key(0))
    dear = np.full((1, 2, 14), architecture.ABSENT, np.int32)
    dear[..., [0, 1, 2, 3, 5, 6, 9, 10]] = DARTS.operations.index("sep_conv_5x5")
    excess = budget.costs.count(dear)[0, 0] / 30_000 - 1
    free = np.where(dear == architecture.ABSENT, dear, 1)
    tell = jax.jit(lambda state, cell: strategy.tell(state, cell, jnp.array([0.9])).baseline)
    assert float(tell(state, dear)) == pytest.approx(0.9 - 2 * excess, rel=1e-4)
    assert float(tell(state, free)) == pytest.approx(0.9)


@pytest.mark.parametrize("policy", [True, False])
def test_a_strategy_chooses_among_cells_within_the_limit(policy):
    budget = budget_of(60_000)
    cells = np.array([architecture.from_genotype(genotype.random_genotype(s)) for s in range(30)])
    allowed = budget.allows(cells)
    assert 0 < allowed.sum() < 30
    history = strategy_steps.History(cells, np.where(allowed, 0.1, 0.9) + np.arange(30) / 1000)

    class Searcher:
        def evaluated(self):
            return history

    class State:
        params = {EMBEDDING: Searcher(), "weights": None}
        history = np.random.default_rng(0).dirichlet(np.ones(7), (1, 2, 14))

    chosen, _ = strategy_steps.choose(
        lambda weights, batches, cells: np.zeros(len(cells)),
        State,
        None,
        count=5,
        policy=policy,
        budget=budget,
    )
    assert budget.allows(chosen).all()
    best = np.flatnonzero(allowed)[::-1][:5]
    np.testing.assert_array_equal(chosen[: len(best)], cells[best])
    if policy:
        found = strongest.derive(State.history[-1], DARTS, 8, budget)
        assert (chosen == strongest.as_architecture(found)).all((1, 2)).any()


@pytest.mark.parametrize("name", ["reinforce", "evolution"])
def test_no_cell_beyond_the_limit_is_trained(name, tmp_path):
    config = load_config("search_digits", f"{name},trained,smoke")
    config.trained.cells = 6
    config.limits.parameters = LIMIT
    plan = build_trials(search_build.build(config, search_images.load_data(config)))
    director = Director(plan, tmp_path)
    ledger, searcher = new_ledger(plan.halving), plan.strategy.init(plan.keys().ask)
    for _ in range(4):
        ledger, searcher = director._add_cell(ledger, searcher)
    trained = int(ledger.count)
    counted = plan.search.budget.costs.count(ledger.cells[:trained])[:, 0]
    rated = plan.search.budget.costs.count(ledger.cells[:trained])[:, 2]
    np.testing.assert_array_equal(ledger.parameters[:trained], rated)
    assert (counted <= LIMIT).all() and trained == 4
    assert int(ledger.asked) > trained or name == "evolution"


def test_a_search_by_trainings_of_an_older_version_goes_on(tmp_path):
    config = load_config("search_digits", "random,trained,smoke")
    plan = build_trials(search_build.build(config, search_images.load_data(config)))
    older = json.loads(json.dumps(plan.rating.recipe))
    del older["limits"]
    artifacts.write_json(tmp_path / artifacts.CONFIG, {"run": {}})
    artifacts.write_json(tmp_path / artifacts.RECIPE, older)
    begin_trials(plan, tmp_path, True)
    older["train"]["label_smoothing"] = 0.1
    artifacts.write_json(tmp_path / artifacts.RECIPE, older)
    with pytest.raises(InputError, match="label_smoothing"):
        begin_trials(plan, tmp_path, True)
