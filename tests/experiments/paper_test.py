"""The paper's tables: the runs that they start, the runs that they find finished, and the resulting figures.

A small program stands in for `nge_jax.main`, and a small module for Ray. One test uses the real Ray.
"""

import json
import os
import sys
import types
from itertools import chain

import numpy as np
import pytest

import figure4_cells
import nas_bench_201 as bench_201
import nas_bench_301 as bench_301
import recipes
import strategies
import table1_cifar
import table2_imagenet
import table3_voc
import table4_ablation
from nge_jax.errors import InputError
from nge_jax.settings import checks, configs
from nge_jax.space import genotype
from nge_jax.space.architecture import from_genotype
from nge_jax.space.ratings import nas_bench_301
from nge_jax.space.spaces import DARTS
from nge_jax.strategies.random_search import random_search
from paper import plan, runs, tables
from tests.conftest import ROOT
from tests.helpers.paper_tables import options_of, row_of

# Writes the files of a run, and a line in `started`. Seed 13 fails, and seed 14 does not end by itself. The first run
# that finds a file `lose_worker` kills the parent process.
# The program imports little, because it runs a hundred times.
PROGRAM = """
import json, os, pathlib, shutil, signal, sys, time

here = pathlib.Path(__file__).parent
flags = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[1:])
seed, path = int(flags["config.seed"]), pathlib.Path(flags["workdir"])
path.mkdir(parents=True, exist_ok=True)
with open(path.parents[1] / "started", "a") as file:
    file.write(f"{path.parent.name}/{path.name}\\n")
if seed == 14:
    time.sleep(20)
    (path / "ended").touch()
try:
    (here / "lose_worker").unlink()
except FileNotFoundError:
    pass
else:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(20)
    (path / "ended").touch()
if seed == 13:
    sys.exit("error: config.seed: found 13")
name = flags.get("config.genotype")
metrics = {
    "epoch": 1,
    "seconds": 432.0,
    "embedding_accuracy": 0.4 + 0.1 * seed,
    "entropy_normal": 1.5,
    "entropy_reduction": 1.25,
}
tests = {"test_accuracy": 0.70 + 0.02 * seed, "test_top5_accuracy": 0.9, "test_mean_iou": 0.25}
side = 97 if path.parent.name == "voc" else 32
spec = {"kind": "small", "shape": [side, side, 3], "mean": [0] * 3, "std": [1] * 3, "labels": [*map(str, range(10))]}
network = {"cells": 3, "channels": 4} if name else {}
files = {
    "config.json": {"seed": seed, "network": network},
    "environment.json": {"device_kind": "abacus", "device_count": 2},
    "dataset.json": spec,
    "metrics.jsonl": metrics,
}
for file, value in files.items():
    (path / file).write_text(json.dumps(value) + "\\n")
with open(path / "metrics.jsonl", "a") as file:
    file.write(json.dumps(metrics | {"epoch": 2} | tests) + "\\n")
cell = pathlib.Path(name or f"random:{seed}")
shutil.copy(cell if cell.exists() else here / f"{cell}.json", path / "genotype.json")
if not name:
    shutil.copy(here / "history.npz", path)
(path / "report.html").write_text("done")
"""


@pytest.fixture(autouse=True)
def program(tmp_path, monkeypatch):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    for name in ("DARTS_V2", "random:0", "random:1", "random:2"):
        cell = genotype.to_json(genotype.load(name))
        (tmp_path / f"{name}.json").write_text(cell)
    np.savez(tmp_path / "history.npz", rewards=np.float32([0.2, 0.1, 0.15]))
    monkeypatch.setattr(runs, "MAIN", (sys.executable, "-S", "-I", str(path)))
    monkeypatch.setattr(runs, "POLL_SECONDS", 0.02)


