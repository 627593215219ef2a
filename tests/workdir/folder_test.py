"""The runs that may use a working directory, and the files that overwriting removes."""

import json
import shlex
import sys

import pytest
from ml_collections import ConfigDict

from nge_jax.errors import InputError
from nge_jax.settings.configs import flatten, load_config, to_values
from nge_jax.workdir import environment
from nge_jax.workdir import folder as workdir
from nge_jax.workdir.recorded import read
from tests.helpers.workdirs import begin


def config(**changes):
    base = ConfigDict({"task": "search", "seed": 0, "data": {"name": "digits", "dir": ""}})
    base.run = ConfigDict({"keep_checkpoints": 2})
    base.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return to_values(base)


def finished(path, **changes):
    """Makes a workdir as a run leaves it, with two more files of the user."""
    begin(path, config(**changes), overwrite=False)
    for name in [
        "metrics.jsonl",
        "events.out.tfevents.1.host",
        "genotype.json",
        "cell_normal.svg",
        "notes.txt",
        "events.txt",
    ]:
        (path / name).write_text("{}")
    for name in ["checkpoints/12/state", "checkpoints/13.orbax-checkpoint-tmp"]:
        (path / name).mkdir(parents=True)
    return path


def snapshot(path):
    return {p: p.read_bytes() if p.is_file() else None for p in path.rglob("*")}


@pytest.mark.parametrize("name", ["caf\udce9", "a\nb"])
def test_a_workdir_that_checkpoints_cannot_be_written_to_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"(caf\\xe9|a\\nb), expected a path in UTF-8") as error:
        workdir.check_place(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_new_workdir_records_config_and_environment(tmp_path):
    path = begin(tmp_path / "a" / "b", config(), overwrite=False)
    assert json.loads((path / "config.json").read_text()) == config()
    environment = json.loads((path / "environment.json").read_text())
    assert environment["device_platform"] == "cpu" and environment["device_count"] >= 1
    assert {"python", "jax", "flax", "orbax-checkpoint"} <= environment["versions"].keys()
    assert environment["resumed"] == {} and environment["command"] == shlex.join(sys.argv)


def test_the_same_config_resumes_and_says_so(tmp_path):
    before = snapshot(finished(tmp_path))
    begin(tmp_path, config(data__dir="/elsewhere", run__keep_checkpoints=9), overwrite=False)
    after = snapshot(tmp_path)
    environment = json.loads(after.pop(tmp_path / "environment.json"))
    before.pop(tmp_path / "environment.json")
    assert after == before
    assert environment["resumed"]["1"]["versions"] == environment["versions"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed: workdir has 0, now 1"),
        ({"data__name": "cifar10"}, "data.name: workdir has 'digits', now 'cifar10'"),
    ],
)
def test_another_config_is_refused_with_the_differing_keys(tmp_path, change, message):
    before = snapshot(finished(tmp_path))
    with pytest.raises(InputError) as error:
        begin(tmp_path, config(**change), overwrite=False)
    assert f"({message})" in str(error.value) and "\n" not in str(error.value)
    assert snapshot(tmp_path) == before


def test_a_key_that_is_new_or_gone_differs(tmp_path):
    finished(tmp_path)
    other = config()
    other["sead"] = other.pop("seed")
    with pytest.raises(InputError, match="sead: workdir has 'nothing', now 0; seed: workdir has 0"):
        workdir.check(tmp_path, other, overwrite=False)


@pytest.mark.parametrize("name", ["search_digits", "search_folder"])
def test_a_search_by_the_gradient_goes_on_by_the_word_that_its_refusal_names(name, tmp_path):
    earlier = to_values(load_config(name, "gradient,smoke"))
    workdir.prepare(tmp_path, earlier, overwrite=False)
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    expected = (
        rf"add the word gradient to the config \(NAME:gradient\) and --workdir {tmp_path}, or"
    )
    with pytest.raises(InputError, match=expected):
        workdir.check(tmp_path, to_values(load_config(name, "smoke")), overwrite=False)
    workdir.check(tmp_path, earlier, overwrite=False)
    # The word is refused beside another strategy's, and makes no study.
    others = {**earlier, "seed": 1}, to_values(load_config(name, "random,smoke"))
    study = to_values(load_config(name, "smoke")) | {"study": {"seeds": 1}}
    for other in (*others, study):
        with pytest.raises(InputError, match="give the workdir's values to go on"):
            workdir.check(tmp_path, other, overwrite=False)


