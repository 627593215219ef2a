"""From a folder of images to predictions: search, training, evaluation, and a workdir that knows its data."""

import shutil

import numpy as np
import pytest
from PIL import Image

from nge_jax import cli
from nge_jax.data.photographs import folder as image_folder
from nge_jax.report import search as search_report
from nge_jax.report import train as train_report
from nge_jax.search import images as search_images
from nge_jax.search import runner as search_runner
from nge_jax.settings.checks import check_complete
from nge_jax.settings.configs import flatten, load_config
from nge_jax.space import genotype
from nge_jax.train import images as training_images
from nge_jax.train import runner as train_runner
from nge_jax.train import trained
from tests.helpers.small_training import SMALL, rows

pytestmark = pytest.mark.whole


def stripes(folder, count, turned):
    """Writes photographs of stripes with noise. If `turned`, they are stored on their side, with an orientation tag."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.RandomState(len(str(folder)))
    for index in range(count):
        pixels = np.zeros((32, 32, 3)) + 255 * (np.arange(32) // 4 % 2)[:, None, None]
        pixels = np.roll(pixels, random.randint(8), axis=0) * 0.6 + random.randint(
            0, 60, (32, 32, 3)
        )
        if "vertical" in folder.name:
            pixels = pixels.swapaxes(0, 1)
        exif = Image.Exif()
        if turned:
            pixels = np.rot90(pixels)
            exif[0x0112] = 6
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{turned}{index}.jpg", exif=exif)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    for name in ("horizontal", "vertical"):
        stripes(root / "photos" / name, 20, turned=False)
    (root / "cell.json").write_text(genotype.to_json(SMALL))
    return root


@pytest.fixture(scope="module")
def run(folder):
    """Trains by the command, and returns the workdir."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_report, "write_train_report", lambda *_: None)
        cli.run(command(folder, folder / "photos"))
    return folder / "run"


def command(folder, photos):
    settings = [
        "network.cells=1",
        "train.batch_size=8",
        "train.epochs=12",
        "run.steps_per_dispatch=4",
    ]
    given = [f"genotype={folder / 'cell.json'}", f"--data={photos}", f"--workdir={folder / 'run'}"]
    return ["train", "train_folder:smoke", *settings, *given]


def test_a_photograph_is_called_what_a_viewer_shows(run, folder):
    turned = stripes(folder / "turned" / "vertical", 4, turned=True)
    network = trained.load(run)
    assert network.spec.labels == ("horizontal", "vertical") and network.spec.shape == (32, 32, 3)
    assert rows(run)[-1]["test_accuracy"] == 1 and rows(run)[-1]["test_examples"] == 8
    assert network.predict(sorted(turned.glob("*.jpg"))).labels == ("vertical",) * 4


def refused(capsys, arguments):
    with pytest.raises(SystemExit, match="^2$"):
        cli.run(arguments)
    return capsys.readouterr().err.splitlines()[-1]


def test_labels_never_shift(run, folder, capsys):
    """The network's predictions keep the classes' names when the folder changes."""
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    changed = folder / "changed"
    shutil.copytree(folder / "photos", changed)
    (changed / "vertical").rename(changed / "aaa")
    again, test = command(folder, changed), ["eval", str(run), f"--data={changed}"]
    assert "(aaa instead of vertical)" in refused(capsys, again)
    assert "has the class aaa, expected one of horizontal, vertical" in refused(capsys, test)
    (changed / "aaa").rename(changed / "vertical")
    shutil.copytree(changed / "vertical", changed / "aaa")
    assert "(with aaa)" in refused(capsys, again)
    shutil.rmtree(changed / "aaa")
    shutil.rmtree(changed / "horizontal")
    # Classes that remain in the folder are tested under their names.
    cli.run(test)
    assert "test accuracy: 100.00% of 4 images" in capsys.readouterr().out
    kept = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    assert kept == before


def test_a_folder_may_move(run, folder, capsys, monkeypatch):
    monkeypatch.setattr(train_report, "write_train_report", lambda *_: None)
    shutil.copytree(folder / "photos", folder / "moved")
    cli.run(command(folder, folder / "moved"))
    assert "nothing left to compute" in "".join(capsys.readouterr())


def test_a_search_on_a_folder_streams_and_names_the_command_that_trains(
    folder, capsys, monkeypatch
):
    monkeypatch.setattr(search_report, "write_search_report", lambda *_: None)
    scan, scans = image_folder.scan, []
    monkeypatch.setattr(image_folder, "scan", lambda *a, **k: scans.append(a) or scan(*a, **k))
    settings = [
        "data.device_budget_gb=0.0",
        "search.batch_size=0",
        "network.cells=1",
        "search.epochs=1",
    ]
    path = folder / "search"
    given = [f"--data={folder / 'photos'}", f"--workdir={path}"]
    cli.run(["search", "search_folder:gradient,smoke", *settings, *given])
    printed = capsys.readouterr().out
    assert "chosen by the data: data.channels=3 search.batch_size=4" in printed
    assert printed.count("32 to train, 8 held out by the seed") == len(scans) == 1
    assert f"nge train train_folder genotype={path}/genotype.json data.name=folder:" in printed
    row = rows(path)[-1]
    assert row["step"] == 8 and np.isfinite(row["weight_loss"])
    assert genotype.load(str(path))
    # The training tests on the held-out images.
    config, _ = training_images.resolve(train_config(folder))
    settings = training_images.read_settings(config)
    assert training_images.open_source(settings).drawn == held_out(path)


def test_a_search_on_a_part_of_each_class(folder, capsys, monkeypatch):
    monkeypatch.setattr(search_report, "write_search_report", lambda *_: None)
    path = folder / "search_imagenet"
    cli.run(
        ["search", "search_imagenet:smoke", f"data.name=folder:{folder / 'photos'}"]
        + ["network.cells=1", "search.epochs=1", f"--workdir={path}"]
    )
    printed = capsys.readouterr().out
    assert "16 of the 32 images to train on are used, 0.5 of each class" in printed
    assert f"nge train train_imagenet genotype={path}/genotype.json data.name=folder:" in printed
    assert rows(path)[-1]["step"] == 8 and genotype.load(str(path))


def held_out(path):
    from nge_jax.workdir import artifacts

    return tuple(artifacts.read_json(path / artifacts.DATASET)["held_out"])


def train_config(folder):
    config = load_config("train_folder")
    config.data.name = f"folder:{folder / 'photos'}"
    return config


def test_what_is_left_open_is_chosen_by_the_data(folder):
    config = train_config(folder)
    chosen = flatten(training_images.resolve(config)[0].to_dict())
    given = flatten(config.to_dict())
    changed = {key: chosen[key] for key in given if chosen[key] != given[key]}
    assert changed == {
        "data.image_size": 32,
        "data.channels": 3,
        "train.batch_size": 8,
        "train.epochs": 200,
    }
    assert search_images.resolve(load_config("search_digits")) == (
        load_config("search_digits"),
        None,
    )


def test_summaries_know_own_images(folder):
    for name, runner in (("train_folder", train_runner), ("search_folder", search_runner)):
        config = load_config(name)
        config.data.name = f"folder:{folder / 'photos'}"
        assert "classifier" in runner.summary(config)
        assert check_complete(config, config.task) is None