def make(module, out, *arguments, flags=None):
    """Makes a table of seeds 0 and 1. Returns the table's text and the names of the started runs."""
    started = out / "started"
    started.unlink(missing_ok=True)
    arguments = [f"--out={out}", "--scale=smoke", "--seeds=0,1", "--jobs=3", *arguments]
    plan.start(module.main, flags or plan.parser(""), {}, arguments)
    (text,) = [path.read_text() for path in out.glob("*.md")]
    return text, sorted(started.read_text().split()) if started.exists() else []


def test_table4_runs_what_is_missing_and_nothing_twice(tmp_path):
    out = tmp_path / "out"
    text, started = make(table4_ablation, out)
    models = ["nge", "nge_predecessors", "alpha", "plain", "rnn"]
    searches = [f"searches/{model}-{seed}" for model in models for seed in (0, 1)]
    trainings = [f"cifar10/{model}-{seed}-{seed}" for model in models for seed in (0, 1)]
    assert started == sorted(searches + trainings + ["cifar10/random_0-0", "cifar10/random_1-1"])
    found = ["45.00 ± 7.07", "1.500 ± 0.000 / 1.250 ± 0.000", "71.00 ± 1.41", "2"]
    assert row_of(text, "nge") == ["nge", *found, "2.60"]
    assert row_of(text, "rnn") == ["rnn", *found, "–"]
    assert row_of(text, "random cells")[1:] == ["–", "– / –", "71.00 ± 1.41", "2", "–"]
    assert row_of(text, r"nge\_predecessors-1")[1:3] == ["50.00", "1.500 / 1.250"]
    assert make(table4_ablation, out) == (text, [])

    (out / "cifar10" / "plain-1-1" / "report.html").unlink()
    _, started = make(table4_ablation, out, "--table_only")
    assert started == []
    assert make(table4_ablation, out) == (text, ["cifar10/plain-1-1"])


def recipes_flags(*cells):
    flags = plan.parser("")
    flags.add_argument("--cells", type=str)
    flags.set_defaults(cells=list(cells), random=2)
    return flags


def test_two_recipes_are_compared_by_the_ranks_of_cells(tmp_path, monkeypatch):
    several = tmp_path / "several"
    for seed in (0, 1):
        cell = several / f"seed-{seed}" / "genotype.json"
        cell.parent.mkdir(parents=True)
        cell.write_text(genotype.to_json(genotype.load(f"random:{7 + seed}")))
    (several / "config.json").write_text(json.dumps({"search": {"seeds": [0, 1]}}))
    out, named = tmp_path / "out", ["DARTS_V2", str(several), str(several / "seed-0/genotype.json")]
    text, started = make(recipes, out, flags=recipes_flags(*named))
    names = ["DARTS_V2", "several-seed-0", "several-seed-1", "genotype", "random_1", "random_2"]
    trainings = [f"{name}-{seed}" for name in names for seed in (0, 1)]
    assert started == sorted(
        f"{task}/{t}" for task in ("cifar10", "cifar10_fast") for t in trainings
    )
    assert row_of(text, r"DARTS\_V2")[1:] == ["71.00 ± 1.41", "71.00 ± 1.41"]
    assert "none, a recipe gives all cells the same accuracy" in text
    assert row_of(text, "random cells together")[1:] == ["71.00 ± 1.15", "71.00 ± 1.15"]
    assert make(recipes, out, flags=recipes_flags(*named)) == (text, [])

    # The stand-in gives all cells one accuracy. These accuracies rank the cells in opposite orders.
    accuracy = {("cifar10", name): n for n, name in enumerate(names)}
    accuracy |= {("cifar10_fast", name): -n for n, name in enumerate(names)}

    def read(trainings, key):
        return [
            accuracy[t.workdir.parent.name, t.workdir.name.rsplit("-", 1)[0]] for t in trainings
        ]

    monkeypatch.setattr(tables, "results", read)
    text, _ = make(recipes, out, flags=recipes_flags(*named))
    assert "over 6 cells: -1.00 (p =" in text


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (["nowhere"], "nowhere"),
        (["DARTS_V2", "DARTS_V2"], "--cells: found two cells of one name"),
    ],
)
def test_cells_to_compare_recipes_by_are_refused_before_a_run(tmp_path, cells, says):
    with pytest.raises(SystemExit, match="2"):
        make(recipes, tmp_path / "out", flags=recipes_flags(*cells))
    assert not (tmp_path / "out" / "started").exists()


