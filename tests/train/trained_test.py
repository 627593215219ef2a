"""The uses of a finished training: the best network, evaluation, predictions, export."""

import json
import os
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from nge_jax import cli, main
from nge_jax.data import augment, small
from nge_jax.data import order as data_order
from nge_jax.devices import host_tf
from nge_jax.errors import InputError
from nge_jax.export import command as export
from nge_jax.predict import command as predict
from nge_jax.report import train as train_report
from nge_jax.train import runner as train_runner
from nge_jax.train import trained
from nge_jax.workdir import artifacts
from tests.conftest import ROOT
from tests.helpers.small_training import rows, small_config

DIGITS = small.load("digits", test=True)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """Makes the workdir of a training with held-out images."""
    folder = tmp_path_factory.mktemp("trained")
    config = small_config(
        folder, **{"data.validation": 142, "train.epochs": 4, "run.keep_checkpoints": 1}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_report, "write_train_report", lambda *_: None)
        train_runner.run(config, folder / "run", overwrite=False)
    return config, folder / "run"


def logits(network, images):
    x = augment.normalize(images, network.spec.mean, network.spec.std)
    apply = jax.jit(lambda v, x: network.module.apply(v, x, train=False)[0])
    return np.asarray(apply(network.variables, x))


def test_the_best_checkpoint_stays_beside_the_newest(workdir):
    _, path = workdir
    accuracies = {row["step"]: row["validation_accuracy"] for row in rows(path)}
    best = max(accuracies, key=lambda step: (accuracies[step], step))
    kept = {int(entry.name) for entry in (path / "checkpoints").iterdir()}
    assert kept == {best, max(accuracies)}
    assert trained.load(path).step == max(accuracies)
    network = trained.load(path, trained.BEST)
    assert network.step == best
    assert trained.load(path, str(best)).step == trained.load(path, best).step == best
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
        ("12", "found no 12 checkpoint$|found no checkpoint of step 12, and none of another step$"),
    ):
        with pytest.raises(InputError, match=message):
            trained.load(tmp_path, choice)
        (tmp_path / "checkpoints").mkdir(exist_ok=True)


def test_every_command_names_a_checkpoint_alike(workdir, pictures, tmp_path, capsys):
    path = shutil.copytree(workdir[1], tmp_path / "run")
    newest = rows(path)[-1]["step"]
    earlier = shutil.copytree(path / f"checkpoints/{newest}", path / f"checkpoints/{newest - 1}")
    shutil.rmtree(earlier / "metrics")  # it is not the best
    for name, step in (("newest", newest), (str(newest), newest), (str(newest - 1), newest - 1)):
        cli.run(["eval", str(path), f"--checkpoint={name}"])
        assert capsys.readouterr().out.startswith(f"step {step}\n")
    there = f"expected one of {newest} (newest, best), {newest - 1}"
    for command in ("eval {}", f"predict {{}} {pictures[0]}", f"export {{}} {tmp_path / 'out'}"):
        for name, message in (
            (3, f"{path}/checkpoints: found no checkpoint of step 3, {there}"),
            ("last", "--checkpoint: found 'last', expected newest, best or the number of a step"),
        ):
            with pytest.raises(SystemExit, match="^2$"):
                cli.run([*command.format(path).split(), f"--checkpoint={name}"])
            assert message in capsys.readouterr().err


def test_evaluating_only_prints_and_writes_nothing(workdir, capsys):
    config, path = workdir
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    result = train_runner.evaluate_only(config, path)
    last = rows(path)[-1]
    assert result._asdict() == {name: last[f"test_{name}"] for name in result._fields}
    assert f"test accuracy: {last['test_accuracy']:.2%} of 355 images" in capsys.readouterr().out
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


@pytest.fixture
def pictures(tmp_path):
    """Writes the first seven test images to a folder, and returns their indices in the order of the files' names."""
    for index in range(7):
        folder = tmp_path / "images" / str(index % 2)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(DIGITS.test_images[index, ..., 0]).save(folder / f"{index}.png")
    (tmp_path / "images" / "notes.txt").write_text("no image")
    return tmp_path / "images", [0, 2, 4, 6, 1, 3, 5]


