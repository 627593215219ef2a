"""A study from its command to its sentence: what it leaves, killed between trainings, and what it refuses."""

import functools
import json
import re
import shutil
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nge_jax import cli, main
from nge_jax.errors import InputError
from nge_jax.search.limits.limits import find_limits
from nge_jax.settings.configs import differ, flatten, load_config, to_values
from nge_jax.space import architecture, genotype
from nge_jax.space.budget.costs import PARAMETERS
from nge_jax.study import build as study_build
from nge_jax.study import runner, trainings
from nge_jax.study.candidates import find_others, limits_of, list_cells
from nge_jax.study.plan import Candidate
from nge_jax.study.settings import Settings
from nge_jax.study.statistics import compare
from nge_jax.study.trainer import Answers
from nge_jax.train import runner as train_runner
from nge_jax.workdir import artifacts, json_lines, recorded
from nge_jax.workdir import folder as workdir
from tests.helpers.small_search import Killed

SETTINGS = Settings(seeds=2, training_seeds=2, random_cells=2, minutes=0.0, plain=True)
RECIPE = (
    "train.epochs=2",
    "train.warmup_epochs=0",
    "train.images_per_epoch=640",
    "train.batch_size=16",
)
TRAININGS = 2 * (2 * 3 + 2)


def make_config(**changes):
    """A reduction cell in place of three cells."""
    config = load_config("search_digits", "trained,smoke")
    config.network.cells = 1
    config.update_from_flattened_dict(changes)
    return config


def search(config, path):
    """Stands for a search: leaves what a study reads."""
    path.mkdir(parents=True)
    cell = genotype.random_genotype(1000 + config.seed)
    (path / artifacts.GENOTYPE).write_text(cell.to_json())
    (path / artifacts.METRICS).write_text(json.dumps({"epoch": 1, "seconds": 2.5}) + "\n")
    (path / artifacts.REPORT).write_text("a report")


@pytest.fixture(autouse=True)
def searches(monkeypatch):
    """Lists the searches that are made; a stand-in makes them."""
    made = []

    def run(config, path):
        made.append((config.seed, path.name, config.trained.minutes))
        search(config, path)

    monkeypatch.setattr(study_build.search_runner, "run", run)
    return made


def run(path, recipe=RECIPE, settings=SETTINGS, **changes):
    make_plan = functools.partial(
        runner.build, make_config(**changes), recipe, settings, "a search"
    )
    return runner.run(path, make_plan)


def results(path):
    """The lines of the trainings without their times."""
    lines = json_lines.read(path / artifacts.TRAININGS)
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    path = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(study_build.search_runner, "run", search)
        return run(path), path


def test_every_network_is_trained_alike_seed_by_seed(studied):
    result, path = studied
    lines = results(path)
    assert len(lines) == TRAININGS
    kinds = ["found", "random", "random"] * 2 + ["published", "plain"]
    assert [(line["training_seed"], line["kind"]) for line in lines] == [
        (seed, kind) for seed in (0, 1) for kind in kinds
    ]
    assert [line["search"] for line in lines[:8]] == [0, 0, 0, 1, 1, 1, None, None]
    assert {line["epochs"] for line in lines} == {2}
    # Two seeds of a network differ, and so do two cells.
    assert len({line["right"] for line in lines}) > TRAININGS / 2
    assert [(row.title, row.networks, row.trainings) for row in result.rows] == [
        ("cells found", 2, 2), ("random, same cost", 4, 2), ("DARTS_V2", 1, 2), ("plain network", 1, 2),
    ]  # fmt: skip


def test_the_result_is_the_comparison_of_the_answers(studied):
    result, path = studied
    cells = {}
    for line in results(path):
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(line["right"]), np.uint8))[:355]
        assert bits.mean() == pytest.approx(line["accuracy"])
        cells.setdefault((line["kind"], line["search"], line["name"]), []).append(bits)
    found, random = (
        [np.array(bits) for (kind, *_), bits in cells.items() if kind == wanted]
        for wanted in ("found", "random")
    )
    assert result.difference == compare(found, random)
    record = json.loads((path / artifacts.STUDY).read_text())
    assert record["sentence"] == result.difference.sentence()
    assert record["search_seconds"] == {"0": 2.5, "1": 2.5}


def test_the_report_has_the_sentence_and_is_written_again(studied, capsys):
    result, path = studied
    page = (path / artifacts.REPORT).read_text()
    sentence = result.difference.sentence()
    assert sentence[1:] in page and "accuracy_by_size" in page and "search-1" in page
    (path / artifacts.REPORT).unlink()
    cli.run(["report", str(path)])
    assert (path / artifacts.REPORT).read_text() == page
    assert f"report: {path / artifacts.REPORT}" in capsys.readouterr().out