@pytest.mark.whole
def test_tables_1_to_3_share_their_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(table1_cifar, "RANDOM", 1)
    out = tmp_path / "out"
    flags = plan.parser("")
    flags.add_argument("--rates", action="store_true")
    flags.add_argument("--sets", type=plan.some_of(table1_cifar.COLUMNS))
    text, started = make(table1_cifar, out, "--rates", "--sets=cifar10,cifar10_fast", flags=flags)
    names = ["nge-0", "DARTS_V2", "random_0", "DARTS_V2_lr0.025"]
    trainings = [
        f"{task}/{name}-{seed}"
        for task in ("cifar10", "cifar10_fast")
        for name in names
        for seed in (0, 1)
    ]
    assert started == sorted(["searches/nge-0", *trainings])
    sizes = ["3.35 M", "–"]
    cell = row_of(text, r"DARTS\_V2")
    assert cell[:4] == [r"DARTS\_V2", "29.00 ± 1.41", "29.00 ± 1.41", "2"] and cell[5:] == sizes
    assert row_of(text, "nge (our search)")[6] == "0.0200 device-days (abacus)"
    assert row_of(text, "the random cells together")[1:4] == ["29.00 ± 1.41", "29.00 ± 1.41", "2"]
    assert row_of(text, "NGE, the paper's figure")[1:] == [
        "2.60",
        "–",
        "–",
        "–",
        "3.5 M",
        "0.1 device-days (V100)",
    ]

    (out / "table1.md").unlink()
    text, started = make(table2_imagenet, out)
    names = ["nge-0", "DARTS_V2", "random_0"]
    trainings = [f"{name}-{seed}" for name in names for seed in (0, 1)]
    assert started == sorted(f"imagenet/{name}" for name in trainings)
    expected = ["29.00 ± 1.41", "10.00 ± 0.00", "2", "4.7 M", "529.9 M"]
    assert row_of(text, r"DARTS\_V2")[1:] == expected
    assert row_of(text, "NGE, the paper's figure, on ImageNet")[1:3] == ["25.3", "7.9"]

    (out / "table2.md").unlink()
    flags = plan.parser("")
    flags.add_argument("--devkit", default=None)
    text, started = make(table3_voc, out, flags=flags)
    assert started == sorted(f"voc/{name}" for name in trainings)
    assert row_of(text, r"DARTS\_V2")[1:3] == ["25.00 ± 0.00", "2"]
    log = (out / "voc" / "nge-0-1.log").read_text()
    assert log == ""


def test_table3_begins_with_the_backbone_of_table2(tmp_path):
    options = options_of(tmp_path, devkit=None, table_only=True)
    asked = []
    monkey = pytest.MonkeyPatch()
    monkey.setattr(plan, "complete", lambda _, *groups: asked.extend(chain(*groups)))
    with monkey.context():
        table3_voc.main(options)
    monkey.undo()
    for run in asked:
        if run.workdir.parent.name == "voc":
            assert run.settings["init_from"] == str(tmp_path / "imagenet" / run.workdir.name)


def fake_ray(calls):
    """Makes a stand-in for Ray that runs a task when the result is asked for."""

    class Task:
        def __init__(self, function, arguments):
            self.result = lambda: function(*arguments)

    def remote(**options):
        def wrap(function):
            def submit(*arguments):
                calls.append((options, function.__name__))
                return Task(function, arguments)

            return types.SimpleNamespace(remote=submit)

        return wrap

    return types.SimpleNamespace(
        init=lambda **_: None,
        cluster_resources=lambda: {"CPU": 8.0, "GPU": 4.0},
        remote=remote,
        wait=lambda tasks, num_returns: (tasks[-1:], tasks[:-1]),
        get=lambda task: task.result(),
    )