def test_predictions_of_a_folder(workdir, pictures, tmp_path):
    _, path = workdir
    images, order = pictures
    arguments = [f"--workdir={path}", f"--images={images}", "--batch_size=4"]
    predict.main([*arguments, f"--output={tmp_path / 'lines'}"])
    lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert [line["file"] for line in lines] == [f"{i % 2}/{i}.png" for i in order]
    probs = np.asarray(jax.nn.softmax(logits(trained.load(path), DIGITS.test_images[order])))
    for line, expected in zip(lines, probs, strict=True):
        assert line["class"] == expected.argmax() and line["label"] == str(expected.argmax())
        assert line["probability"] == pytest.approx(expected.max(), rel=1e-4)
        assert [guess["class"] for guess in line["top5"]] == np.argsort(-expected)[:5].tolist()
    with pytest.raises(InputError, match="exists and is not overwritten, expected a new name"):
        predict.main([*arguments, f"--output={tmp_path / 'lines'}"])
    with pytest.raises(
        InputError, match=r"^--output: .*none/lines cannot be made \(found no folder"
    ):
        predict.main([*arguments, f"--output={tmp_path / 'none' / 'lines'}"])
    (images / "broken.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"^--images: .*broken\.png cannot be read as an image"):
        predict.main(arguments)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"^--images: found no .jpg, .jpeg, .* file in "):
        predict.main([arguments[0], f"--images={tmp_path / 'empty'}"])


def test_predictions_as_csv_and_their_accuracy_in_folders_of_classes(workdir, tmp_path, capsys):
    _, path = workdir
    for index in range(12):
        folder = tmp_path / "digits" / str(DIGITS.test_labels[index])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(DIGITS.test_images[index, ..., 0]).save(folder / f"{index}.png")
    found = trained.load(path).predict(DIGITS.test_images[:12]).labels
    right = sum(
        label == str(truth) for label, truth in zip(found, DIGITS.test_labels, strict=False)
    )
    arguments = [f"--workdir={path}", f"--images={tmp_path / 'digits'}"]
    predict.main([*arguments, f"--output={tmp_path / 'rows.csv'}"])
    lines = (tmp_path / "rows.csv").read_text().splitlines()
    assert lines[0] == "file,class,label,probability" and len(lines) == 13
    assert lines[1].split(",")[0].startswith(f"{min(DIGITS.test_labels[:12])}/")
    summary = capsys.readouterr().err.splitlines()
    assert summary[0] == f"accuracy: {right / 12:.2%} of 12 images in folders of classes"
    assert sum(int(line.split()[0]) for line in summary[1:]) == 12 - right
    predict.main([*arguments, "--format=csv"])
    assert capsys.readouterr().out.splitlines() == lines
    one = tmp_path / "digits" / str(DIGITS.test_labels[0]) / "0.png"
    predict.main([arguments[0], f"--images={one}"])
    printed = capsys.readouterr()
    assert json.loads(printed.out)["file"] == "0.png" and printed.err == ""