def test_overwriting_removes_the_results_and_nothing_else(tmp_path):
    finished(tmp_path)
    (tmp_path / "checkpoints" / "mine").mkdir()
    workdir.check(tmp_path, config(seed=1), overwrite=True)  # only reads
    assert (tmp_path / "checkpoints" / "12").exists()
    begin(tmp_path, config(seed=1), overwrite=True)
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == [
        "checkpoints",
        "checkpoints/mine",
        "config.json",
        "environment.json",
        "events.txt",
        "notes.txt",
    ]
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 1
    assert json.loads((tmp_path / "environment.json").read_text())["resumed"] == {}


@pytest.mark.parametrize(
    "evaluator, is_study", [("trained", False), ("supernet", False), ("supernet", True)]
)
def test_overwriting_removes_trainings_and_networks_of_the_runs_that_leave_them_alone(
    tmp_path, evaluator, is_study
):
    study = {"study": {"seeds": 1}} if is_study else {}
    values = config() | {"search": {"evaluator": evaluator}} | study
    begin(tmp_path, values, overwrite=False)
    networks = {
        f"network/{n}" for n in ("weights.npz", "dataset.json", "genotype.json", "config.json")
    }
    networks.add("network/weights.npz.new")
    trainings = {"recipe.json", "trials/00003-1.npz", "trials/00004-0.npz.new"}
    for name in {"metrics.jsonl", "trials/notes.txt"} | trainings | networks:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    begin(tmp_path, config(seed=1), overwrite=True)
    left = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    kept = trainings if evaluator == "supernet" else set()
    kept |= networks if evaluator == "supernet" and not is_study else set()
    assert left == {"config.json", "environment.json", "trials/notes.txt"} | kept
    assert (tmp_path / "network").exists() == (networks <= kept)


def test_a_workdir_without_results_belongs_to_nobody_yet(tmp_path):
    begin(tmp_path, config(), overwrite=False)
    (tmp_path / "events.out.tfevents.1.host").write_text("")
    (tmp_path / "metrics.jsonl").touch()
    begin(tmp_path, config(seed=1), overwrite=False)
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 1
    assert not (tmp_path / "events.out.tfevents.1.host").exists()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "thesis.tex", "environment.json"])
def test_somebody_elses_directory_is_refused(tmp_path, name, overwrite):
    (tmp_path / name).write_text('{"task": "search"}')
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match="not written by nge_jax"):
        begin(tmp_path, config(), overwrite=overwrite)
    assert snapshot(tmp_path) == before