def test_ray_gives_the_same_table(tmp_path, monkeypatch):
    flags = plan.parser("")
    flags.set_defaults(models=["nge", "rnn"])
    here = make(figure4_cells, tmp_path / "here", flags=flags)
    calls = []
    monkeypatch.setitem(sys.modules, "ray", fake_ray(calls))
    by_ray = make(figure4_cells, tmp_path / "ray", "--ray", flags=flags)
    assert by_ray == here and len(here[1]) == 4
    assert calls == [({"num_gpus": 1, "max_retries": 3}, "execute")] * 4
    assert make(figure4_cells, tmp_path / "ray", "--ray", flags=flags) == (here[0], [])
    assert len(calls) == 4


def test_ray_itself_makes_the_run_of_a_lost_worker_again(tmp_path, monkeypatch):
    reason = "ray is not installed: pip install 'nge_jax[ray]'"
    ray = pytest.importorskip("ray", reason=reason)
    folders = ROOT, ROOT / "experiments"  # a worker imports `paper.runs` as the driver does
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, folders)))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    flags = plan.parser("")
    flags.set_defaults(models=["nge"])
    text, started = make(figure4_cells, tmp_path / "here", flags=flags)
    (tmp_path / "lose_worker").touch()
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        again, restarted = make(figure4_cells, tmp_path / "ray", "--ray", flags=flags)
    finally:
        ray.shutdown()
    assert again == text
    assert set(restarted) == set(started) and len(restarted) == len(started) + 1
    assert not list(tmp_path.glob("ray/*/*/ended"))  # the run's first process was killed


def test_without_ray_the_flag_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    with pytest.raises(SystemExit) as refusal:
        make(table4_ablation, tmp_path / "out", "--ray", "--table_only")
    error = capsys.readouterr().err
    assert refusal.value.code == 2 and error.count("\n") == 1
    assert error.startswith("error: --ray: the package ray is not installed")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flag", ["--seeds=0,0", "--seeds=one", "--jobs=0", "--scale=big"])
def test_wrong_flags_are_refused(tmp_path, flag, capsys):
    with pytest.raises(SystemExit) as refusal:
        make(table4_ablation, tmp_path / "out", flag)
    assert refusal.value.code == 2
    assert f"error: argument {flag.split('=')[0]}: " in capsys.readouterr().err


@pytest.mark.parametrize("by_ray", [False, True])
def test_a_failed_run_ends_the_table_with_its_code(tmp_path, monkeypatch, capsys, by_ray):
    monkeypatch.setitem(sys.modules, "ray", fake_ray([]))
    options = options_of(tmp_path / "out")
    # Ray asks for the failing run first.
    seeds = (0, 13) if by_ray else (14, 13)
    wanted = [plan.search(options, "nge", seed) for seed in seeds]
    with pytest.raises(SystemExit) as end:
        runs.complete(wanted, jobs=2, by_ray=by_ray)  # seed 14 would take longer
    assert end.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("error: searches/nge-13 ended with exit code 1: error: config.seed: ")
    assert not (wanted[0].workdir / "ended").exists()


def finished_training(out, cell):
    """Writes a finished search and a finished training of the cell found."""
    search = plan.search(options_of(out), "nge", 0)
    training = plan.training(options_of(out), "cifar10", plan.derived_cell(search), 0)
    for run in (search, training):
        run.workdir.mkdir(parents=True)
        (run.workdir / "config.json").write_text(runs.configuration(run).to_json())
        (run.workdir / "genotype.json").write_text(genotype.to_json(cell))
        (run.workdir / "report.html").write_text("")
    return training


