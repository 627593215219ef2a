"""ONNX files in smaller numbers: they are smaller, as accurate as printed, and tested by `nge eval`."""

import json
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax import cli
from nge_jax.errors import InputError
from nge_jax.export import command, onnx_file, onnx_graph, small_numbers
from nge_jax.train import trained

onnxruntime = pytest.importorskip("onnxruntime")
NETWORK = "digits:pretrained"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The digits' network in all three numbers, and what the command prints."""
    folder = tmp_path_factory.mktemp("exported") / "network"
    with pytest.MonkeyPatch.context() as patched:
        lines = []
        patched.setattr("builtins.print", lambda *texts, **_: lines.append(" ".join(texts)))
        cli.run(["export", NETWORK, str(folder), "--formats=onnx,onnx_int8,onnx_float16"])
    return folder, lines


def test_graphs_shrink_with_their_numbers():
    weights = np.random.RandomState(0).normal(0, 0.05, (64, 512)).astype(np.float32)

    def function(x):
        x = jnp.einsum("nhwc,cd->nhwd", x.astype(jnp.float32), weights)
        return jax.nn.relu(x).mean((1, 2)) @ weights.T

    model = onnx_graph.convert(function, (4, 4, 64), np.uint8, names=("x", "y"))
    images = np.random.RandomState(1).randint(0, 256, (40, 4, 4, 64)).astype(np.uint8)
    int8, float16 = small_numbers.to_int8(model, images, "x"), small_numbers.to_float16(model)
    kinds = [{one.data_type for one in graph.graph.initializer} for graph in (int8, float16)]
    sizes = [len(graph.SerializeToString()) for graph in (int8, float16)]
    assert sizes[0] < 0.35 * 4 * 2 * weights.size and sizes[1] < 0.55 * 4 * 2 * weights.size, kinds
    expected = np.asarray(function(images))
    for graph, error in ((int8, 0.05), (float16, 0.01)):
        found = onnx_file.logits(onnx_file.open_session(graph.SerializeToString()), images)
        assert np.abs(found - expected).max() < error * np.abs(expected).max()


def test_a_network_whose_numbers_overflow_is_refused():
    model = onnx_graph.convert(
        lambda x: jnp.exp(x.astype(jnp.float32)), (4,), np.uint8, names=("x", "y")
    )
    with pytest.raises(InputError, match="onnx_int8: found NaN or infinity"):
        small_numbers.to_int8(model, np.full((3, 4), 200, np.uint8), "x")


def test_the_accuracy_of_each_form_is_printed(exported):
    _, lines = exported
    rows = [line.split() for line in lines[-3:]]
    assert [row[0] for row in rows] == ["float32", "float16", "int8"]
    accuracies = [float(row[1].removesuffix("%")) for row in rows]
    assert accuracies[0] > 90 and min(accuracies) > accuracies[0] - 3


def test_the_forms_give_nearly_the_same_logits(exported):
    folder, _ = exported
    images = np.random.RandomState(0).randint(0, 256, (5, 8, 8, 1)).astype(np.uint8)
    network = trained.load(NETWORK)
    expected = np.asarray(trained.logits(network.module, network.spec, network.variables, images))
    scale = np.abs(expected).max()
    for name, error in ((command.ONNX, 1e-4), (command.FLOAT16, 0.02), (command.INT8, 0.5)):
        found = onnx_file.logits(onnx_file.open_session(folder / name), images)
        assert found.dtype == np.float32 and np.abs(found - expected).max() < error * scale


def test_an_exported_file_is_tested_on_the_data_of_its_run(exported, capsys):
    folder, lines = exported
    cli.run(["eval", str(folder / command.INT8)])
    tested, took = capsys.readouterr().out.splitlines()[-2:]
    (accuracy,) = re.findall(r"^test accuracy: ([\d.]+%) of \d+ images", tested)
    assert accuracy == lines[-1].split()[1]
    assert re.match(r"time an image: [\d.,]+ ms .*, 1 thread, onnxruntime", took)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json: no such file"),
        (lambda folder: (folder / command.INT8).write_bytes(b"onnx"), "onnxruntime refuses it"),
        (lambda folder: (folder / command.INT8).unlink(), "network_int8.onnx: no such file"),
    ],
)
def test_a_file_without_its_record_is_refused(exported, tmp_path, capsys, change, message):
    folder = tmp_path / "moved"
    shutil.copytree(exported[0], folder)
    change(folder)
    with pytest.raises(SystemExit, match="^2$"):
        cli.run(["eval", str(folder / command.INT8)])
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_images_of_other_classes_are_refused(exported, tmp_path, capsys):
    folder = tmp_path / "moved"
    shutil.copytree(exported[0], folder)
    spec = json.loads((folder / "dataset.json").read_text())
    spec["labels"][0] = "nothing"
    (folder / "dataset.json").write_text(json.dumps(spec))
    with pytest.raises(SystemExit, match="^2$"):
        cli.run(["eval", str(folder / command.INT8)])
    assert "the data has other classes than this network" in capsys.readouterr().err