def test_a_study_killed_between_trainings_goes_on_and_ends_like_another(
    studied, tmp_path, monkeypatch, searches, capsys
):
    left = [9]
    append, write_json = json_lines.append, artifacts.write_json

    def append_and_die(file, line):
        append(file, line)
        if left and len(json_lines.read(file)) == left[0]:
            left.pop(0)
            raise Killed

    def die(file, value):
        monkeypatch.setattr(artifacts, "write_json", write_json)
        raise Killed

    monkeypatch.setattr(json_lines, "append", append_and_die)
    path = tmp_path / "killed"
    network = path / artifacts.NETWORK
    monkeypatch.setattr("nge_jax.trials.result.artifacts.write_json", die)
    with pytest.raises(Killed):
        run(path)
    # Killed before the first training's line: half a network, which no command takes.
    assert (network / artifacts.WEIGHTS).exists() and not (network / artifacts.CONFIG).exists()
    assert not (path / artifacts.TRAININGS).exists()
    with pytest.raises(Killed):
        run(path)
    # A process that is killed while it writes leaves half a line.
    with (path / artifacts.TRAININGS).open("a") as file:
        file.write('{"kind": "fou')
    result = run(path)
    assert not left and results(path) == results(studied[1])
    weights, expected = (
        np.load(folder / artifacts.NETWORK / artifacts.WEIGHTS) for folder in (path, studied[1])
    )
    assert {*weights} == {*expected}
    assert all(np.array_equal(weights[name], expected[name]) for name in weights)
    assert result.difference == studied[0].difference
    assert [name for _, name, _ in searches] == ["search-0", "search-1"]
    lines = capsys.readouterr().out.splitlines()
    assert f"next: nge predict {network} IMAGES ..." in lines
    assert max(len(line) for line in lines if str(path) not in line) <= 80
    # It has ended: nothing is searched or trained again. An older version has left no network, and none is missed.
    shutil.rmtree(network)
    assert run(path).difference == result.difference
    out = capsys.readouterr().out
    assert not any(re.match(r" +\d+/16 ", line) for line in out.splitlines())
    assert not network.exists() and "next:" not in out
    assert "nge export" not in (path / artifacts.REPORT).read_text()


def test_the_network_left_is_the_first_training_of_the_first_cell_found(studied, tmp_path, capsys):
    folder, line = studied[1] / artifacts.NETWORK, results(studied[1])[0]
    cell = genotype.random_genotype(1000)
    assert (line["kind"], line["training_seed"]) == ("found", 0)
    assert artifacts.read_genotype(folder / artifacts.GENOTYPE) == cell
    settings = recorded.read(folder)
    assert (settings.train.epochs, settings.genotype) == (2, artifacts.GENOTYPE)
    tested = train_runner.evaluate_only(settings, folder)
    assert (tested.accuracy, tested.examples) == (line["accuracy"], line["images"])
    assert tested.accuracy > 0.15  # above chance, so that other weights have another accuracy

    output = tmp_path / "exported"
    cli.run(["export", str(folder), str(output), "--formats=npz"])
    told = " ".join(capsys.readouterr().out.split())
    assert f": the network, {line['parameters']:,} parameters, as weights.npz" in told
    arrays = np.load(output / artifacts.WEIGHTS)
    exported = sum(arrays[name].size for name in arrays if name.startswith("params/"))
    config = make_config(**{"limits.parameters": 10**9})
    limits = find_limits(to_values(config), (8, 8, 1), 10, False)
    costs = limits.budget.costs.count(architecture.from_genotype(cell))
    limited = costs[limits.columns.index((limits.networks[-1], PARAMETERS))]
    assert exported == line["parameters"] == limited
    page = (studied[1] / artifacts.REPORT).read_text()
    assert f"nge export {studied[1].name}/network {studied[1].name}-exported" in page


def test_a_network_that_diverges_is_not_left_nor_one_of_an_earlier_start(tmp_path, capsys):
    network = tmp_path / artifacts.NETWORK
    network.mkdir()
    for name in (artifacts.WEIGHTS, artifacts.CONFIG):
        (network / name).write_text("an earlier start's")
    answers = Answers(np.ones(3, bool), diverged=True)
    trainer = SimpleNamespace(
        programs=None,
        epochs=1,
        compile=lambda cell: None,
        train=lambda cell, seed: None,
        answers=lambda cell, seed, state: answers,
    )
    first = Candidate("found", "seed 0", 0, genotype.random_genotype(0), 10, 10)
    wanted: Any = [(0, first), (1, first)]
    trainings._train(wanted, wanted, {"found": trainer}, tmp_path)
    assert not network.exists() and len(results(tmp_path)) == 2
    out = " ".join(capsys.readouterr().out.split())
    assert out.count("has diverged") == 2 and out.count("the study leaves no network") == 1