def test_a_finished_run_is_known_by_its_config_and_its_cell(tmp_path):
    cell = genotype.random_genotype(0)
    training = finished_training(tmp_path / "out", cell)
    assert runs.is_finished(training)
    other = training._replace(settings=training.settings | {"seed": 1, "train.epochs": 7})
    with pytest.raises(
        InputError, match=r"seed: workdir has 0, now 1; train.epochs: workdir has 2, now 7"
    ):
        runs.is_finished(other)
    harmless = {"data.dir": "/elsewhere", "run.keep_checkpoints": 9}
    assert runs.is_finished(training._replace(settings=training.settings | harmless))
    assert not runs.is_finished(training._replace(workdir=tmp_path / "nowhere"))

    (tmp_path / "out").rename(tmp_path / "moved")
    options = options_of(tmp_path / "moved")
    search = plan.search(options, "nge", 0)
    moved = plan.training(options, "cifar10", plan.derived_cell(search), 0)
    assert runs.is_finished(moved)
    config = json.loads((moved.workdir / "config.json").read_text())
    del config["train"]["accumulate"]  # a key that is newer than the run
    (moved.workdir / "config.json").write_text(json.dumps(config))
    assert runs.is_finished(moved)
    (search.workdir / "genotype.json").write_text(genotype.to_json(genotype.random_genotype(1)))
    with pytest.raises(InputError, match="genotype: workdir trained another cell than"):
        runs.is_finished(moved)


def test_a_finished_run_has_the_values_that_the_images_chose(tmp_path):
    workdir = tmp_path / "training"
    settings = {"data.name": "npz:few.npz", "genotype": "DARTS_V2", "train.epochs": 20}
    run = runs.Run(workdir, "configs/train_folder.py:", settings)
    config = runs.configuration(run)
    config.update_from_flattened_dict({"data.image_size": 32, "train.batch_size": 64})
    workdir.mkdir()
    (workdir / "config.json").write_text(config.to_json())
    (workdir / "genotype.json").write_text(genotype.to_json(genotype.load("DARTS_V2")))
    (workdir / "report.html").write_text("")
    assert runs.is_finished(run)
    with pytest.raises(InputError, match=r"data.image_size: workdir has 32, now 16"):
        runs.is_finished(run._replace(settings=settings | {"data.image_size": 16}))


@pytest.mark.parametrize("scale", plan.SCALES)
def test_every_run_names_a_config_that_has_its_keys(tmp_path, scale):
    options = options_of(ROOT / "runs" / "x", scale, data_dir=str(tmp_path))
    wanted = [plan.search(options, model, 3) for model in plan.MODELS]
    wanted.append(plan.search(options, "nge", 3, strategies.RANDOM))
    wanted += [
        plan.training(options, task, plan.named_cell("DARTS_V2"), 3)
        for task, (_, words) in plan.TASKS.items()
        if task != "searches" and scale in words
    ]
    for run in wanted:
        base = runs.configuration(run._replace(settings={})).to_dict()
        keys = configs.flatten(base).keys()
        assert run.settings.keys() <= keys, run
        config = runs.configuration(run)
        checks.check_read(configs.flatten(configs.to_values(config)), run.settings, {})
        assert config.seed == 3 and config.data.dir == str(tmp_path)
        assert f"--workdir=runs/x/{run.name}" in runs.command(run)  # from the checkout's root
        assert f"--config={run.config}" in runs.command(run)
    assert runs.configuration(wanted[1]).search.adjacency == "predecessors"
    own = plan.derived_cell(wanted[0])
    assert own == ("nge-3", "runs/x/searches/nge-3/genotype.json")


