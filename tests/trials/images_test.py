"""A search by trials on a user's own images: the lengths that the data choose, photographs, and images in a file."""

import json
from pathlib import Path

import numpy as np
import pytest

from nge_jax.search import images as search_images
from nge_jax.settings.configs import load_config
from nge_jax.trials import runner as trials_runner
from nge_jax.workdir import artifacts
from nge_jax.workdir import folder as workdir


@pytest.mark.parametrize(
    "images, rungs, cells",
    [
        (3, (40,), 36),
        (64, (40,), 36),
        (1000, (31,), 36),
        (5000, (6,), 36),  # as in the study
        (25_000, (2,), 22),
    ],
)
def test_few_images_are_trained_on_for_more_epochs(images, rungs, cells):
    chosen = search_images._choose_trainings(images, (), 0)
    assert chosen == {"trained.rungs": rungs, "trained.cells": cells}
    assert search_images._choose_trainings(images, (2,), 5) == {}


@pytest.fixture
def arrays(tmp_path):
    """Writes two classes of gray images in an .npz file, of which the one is brighter."""
    labels = np.arange(48) % 2
    images = (
        np.random.default_rng(0).integers(0, 200, (48, 16, 16, 1))
        + 50 * labels[:, None, None, None]
    )
    np.savez(tmp_path / "images.npz", images=images.astype(np.uint8), labels=labels)
    return f"npz:{tmp_path / 'images.npz'}"


def make_config(name, **changes):
    config = load_config("search_folder", "smoke")
    config.data.name = name
    config.network.cells = 1
    config.update_from_flattened_dict(changes)
    return config


def run(path, name, **changes):
    """Runs a search; returns its history and the cell."""
    trials_runner.run(make_config(name, **changes), path)
    with np.load(path / artifacts.HISTORY) as history:
        return {**history}, (path / artifacts.GENOTYPE).read_text()


def test_a_run_that_goes_on_keeps_the_rungs_that_the_data_chose(arrays, tmp_path):
    config, images = search_images.resolve(
        make_config(arrays, **{"trained.rungs": (), "trained.cells": 0})
    )
    assert images is not None and tuple(config.trained.rungs) == (40,)
    recorded = json.loads(config.to_json())
    recorded["trained"]["rungs"] = [5, 10]
    path = workdir.prepare(tmp_path / "run", recorded, overwrite=False)
    (path / artifacts.CHECKPOINTS / "1").mkdir(parents=True)
    kept = workdir.begun_with(path, ["trained.rungs", "trained.cells", "data.mean"])
    assert kept == {"trained.rungs": (5, 10), "trained.cells": 36}


@pytest.mark.parametrize("word, other", [("trained", "search"), ("gradient", "trained")])
def test_the_banner_lists_the_choices_that_are_read(arrays, capsys, word, other):
    config = load_config("search_folder", word)
    config.data.name = arrays
    config, _ = search_images.resolve(config)
    told = capsys.readouterr().out.partition("chosen by the data: ")[2].split()
    read = {"search": ["search.batch_size", "search.epochs"], "trained": ["trained.rungs"]}
    names = [name.partition("=")[0] for name in told]
    assert not {*read.pop(other)} & {*names} and {*read.popitem()[1]} <= {*names}
    assert config.search.epochs and config.trained.cells  # the workdir records them all the same


@pytest.mark.whole
def test_images_that_stay_on_the_host_give_the_same_search(arrays, tmp_path):
    (history, cell), (streamed, same) = (
        run(tmp_path / name, arrays, **{"data.device_budget_gb": budget})
        for name, budget in (("device", 2.0), ("host", 0.0))
    )
    assert cell == same
    for name, values in history.items():
        np.testing.assert_array_equal(values, streamed[name])


@pytest.mark.whole
def test_photographs_are_searched_and_the_network_found_is_usable(tfds_dir, tmp_path):
    from nge_jax.train import trained

    path = tmp_path / "run"
    keys = {"data.dir": str(Path(tfds_dir)), "data.image_size": 96, "data.device_budget_gb": 0.0}
    history, _ = run(path, "imagenette/320px-v2", **keys)
    assert np.isfinite(history["ratings"][:, 0]).all()
    network = trained.load(path / "network")
    found = network.predict(np.zeros((2, 96, 96, 3), np.uint8)).probabilities
    assert found.shape == (2, 10)
