"""Limits of a training: the widest network is chosen once, and counted, trained and exported alike."""

import json

import numpy as np
import pytest

from nge_jax.cost import model_cost
from nge_jax.errors import InputError
from nge_jax.export import command as export
from nge_jax.settings import configs
from nge_jax.train import images as training_images
from nge_jax.train import runner as train_runner
from nge_jax.train import trained
from nge_jax.workdir import artifacts
from tests.helpers.small_training import small_config

LIMIT = 5000


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The config and the workdir of a training whose channels the limit has chosen."""
    folder = tmp_path_factory.mktemp("limited")
    changes = {"network.channels": 0, "limits.parameters": LIMIT, "train.epochs": 1}
    config = small_config(folder, **changes)
    train_runner.run(config, folder / "run")
    return config, folder / "run"


def test_the_counted_the_trained_and_the_exported_network_are_one(run, tmp_path):
    _, path = run
    network = trained.load(path)
    counted = model_cost(network.module, network.spec.shape).parameters
    in_checkpoint = sum(leaf.size for leaf in configs.flatten(network.variables["params"]).values())
    export.write(network, tmp_path / "out", ("npz",))
    with np.load(tmp_path / "out" / artifacts.WEIGHTS) as arrays:
        exported = sum(arrays[name].size for name in arrays if name.startswith("params/"))
    assert counted == in_checkpoint == exported <= LIMIT
    ((_, recorded, _),) = artifacts.read_sizes(path)
    assert recorded == counted
    wider = network.config.copy_and_resolve_references()
    wider.network.channels += 1
    model = train_runner.train_model.make_network(
        wider, network.module.genotype, network.spec.kind, len(network.spec.labels)
    )
    assert model_cost(model, network.spec.shape).parameters > LIMIT


def test_the_channels_are_recorded_and_a_later_start_takes_them(run, capsys, monkeypatch):
    config, path = run
    channels = json.loads((path / artifacts.CONFIG).read_text())["network"]["channels"]
    assert channels > 4

    def refuse(*arguments):
        raise AssertionError("a run that goes on chooses nothing")

    monkeypatch.setattr(training_images, "widest", refuse)
    train_runner.run(config, path)
    assert f"as this run began: network.channels={channels}" in capsys.readouterr().out


def test_the_choice_is_said(run, capsys):
    config, _ = training_images.resolve(run[0])
    assert (
        f"chosen by the limits: network.channels={config.network.channels}"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("changes, message", [
    ({"network.channels": 0}, r"config\.network\.channels: found 0, expected 1 or more, or a limit"),
    ({"network.channels": 0, "limits.parameters": 20},
     r"config\.network\.channels: found a network of [\d,]+ parameters .*cells=2 network\.channels=1\).*at most 20"),
    ({"limits.parameters": 20},
     r"config\.genotype: found a network of [\d,]+ parameters .*cells=2 network\.channels=4\), expected at most 20 by "
     r"config\.limits\.parameters"),
    ({"limits.multiply_adds": 21}, r"multiply-adds .* expected at most 21 by config\.limits\.multiply_adds"),
])  # fmt: skip
def test_a_network_beyond_its_limit_is_refused_before_anything_is_written(
    tmp_path, changes, message
):
    config = small_config(tmp_path, **changes)
    with pytest.raises(InputError, match=message):
        train_runner.run(config, tmp_path / "run")
    assert not (tmp_path / "run" / artifacts.CONFIG).exists()


def test_a_users_images_decide_the_widest_network_before_pixels_are_read(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (60, 40, 40, 3), np.uint8)
    np.savez(tmp_path / "mine.npz", images=images, labels=np.arange(60) % 3)
    config = configs.load_config("train_folder")
    changes = {
        "data.name": f"npz:{tmp_path / 'mine.npz'}",
        "network.channels": 0,
        "network.cells": 2,
    }
    config.update_from_flattened_dict({**changes, "limits.parameters": 20_000})
    with monkeypatch.context() as patched:
        patched.delattr(training_images, "_open_resident")
        resolved, opened = training_images.resolve(config)
    assert opened is not None and resolved.network.channels > 1
    source = training_images.open_source(training_images.read_settings(resolved), opened=opened)
    model = train_runner.train_model.make_network(
        resolved, train_runner.genotype.load("DARTS_V2"), source.spec.kind, len(source.spec.labels)
    )
    assert model_cost(model, source.spec.shape).parameters <= 20_000