def test_the_test_images_are_read_once_for_each_training(tmp_path, monkeypatch):
    reads = []

    def counted(*arguments):
        study = study_build.build(*arguments)
        source = study.training.source

        def held_out(split, size):
            reads.append(split)
            return source.held_out(split, size)

        training = study.training._replace(source=source._replace(held_out=held_out))
        return study._replace(training=training)

    monkeypatch.setattr(runner, "build", counted)
    run(tmp_path / "study", settings=Settings(1, 1, 2, 0.0, False))
    assert reads == ["test"] * 4


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"settings": SETTINGS._replace(training_seeds=3)}, "study.training_seeds: workdir has 2, now 3"),
        ({"recipe": ("train.epochs=3", *RECIPE[1:])}, "recipe.train.epochs: workdir has 2, now 3"),
        ({"trained.cells": 4}, "trained.cells: workdir has 3, now 4"),
    ],
)  # fmt: skip
def test_a_changed_setting_is_refused_by_its_key(studied, changed, message):
    before = results(studied[1])
    with pytest.raises(InputError, match=f"holds another study or run .*{message}"):
        run(studied[1], **changed)
    assert results(studied[1]) == before


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"search.seeds": (0, 1)}, r"config.search.seeds: .* study.seeds=3 makes three searches"),
        ({"search.train_config": "search_digits"}, "config.search.train_config: found search_digits"),
        ({"recipe": ("genotype=DARTS_V1",)}, "recipe.genotype: found a value, expected none"),
        ({"recipe": ("train.epoch=1",)}, "recipe.train.epoch: no such key in train_digits.py, did you mean train."),
        ({"recipe": (RECIPE[0], "train.warmup_epochs=2")}, "recipe.train.warmup_epochs: found 2"),
        ({"recipe": (*RECIPE, "limits.parameters=9")}, "recipe.limits.parameters: found 9, expected at least 300, the"),
        ({"recipe": (*RECIPE, "limits.parameters=2000")}, "found 2000, expected limits.parameters=2000 or less, too"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused_before_any_compute(tmp_path, searches, changed, message):
    with pytest.raises(InputError, match=message):
        run(tmp_path / "study", **changed)
    assert not searches and not (tmp_path / "study").exists()


def test_every_network_that_is_trained_keeps_the_limits_of_the_recipe(
    tmp_path, monkeypatch, searches, capsys
):
    """The search's seed 1 stands for a cell of 829,696 multiply-adds. DARTS_V2 has more than the limit."""
    monkeypatch.setattr(
        trainings, "_train", lambda missing, *rest: pytest.skip(json.dumps(missing))
    )
    config = load_config("search_digits", "gradient,smoke")
    config.update_from_flattened_dict({"seed": 1, "limits.multiply_adds": 830_000})
    recipe = (*RECIPE, "limits.multiply_adds=830000")
    settings = Settings(seeds=1, training_seeds=1, random_cells=2, minutes=0.0, plain=False)
    make_plan = functools.partial(runner.build, config, recipe, settings, "a search")
    with pytest.raises(pytest.skip.Exception) as skipped:
        runner.run(tmp_path / "study", make_plan)
    wanted = [Candidate(*fields) for _, fields in json.loads(str(skipped.value))]
    assert [network.kind for network in wanted] == ["found", "random", "random"]
    assert max(network.multiply_adds for network in wanted) <= 830_000
    out = " ".join(capsys.readouterr().out.split())
    assert [seed for seed, *_ in searches] == [1]
    assert "trainings: 3, each" in out
    left_out = (
        "left out: DARTS_V2, 836,096 multiply-adds, beyond recipe.limits.multiply_adds=830000"
    )
    assert out.count("left out: ") == 1 and left_out in out


@pytest.mark.parametrize(("name", "channels"), [("search_folder", 16), ("search_digits", 4)])
def test_a_user_gets_the_network_of_the_recipe(tmp_path, name, channels):
    config = load_config(name, "smoke")
    differ(config, {"network.channels": 4})
    if name == "search_folder":
        images, labels = np.zeros([40, 16, 16, 3], np.uint8), np.arange(40) % 2
        images[:, 0, 0, 0] = np.arange(40)
        np.savez(tmp_path / "few.npz", images=images, labels=labels)
        differ(config, {"data.name": f"npz:{tmp_path / 'few.npz'}"})
    recipe, _ = study_build._make_recipe(flatten(config.to_dict()), ())
    assert recipe.network.channels == channels


@functools.cache
def plan():
    return study_build.build(make_config(), RECIPE, SETTINGS, "a search")


def limited(**limits):
    """The plan with limits of the recipe."""
    training = plan().training
    return plan()._replace(
        training=training._replace(settings={**training.settings, "limits": limits})
    )


@pytest.mark.parametrize(
    "limit, plain, others, left_out",
    [
        (10**9, True, ", of DARTS_V2 and of a plain network", []),
        (200, True, ", of a plain network", ["DARTS_V2"]),
        (200, False, "", ["DARTS_V2"]),
        (9, True, "", ["DARTS_V2", "the narrowest plain network"]),
    ],
)
def test_what_is_left_out_is_not_counted(limit, plain, others, left_out):
    """The time is divided among the trainings that are counted here."""
    study = limited(parameters=limit)
    text = " ".join(runner._describe(study._replace(settings=SETTINGS._replace(plain=plain))))
    count = (others.count("of ") + 2 * 3) * 2
    assert f"trainings: {count}, each" in text
    assert f"of 2 random cells of its cost{others} " in text
    assert re.findall("left out: ([^,]+), .*? parameters, beyond", text) == left_out


def test_a_cell_found_beyond_a_limit_of_the_recipe_is_refused_before_the_first_training():
    training = limited(parameters=775).training
    message = "seed 3: found a network of 776 parameters, beyond recipe.limits.parameters=775"
    with pytest.raises(InputError, match=message):
        list_cells({3: genotype.random_genotype(0)}, training, 1)


@pytest.mark.parametrize("begun", ["searches", "trainings"])
def test_a_study_that_began_without_keeping_limits_goes_on_so(tmp_path, capsys, begun):
    """The limit is refused where nothing has begun; the other one holds for all cells, and a line is beyond it."""
    limit = "limits.parameters=9" if begun == "searches" else "limits.parameters=100000"
    study = study_build.build(make_config(), (*RECIPE, limit), SETTINGS, "a search")
    assert bool(study.refusal) == (begun == "searches")
    path = workdir.prepare(tmp_path / "study", study.values, overwrite=False)
    if study.refusal:
        with pytest.raises(
            InputError, match="recipe.limits.parameters: found 9, expected at least"
        ):
            runner._as_begun(study, path)
        search(make_config(), path / "search-0")
    else:
        assert runner._as_begun(study, path) is study
        json_lines.append(path / artifacts.TRAININGS, {"parameters": 100_001})
    began = runner._as_begun(study, path)
    assert "goes on without them" in " ".join(capsys.readouterr().out.split())
    assert limits_of(study.training) and not limits_of(began.training)
    assert find_others(began.training, plain=True) == (("published", "plain"), [])


def test_a_set_without_test_images_is_refused(monkeypatch, tmp_path):
    open_source = study_build.training_images.open_source

    def without_test(*arguments, **options):
        source = open_source(*arguments, **options)
        return source._replace(examples=source.examples | {"test": 0})

    monkeypatch.setattr(study_build.training_images, "open_source", without_test)
    with pytest.raises(InputError, match="config.data.name: digits has no test images, expected"):
        run(tmp_path / "study")


def test_a_time_is_kept_by_fewer_trainings_and_the_choice_holds(tmp_path, monkeypatch, searches):
    settings = Settings(1, 3, 5, 1.0, True)
    epochs = 40
    monkeypatch.setattr(trainings.Trainer, "time_an_epoch", lambda *_: 0.1)
    trained = []
    monkeypatch.setattr(trainings, "_train", lambda missing, *rest: trained.append(missing))
    monkeypatch.setattr(runner, "report", lambda path: path)
    monkeypatch.setattr(runner, "read_result", lambda path: pytest.skip("nothing is trained"))
    recipe = (f"train.epochs={epochs}", *RECIPE[1:])
    with pytest.raises(pytest.skip.Exception):
        run(tmp_path / "study", recipe, settings)
    # The search has 40 % of a minute; the trainings have what is left, at most 57.5 s.
    assert searches == [(0, "search-0", 0.4)]
    assert 2 * 5 <= len(trained[0]) <= 57.5 / (epochs * 0.1 * 1.15)
    length = json.loads((tmp_path / "study" / artifacts.STUDY_LENGTH).read_text())
    assert length["epochs"] == epochs and length["random_cells"] < 5
    monkeypatch.setattr(trainings.Trainer, "time_an_epoch", lambda *_: 1e-6)
    with pytest.raises(pytest.skip.Exception):
        run(tmp_path / "study", recipe, settings)
    assert trained[1] == trained[0]


def test_the_command_runs_a_study(monkeypatch):
    calls = []
    monkeypatch.setattr(main, "run_study", lambda *given, **more: calls.append((*given, more)))
    cli.run(["study", "search_digits:trained", "study.seeds=2", "recipe.train.epochs=3", "seed=4"])
    ((path, name, given),) = calls
    assert str(path) == "runs/study-search_digits-trained" and name == "search_digits:trained"
    assert given["config"].seed == 4 and given["settings"].seeds == 2
    assert given["recipe_keys"] == ("train.epochs=3",)
    with pytest.raises(SystemExit, match="2"):
        cli.run(["study", "train_digits"])