def test_a_file_and_a_place_out_of_reach_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file is a file, expected a directory"):
        begin(tmp_path / "file", config(), overwrite=True)
    with pytest.raises(InputError, match=r"below cannot be made"):
        begin(tmp_path / "file" / "below", config(), overwrite=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_killed_first_write_does_not_lock_the_directory(tmp_path):
    (tmp_path / "environment.json.new").write_text('{"progr')
    begin(tmp_path, config(), overwrite=False)


def test_a_broken_config_file_is_refused_until_overwritten(tmp_path):
    finished(tmp_path)
    (tmp_path / "config.json").write_text('{"task": ')
    with pytest.raises(InputError, match=r"config\.json cannot be read"):
        workdir.check(tmp_path, config(), overwrite=False)
    begin(tmp_path, config(), overwrite=True)


def test_a_run_of_before_a_key_goes_on_where_the_key_changes_nothing(tmp_path):
    finished(tmp_path)
    workdir.check(tmp_path, config() | {"search": {"relaxation": "softmax"}}, overwrite=False)
    with pytest.raises(InputError, match="search.relaxation: workdir has 'softmax', now 'gumbel'"):
        workdir.check(tmp_path, config() | {"search": {"relaxation": "gumbel"}}, overwrite=False)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_run_of_before_the_channels_were_a_key_goes_on_with_its_own(tmp_path, channels):
    data = {"image_size": 8, "device_budget_gb": 2.0, "pad": 4}
    workdir.prepare(tmp_path, {"task": "train", "data": data}, overwrite=False)
    (tmp_path / "dataset.json").write_text(json.dumps({"shape": [8, 8, channels]}))
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    assert read(tmp_path).data.channels == channels
    values = json.loads((tmp_path / "config.json").read_text())
    now = values | {"data": data | {"channels": channels}}
    workdir.check(tmp_path, now, overwrite=False)
    now = values | {"data": data | {"channels": 4 - channels}}
    message = f"data.channels: workdir has {channels}, now {4 - channels}"
    with pytest.raises(InputError, match=message):
        workdir.check(tmp_path, now, overwrite=False)


OF_0_2 = {  # keys that version 0.1 did not have, with the values for which its runs stand
    "search.space": "darts",
    "search.relaxation": "softmax",
    "search.order": 1,
    "search.stop_on_skips": 0,
    "search.max_skips": 8,
    "search.skip_dropout": 0.0,
    "search.entropy_weight": 0.0,
    "search.warmup": 0.0,
    "search.seeds": [],
    "search.edge_models": [],
    "gumbel.first_temperature": 10.0,
    "gumbel.last_temperature": 0.1,
    "partial.share": 4,
}
LIMITS = {"limits.parameters": 0, "limits.multiply_adds": 0}
OF_0_3 = LIMITS | {  # and keys that version 0.2 did not have
    "data.image_size": 0,
    "limits.weight": 1.0,
    "limits.milliseconds": 0.0,
    "limits.latency_table": "",
    "search.cost_weight": 0.0,
    "search.cost_weights": [],
    "search.evaluator": "supernet",
    "search.keep_best_below": 0.0,
    "search.edge_mutation": 0.0,
    "search.layer_correlation": 0.0,
    "embedding.rate": "absolute",
    "embedding.decay": "coupled",
    "embedding.classifier": "shared",
    "embedding.norm": "none",
    "embedding.start": "random",
    "embedding.residual": "none",
    "evolution.screen": "model",
    "trained.cells": 27,
    "trained.minutes": 0.0,
    "trained.rungs": [3, 9, 27],
    "trained.seeds": 2,
    "search.sources": [],
    "sigmoid.zero_one_weight": 10.0,
    "dirichlet.anchor_weight": 1e-3,
    "concrete.first_temperature": 1.0,
    "concrete.last_temperature": 0.1,
}
SMALL_IMAGES = {"data.alternate_flip": False, "data.image_size": 0}
HELD_OUT = {"data.test_fraction": 0.2, "data.split_seed": 0, "data.skip_damaged": False}
WEIGHTS = {"weights.optimizer": "sgd", "weights.ema": 0.0}
SMALL_DATA = WEIGHTS | {
    "data.trivial_augment": False,
    "train.mixup": 0.0,
    "train.cutmix": 0.0,
    "train.patience": 0,
}
TRAINING = LIMITS | SMALL_DATA | {"init_from": "", "train.class_weights": "none"}


@pytest.mark.parametrize(
    "record, added",
    [
        ({"task": "search", "data": {"name": "digits"}}, OF_0_2 | OF_0_3),
        ({"task": "train", "data": {"name": "cifar10"}}, TRAINING | SMALL_IMAGES),
        ({"task": "train", "data": {"name": "imagenet2012"}}, TRAINING | HELD_OUT),
        ({"task": "segment", "data": {"crop": 9}}, WEIGHTS),
        ({"task": "segment", "run": {"pictures": 9}}, WEIGHTS | {"run.skip_nonfinite": 0, "run.eval_batch_size": 4,
         "run.keep_checkpoints": 2, "run.checkpoint_every_steps": 500, "run.steps_per_dispatch": 1,
         "run.callbacks": []}),
    ],
)  # fmt: skip
def test_a_recorded_config_gets_the_keys_that_it_lacks(tmp_path, record, added):
    (tmp_path / "config.json").write_text(json.dumps(record))
    given = flatten(json.loads(read(tmp_path).to_json()))
    assert given == flatten(record) | added


def test_a_recorded_config_keeps_the_keys_that_it_has(tmp_path):
    record = {
        "task": "search",
        "data": {"name": "folder:x", "split_seed": 7},
        "search": {"space": "nas_bench_201"},
    }
    (tmp_path / "config.json").write_text(json.dumps(record))
    given = flatten(read(tmp_path).to_dict())
    assert flatten(record).items() <= given.items()
    assert given["data.class_fraction"] == 1.0 and "partial.share" not in given


def test_each_start_tells_what_it_took(tmp_path):
    begin(tmp_path, config(), overwrite=False)
    environment.record(tmp_path, compile_seconds=1.5)
    environment.end(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    begin(tmp_path, config(), overwrite=False)
    environment.record(tmp_path, compile_seconds=2.5)
    recorded = json.loads((tmp_path / "environment.json").read_text())
    assert list(recorded)[-1] == "resumed" and recorded["processor"]
    assert recorded["compile_seconds"] == 1.5 and recorded["started"] <= recorded["ended"]
    assert recorded["peak_memory_bytes"] > 1e7
    assert (
        recorded["resumed"]["1"]["compile_seconds"] == 2.5
        and "ended" not in recorded["resumed"]["1"]
    )
    recorded["resumed"] = {"2": {}}  # somebody has edited the file
    (tmp_path / "environment.json").write_text(json.dumps(recorded))
    begin(tmp_path, config(), overwrite=False)
    environment.record(tmp_path, compile_seconds=3.5)
    resumed = json.loads((tmp_path / "environment.json").read_text())["resumed"]
    assert resumed["2"] == {} and resumed["3"]["compile_seconds"] == 3.5
    # A folder without a run gets no file.
    environment.record(tmp_path / "nowhere", compile_seconds=1.0)
    assert not (tmp_path / "nowhere").exists()
