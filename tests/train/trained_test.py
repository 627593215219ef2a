"""What a finished training is good for: its best network, evaluation, predictions, export."""

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from nge_jax import export, predict
from nge_jax.data import augment, small
from nge_jax.data import order as data_order
from nge_jax.errors import InputError
from nge_jax.report import run as report_run
from nge_jax.train import runner as train_runner
from nge_jax.train import trained
from tests.small_training import rows, small_config

DIGITS = small.load("digits", test=True)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """Of a training with images held out."""
    folder = tmp_path_factory.mktemp("trained")
    config = small_config(
        folder, **{"data.validation": 142, "train.epochs": 4, "run.keep_checkpoints": 1}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_run, "write_train_report", lambda *_: None)
        train_runner.run(config, folder / "run", overwrite=False)
    return config, folder / "run"


def logits(network, images):
    variables = {"params": network.state.params, "batch_stats": network.state.batch_stats}
    x = augment.normalize(images, network.spec.mean, network.spec.std)
    return np.asarray(jax.jit(lambda v, x: network.model.apply(v, x, train=False)[0])(variables, x))


def test_the_best_checkpoint_stays_beside_the_newest(workdir):
    _, path = workdir
    accuracies = {row["step"]: row["validation_accuracy"] for row in rows(path)}
    best = max(accuracies, key=lambda step: (accuracies[step], step))
    kept = {int(entry.name) for entry in (path / "checkpoints").iterdir()}
    assert kept == {best, max(accuracies)}
    assert trained.load(path).step == max(accuracies)
    network = trained.load(path, trained.BEST)
    assert network.step == best
    held_out, train_half = (data_order.split(1442, 1 - 142 / 1442, 0)[i] for i in (1, 0))
    assert len(held_out) == 142 and not set(held_out) & set(train_half)
    right = (
        logits(network, DIGITS.train_images[held_out]).argmax(1) == DIGITS.train_labels[held_out]
    )
    assert right.mean() == accuracies[best]


def test_without_checkpoints_there_is_neither(workdir, tmp_path):
    for name in ("config.json", "dataset.json", "genotype.json"):
        shutil.copy(workdir[1] / name, tmp_path)
    for choice, message in (
        (trained.NEWEST, "found no newest checkpoint$"),
        (trained.BEST, "found no best checkpoint; only with config.data.validation"),
    ):
        with pytest.raises(InputError, match=message):
            trained.load(tmp_path, choice)
        (tmp_path / "checkpoints").mkdir(exist_ok=True)


def test_evaluating_only_prints_and_writes_nothing(workdir, capsys):
    config, path = workdir
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    result = train_runner.evaluate_only(config, path)
    last = rows(path)[-1]
    assert result._asdict() == {name: last[f"test_{name}"] for name in result._fields}
    assert f"test accuracy: {last['test_accuracy']:.2%} of 355 images" in capsys.readouterr().out
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def test_predictions_of_a_folder(workdir, tmp_path, capsys):
    _, path = workdir
    for index in range(7):
        folder = tmp_path / "images" / str(index % 2)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(DIGITS.test_images[index, ..., 0]).save(folder / f"{index}.png")
    (tmp_path / "images" / "notes.txt").write_text("no image")
    arguments = [f"--workdir={path}", f"--images={tmp_path / 'images'}", "--batch_size=4"]
    predict.main([*arguments, f"--output={tmp_path / 'lines'}"])
    lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    order = [0, 2, 4, 6, 1, 3, 5]
    assert [line["file"] for line in lines] == [f"{i % 2}/{i}.png" for i in order]
    probs = np.asarray(jax.nn.softmax(logits(trained.load(path), DIGITS.test_images[order])))
    for line, expected in zip(lines, probs, strict=True):
        assert line["class"] == expected.argmax() and line["label"] == str(expected.argmax())
        assert line["probability"] == pytest.approx(expected.max(), rel=1e-4)
        assert [guess["class"] for guess in line["top5"]] == np.argsort(-expected)[:5].tolist()
    with pytest.raises(InputError, match="exists, expected a new file"):
        predict.main([*arguments, f"--output={tmp_path / 'lines'}"])
    (tmp_path / "images" / "broken.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"broken\.png cannot be read as an image"):
        predict.main(arguments)


LOADER = """
import sys
import jax, numpy as np
from safetensors.numpy import load_file
folder, images, output = sys.argv[1:]
exported = jax.export.deserialize(open(folder + "/network.stablehlo", "rb").read())
assert exported.platforms == ("cpu", "cuda", "tpu")
weights, images = load_file(folder + "/weights.safetensors"), np.load(images)
np.savez(output, all=exported.call(weights, images), first=exported.call(weights, images[:1]))
assert not [name for name in sys.modules if name.split(".")[0] in ("nge_jax", "flax")]
"""


def test_the_exported_network_gives_the_same_logits_without_this_program(workdir, tmp_path, python):
    _, path = workdir
    arguments = [f"--workdir={path}", f"--output={tmp_path / 'exported'}"]
    export.main(arguments)
    np.save(tmp_path / "images.npy", DIGITS.test_images[:9])
    files = [str(tmp_path / name) for name in ("exported", "images.npy", "logits.npz")]
    done = python("-P", "-c", LOADER, *files)
    assert done.returncode == 0, done.stderr
    found = np.load(files[-1])
    expected = logits(trained.load(path), DIGITS.test_images[:9])
    np.testing.assert_allclose(found["all"], expected, atol=1e-5)
    np.testing.assert_allclose(found["first"], expected[:1], atol=1e-5)
    assert json.loads((tmp_path / "exported" / "dataset.json").read_text())["labels"][3] == "3"
    with pytest.raises(InputError, match="exists, expected a folder without it"):
        export.main(arguments)


def test_a_workdir_of_something_else_is_refused(workdir, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        trained.load(tmp_path)
    (tmp_path / "config.json").write_text('{"task": "search"}')
    with pytest.raises(InputError, match="found the workdir of a search, expected of a training"):
        trained.load(tmp_path)
