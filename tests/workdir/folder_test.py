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
from nge_jax.workdir.recorded import YOUNGER, read
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


def test_a_config_of_before_a_key_is_read_with_it():
    """Every younger key is in a shipped config, with the same value."""
    for task, name in (("search", "search_cifar"), ("train", "train_imagenet")):
        shipped = flatten(to_values(load_config(name)))
        other = {"search": "search_folder", "train": "train_cifar10"}[task]
        shipped = flatten(to_values(load_config(other))) | shipped
        shipped = flatten(to_values(load_config(f"{task}_folder"))) | shipped
        for key, value in YOUNGER[task].items():
            assert shipped[key] == value, key


@pytest.mark.parametrize(
    "record, lacking",
    [
        ({"task": "search", "search": {"warmup": 0.5}}, 12),
        ({"task": "search", "data": {"image_size": 32}}, 15),
        ({"task": "search", "search": {"space": "nas_bench_201"}}, 3),
        ({"task": "train", "data": {"pad": 4}}, 3),
        ({"task": "train", "data": {"image_size": 224, "split_seed": 7}}, 4),
        ({"task": "segment", "data": {"pad": 4}}, 0),
    ],
)
def test_a_recorded_config_gets_the_keys_that_it_lacks_and_keeps_others(tmp_path, record, lacking):
    (tmp_path / "config.json").write_text(json.dumps(record))
    given, recorded = flatten(read(tmp_path).to_dict()), flatten(record)
    assert recorded.items() <= given.items()
    added = {key: value for key, value in given.items() if key not in recorded}
    assert added.items() <= YOUNGER.get(record["task"], {}).items()
    assert len(added) == lacking


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