def test_predicting_in_python_gives_what_the_command_does(workdir, pictures, capsys):
    _, path = workdir
    images, order = pictures
    predict.main([f"--workdir={path}", f"--images={images}", "--batch_size=4"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    network = trained.load(path)
    files = [str(images / line["file"]) for line in lines]
    for given in (files, DIGITS.test_images[order], list(DIGITS.test_images[order])):
        found = network.predict(given, batch_size=4)
        assert found.probabilities.shape == (7, 10) and found.probabilities.dtype == np.float32
        assert found.probabilities.max(1).tolist() == [line["probability"] for line in lines]
        assert list(found.labels) == [line["label"] for line in lines]
    one = network.predict(DIGITS.test_images[:1])
    np.testing.assert_allclose(one.probabilities[0], found.probabilities[0], atol=1e-5)
    none = network.predict([])
    assert none.probabilities.shape == (0, 10) and none.labels == ()


def test_a_program_of_64_bits_reads_and_uses_the_same_network(workdir):
    _, path = workdir
    images = DIGITS.test_images[:7]
    expected = trained.load(path).predict(images).probabilities
    with jax.enable_x64(True):
        network = trained.load(path)
        found = network.predict(images).probabilities
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    assert {leaf.dtype.itemsize for leaf in jax.tree.leaves(network.state)} == {4}


@pytest.mark.parametrize("images, message", [
    ("cat.png", r"^images: found 'cat.png', expected a list of files, or uint8 \[N, 8, 8, 1\]"),
    (DIGITS.test_images[0], r"^images: found an image of shape \[8, 1\], expected"),
    (DIGITS.test_images[:2].astype(np.float32), "^images: found an image of float32, expected"),
    (DIGITS.test_images[:2, :4], r"^images: found an image of shape \[4, 8, 1\], expected"),
    (["/no/such.png"], r"^images: /no/such\.png cannot be read as an image \(.*No such file"),
])  # fmt: skip
def test_other_images_are_refused(workdir, images, message):
    network = trained.load(workdir[1])
    with pytest.raises(InputError, match=message) as error:
        network.predict(images)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="found a network that classifies"):
        network.segment(images)


def test_a_reader_that_has_read_enough_ends_the_command_without_a_word(workdir, pictures):
    command = f"{sys.executable} -m nge_jax.predict --workdir={workdir[1]} --images={pictures[0]}"
    done = subprocess.run(
        ["bash", "-c", f"{command} --batch_size=1 | head -1; echo ${{PIPESTATUS[@]}}"],
        cwd=ROOT,
        # The output is line-buffered, so that a later line meets a closed pipe.
        env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    line, status = done.stdout.splitlines()
    assert json.loads(line)["file"] == "0/0.png" and status in ("141 0", "0 0")
    # The command may have ended before the reader has closed the pipe. Then the accuracy follows.
    said = done.stderr.splitlines()
    assert said[0] == "left out: 1 .txt" and (status == "0 0" or len(said) == 1)
    assert "Traceback" not in done.stderr and "Broken pipe" not in done.stderr


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
    weights = export.flat_weights(trained.load(path))
    table = (tmp_path / "exported" / "weights.txt").read_text().splitlines()
    assert [line.split()[1] for line in table[3:-2]] == sorted(weights)
    size = sum(array.size for array in weights.values())
    assert table[-1] == f"Total: {size:,} -- {4 * size:,} bytes"
    with pytest.raises(InputError, match="^--output: .* exists, expected a folder without it"):
        export.main(arguments)
    with pytest.raises(InputError, match=r"^--output: .* exists and is not overwritten"):
        export.main([arguments[0], f"--output={tmp_path / 'images.npy'}"])


def test_a_saved_model_gives_the_same_logits(workdir, tmp_path):
    _, path = workdir
    output = tmp_path / "exported"
    try:
        export.main([f"--workdir={path}", f"--output={output}", "--formats=saved_model"])
    except InputError as error:
        assert not output.exists()
        pytest.skip(str(error))
    assert sorted(file.name for file in output.iterdir()) == ["dataset.json", "saved_model"]
    expected = logits(trained.load(path), DIGITS.test_images[:9])
    model = host_tf.tensorflow().saved_model.load(str(output / "saved_model"))
    for count in (9, 1):
        images = DIGITS.test_images[:count]
        found = model.signatures["serving_default"](images=images)["logits"].numpy()
        np.testing.assert_allclose(found, expected[:count], atol=1e-4)


def test_a_saved_model_that_tensorflow_cannot_read_is_not_kept(workdir, tmp_path, monkeypatch):
    tf = host_tf.tensorflow()

    def load(folder):
        raise tf.errors.InvalidArgumentError(None, None, "failed to deserialize")

    monkeypatch.setattr(tf.saved_model, "load", load)
    _, path = workdir
    with pytest.raises(
        InputError, match="^saved_model: TensorFlow .* cannot read a program of jax"
    ):
        export.main([f"--workdir={path}", f"--output={tmp_path}", "--formats=saved_model"])
    assert not list(tmp_path.iterdir())


def test_onnx_gives_the_same_logits(workdir, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    _, path = workdir
    output = tmp_path / "exported"
    export.main([f"--workdir={path}", f"--output={output}", "--formats=onnx"])
    expected = logits(trained.load(path), DIGITS.test_images[:9])
    session = onnxruntime.InferenceSession(output / "network.onnx")
    for count in (9, 1):
        images = DIGITS.test_images[:count]
        (found,) = session.run(["logits"], {"images": images})
        np.testing.assert_allclose(found, expected[:count], atol=1e-4)
    names = ["config.json", "dataset.json", "network.onnx"]
    assert sorted(file.name for file in output.iterdir()) == names
    export.main([f"--workdir={path}", f"--output={tmp_path / 'plain'}"])
    modes = {oct(file.stat().st_mode & 0o777) for file in (tmp_path / "plain").iterdir()}
    assert len(modes) == 1 and modes == {oct(0o666 & ~current_umask())}
    with pytest.raises(
        InputError, match="^--formats: found 'onx', expected some of stablehlo, onnx"
    ):
        export.main([f"--workdir={path}", f"--output={tmp_path / 'x'}", "--formats=onx"])
    with pytest.raises(InputError, match="network.onnx exists, expected a folder without it"):
        export.main([f"--workdir={path}", f"--output={output}", "--formats=onnx"])


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_folder_of_weights_is_loaded_as_a_workdir_is(workdir, tmp_path):
    _, path = workdir
    output = tmp_path / "small"
    export.main([f"--workdir={path}", f"--output={output}", "--formats=npz"])
    network = trained.load(output)
    expected = trained.load(path).predict(DIGITS.test_images[:9]).probabilities
    found = network.predict(DIGITS.test_images[:9]).probabilities
    np.testing.assert_array_equal(found, expected)
    assert network.spec == trained.load(path).spec
    arrays = dict(np.load(output / "weights.npz"))
    name = next(name for name in arrays if name.endswith("kernel"))
    np.savez(output / "weights.npz", **arrays | {name: np.zeros(3)})
    with pytest.raises(InputError, match=rf"weights.npz: {name}: found \(3,\), expected"):
        trained.load(output)
    (output / "weights.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match="weights.npz: cannot be read"):
        trained.load(output)


def test_the_digits_network_that_comes_with_the_package_knows_digits(capsys):
    network = trained.load("digits:pretrained")
    found = network.predict(DIGITS.test_images, batch_size=355)
    right = np.mean(found.probabilities.argmax(-1) == DIGITS.test_labels)
    cli.run(["eval", "digits:pretrained"])
    assert f"test accuracy: {right:.2%} of 355 images" in capsys.readouterr().out
    assert right > 0.97 and network.spec.labels == tuple("0123456789")
    folder = artifacts.PRETRAINED["digits:pretrained"]
    assert sum(file.stat().st_size for file in folder.iterdir()) < 200_000


def test_a_workdir_of_something_else_is_refused(workdir, tmp_path, capsys):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="no such file"):
            trained.load(path)
    with pytest.raises(
        InputError, match="^checkpoint: found 'last', expected 'newest', 'best' or the"
    ):
        trained.load(workdir[1], "last")
    with pytest.raises(InputError, match="^--checkpoint: found 'last', expected 'newest', 'best'"):
        main.run_task(*workdir, eval_only=True, checkpoint="last")
    (tmp_path / "config.json").write_text('{"task": "search"}')
    with pytest.raises(InputError, match="found the workdir of a search, expected of a training$"):
        trained.load(tmp_path)
    (tmp_path / "config.json").write_text('{"task": "search", "study": {}}')
    network = tmp_path / "network"
    network.mkdir()
    (network / "config.json").write_text("{}")
    there = (
        f"{tmp_path}: found the workdir of a study, expected of a training; {network} has a network"
    )
    with pytest.raises(InputError, match=f"^{re.escape(there)}$"):
        trained.load(tmp_path)
    with pytest.raises(SystemExit, match="^2$"):
        cli.run(["eval", str(tmp_path)])
    assert there in capsys.readouterr().err