def test_a_learning_rate_has_a_workdir_of_its_own_unless_it_is_the_scales(tmp_path):
    options, cell = options_of(tmp_path), plan.named_cell("random:7")
    plain = plan.training(options, "cifar10", cell, 0)
    rate = runs.configuration(plain).weights.learning_rate
    assert plan.training(options, "cifar10", cell, 0, rate) == plain
    other = plan.training(options, "cifar10", cell, 0, 0.5)
    assert (plain.workdir.name, other.workdir.name) == ("random_7-0", "random_7_lr0.5-0")
    assert runs.configuration(other).weights.learning_rate == 0.5


def test_strategies_show_the_best_reward_and_the_derived_cells(tmp_path):
    flags = plan.parser("")
    flags.set_defaults(models=["nge", "alpha"])
    text, started = make(strategies, tmp_path / "out", flags=flags)
    names = [f"{kind}{m}" for kind in ("", "reinforce_", "evolution_") for m in ("nge", "alpha")]
    searches = [f"{name}-{seed}" for name in (*names, "random_nge") for seed in (0, 1)]
    assert started == sorted(
        [f"searches/{name}" for name in searches]
        + [f"cifar10/{name}-{name[-1]}" for name in searches]
    )
    assert "| evolution | alpha | 3 | 20.00 ± 0.00 | 71.00 ± 1.41 | 2 |" in text
    assert "| random | – | 3 | 20.00 ± 0.00 | 71.00 ± 1.41 | 2 |" in text
    assert (tmp_path / "out" / "strategies_curves.png").stat().st_size > 10_000


def test_the_surrogate_rates_a_tables_cells_beside_random_ones(tmp_path, monkeypatch):
    """The surrogate guesses 90 percent, and 1 more for each max pool of the normal cell."""

    def guess(architectures):
        return 90 + (architectures[..., 0, :] == 1).sum(-1).astype(np.float32)

    fake = types.SimpleNamespace(accuracies=guess)
    monkeypatch.setattr(nas_bench_301, "load", lambda folder: fake)
    flags = plan.parser("")
    flags.set_defaults(models=["nge"])
    text, _ = make(figure4_cells, tmp_path / "out", f"--surrogate={tmp_path}", flags=flags)
    cells = [genotype.random_genotype(seed) for seed in (0, 1)]
    for seed, cell in enumerate(cells):
        pools, skips = (
            cell.operation_counts("normal")[name] for name in ("max_pool_3x3", "skip_connect")
        )
        row = row_of(text, f"nge-{seed}")
        assert (row[1:3], row[4]) == ([f"{90 + pools:.2f}", "1"], f"{skips:.1f}")
    random = guess(np.stack([from_genotype(genotype.random_genotype(n)) for n in range(1000)]))
    assert row_of(text, "1,000 random cells")[1].startswith(f"{random.mean():.2f} ± ")
    assert "no witness on skip collapse" in text


def test_strategies_are_rated_by_the_surrogate(tmp_path, monkeypatch):
    def guess(architectures):
        return np.full(architectures.shape[:-2], 95, np.float32)

    monkeypatch.setattr(nas_bench_301, "load", lambda _: types.SimpleNamespace(accuracies=guess))
    few = {"random": bench_201.Row(random_search(DARTS), "")}
    monkeypatch.setattr(bench_201, "table_rows", lambda queries, space: few)
    given = ["--surrogate=.", f"--out={tmp_path}", "--seeds=2", "--queries=3"]
    bench_301.main(bench_301.parser().parse_args(given))
    text = (tmp_path / "table.md").read_text()
    assert "| random | 95.00 ± 0.00 |" in text and "(n = 1,000), best 95.00 | 95.00 ± 0.00" in text
    given[-2:] = ["--cells=DARTS_V2,random:0"]
    bench_301.main(bench_301.parser().parse_args(given))
    assert row_of((tmp_path / "table.md").read_text(), r"DARTS\_V2")[1:3] == ["95.00", "1"]


def test_statistics_over_seeds():
    assert [tables.spread(values) for values in ([], [1.0], [1.0, 3.0])] == [
        "–",
        "1.00",
        "2.00 ± 1.41",
    ]
