"""Segmentation: the step compared with plain arithmetic, the runner, resuming, the backbone, test and predictions."""

import io
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict
from PIL import Image
from sklearn.metrics import confusion_matrix

from nge_jax.data import augment
from nge_jax.data import spec as dataset_spec
from nge_jax.data.photographs.batches import MEAN, STD
from nge_jax.data.spec import LARGE, MASKS, DatasetSpec
from nge_jax.data.voc_segmentation import batches as voc
from nge_jax.data.voc_segmentation import devkit
from nge_jax.devices import parallel
from nge_jax.errors import InputError
from nge_jax.export import command
from nge_jax.networks.deeplab import deeplab_network
from nge_jax.optim import sgd_numbers
from nge_jax.predict import command as predict
from nge_jax.report import train as train_report
from nge_jax.runtime import checkpoint
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.segment import build as segment_build
from nge_jax.segment import evaluate as segment_evaluate
from nge_jax.segment import pictures
from nge_jax.segment import runner as segment_runner
from nge_jax.segment import step as segment_step
from nge_jax.segment import task as segment_task
from nge_jax.space import genotype
from nge_jax.train import model as train_model
from nge_jax.train import step as train_step
from nge_jax.train import trained
from nge_jax.train.arguments import make_optimizer
from tests.helpers.devkits import write_devkit
from tests.helpers.events import read_events
from tests.helpers.small_segmentation import small_config
from tests.helpers.small_training import SMALL, arrays, make_config, rows

NAMES = ("ground", "cell wall", "kern", "nowhere")  # a folder's own classes
SPEC = DatasetSpec(MASKS, (33, 33, 3), MEAN, STD, devkit.CLASSES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds a VOCdevkit (7 images to train on, 3 to test on), a second one with other classes in `own`, and `imagenet`.

    A second devkit, in `own`, lists other classes than VOC's.
    """
    folder = tmp_path_factory.mktemp("segment")
    write_devkit(folder)
    (folder / "own").mkdir()
    root, _ = write_devkit(folder / "own")
    (root / "labels.txt").write_text("\n".join(NAMES) + "\n")
    config = make_config("train_imagenet", "smoke")
    config.network.cells = 2
    path = folder / "imagenet"
    spec = DatasetSpec(LARGE, (32, 32, 3), MEAN, STD, ("a", "b", "c"))
    model = train_model.make_network(config, SMALL, spec.kind, len(spec.labels))
    optimizer = make_optimizer(sgd_numbers(config.weights), optax.constant_schedule(0.0))
    random = np.random.RandomState(0)
    state = jax.tree.map(
        lambda a: np.asarray(abs(random.standard_normal(a.shape)), a.dtype),
        train_step.state_shapes(model, optimizer, spec.shape),
    )
    with Checkpoints(path / "checkpoints", 1) as checkpoints:
        checkpoints.save(5, state)
    (path / "config.json").write_text(config.to_json())
    (path / "genotype.json").write_text(genotype.to_json(SMALL))
    (path / "dataset.json").write_text(dataset_spec.to_json(spec))
    return folder


@pytest.fixture(scope="module")
def finished(folder):
    """Makes the config and workdir of a finished run on classes other than VOC's, begun with a trained backbone."""
    devkit = str(folder / "own")
    changes = {"data.devkit": devkit, "weights.ema": 0.9}
    config = small_config(folder, init_from=str(folder / "imagenet"), **changes)
    segment_runner.run(config, folder / "run", overwrite=False)
    return config, folder / "run"


@pytest.mark.whole
def test_other_numbers_are_given_to_the_same_program(folder, tmp_path):
    numbers = {
        "train.steps": 8,
        "weights.learning_rate": 0.1,
        "weights.momentum": 0.8,
        "weights.weight_decay": 1e-3,
        "weights.clip_norm": 1.0,
    }
    texts = []
    for changes in ({}, numbers):
        config = small_config(folder, **{"data.devkit": str(folder / "own")}, **changes)
        source = segment_build.open_source(config)
        segmentation = segment_build.build(config, source, SMALL)
        task = segment_task.make_task(segmentation, tmp_path, None)
        batches, _, _ = next(task.batches(0, "", [(0, 1)], task.state))
        ((_, program, _, _),) = task.phases
        texts.append(program.lower(task.state, batches, task.key, 0, 1).as_text())
    assert texts[0] == texts[1]


def test_a_run_trains_tests_and_reports(finished):
    config, path = finished
    record = rows(path)
    assert [(row["epoch"], row["step"]) for row in record] == [(1, 3), (2, 6), (3, 7)]
    assert record[-1]["learning_rate"] == pytest.approx(0.007 * (1 / 7) ** 0.9)
    assert record[-1]["test_examples"] == 3 and "test_mean_iou" not in record[0]
    network = trained.load(path)
    assert network.step == 7 and network.spec.shape == (49, 49, 3)
    assert network.spec.labels == NAMES
    names = [f"test_iou_{name}" for name in NAMES[:3]]
    assert [key for key in record[-1] if key.startswith("test_iou")] == names
    mean = np.mean([record[-1][name] for name in names])
    assert record[-1]["test_mean_iou"] == pytest.approx(mean)
    text = (path / "report.md").read_text()
    assert f"| mean | {record[-1]['test_mean_iou']:.2%} |" in text
    assert "| nowhere | absent |" in text and "![" in text and "(examples.png)" in text
    with Image.open(path / "examples.png") as picture:
        assert picture.size[0] == 1600
    ((step, (width, height, png)),) = read_events(path)["examples/2007_000007"]
    with Image.open(io.BytesIO(png)) as picture:
        assert step == 7 and picture.size == (int(width), int(height)) == (
            4 * 33 + 3 * pictures.GAP,
            31,
        )


def logits(network, images):
    variables = {"params": network.state.params, "batch_stats": network.state.batch_stats}
    x = augment.normalize(images, network.spec.mean, network.spec.std)
    return np.asarray(
        jax.jit(lambda v, x: network.module.apply(v, x, train=False)[0])(variables, x)
    )


def test_the_test_counts_as_scikit_learn_does(finished, monkeypatch):
    config, path = finished
    network = trained.load(path)
    leaves = jax.tree.leaves(network.state.params["head"]["classifier"])
    (bias,) = (leaf for leaf in leaves if leaf.shape == (4,))
    bias += np.where(np.arange(4) < 3, 0, -100)  # makes some predictions right
    monkeypatch.setattr(trained, "load", lambda *_: network)
    found = segment_runner.evaluate_only(config, path).iou
    masks, predictions = [], []
    for batch in voc.test_batches(voc.load(config.data.devkit), 2, 49):
        masks.append(batch.masks)
        predictions.append(logits(network, batch.images).argmax(-1))
    masks, predictions = np.concatenate(masks), np.concatenate(predictions)
    labeled = masks != devkit.IGNORE
    matrix = confusion_matrix(masks[labeled], predictions[labeled], labels=range(3))
    right = matrix.diagonal()
    iou = right / (matrix.sum(0) + matrix.sum(1) - right)
    assert found.pixels == labeled.sum() and iou.max() > 0.1
    assert found.per_class[3:] == (None,)
    # Another program of the same network may round differently, which may change a pixel's class.
    np.testing.assert_allclose(found.per_class[:3], iou, atol=0.002)
    assert found.mean == pytest.approx(iou.mean(), abs=0.002)


def test_a_resumed_run_ends_bit_for_bit_alike_without_what_it_began_with(
    finished, monkeypatch, tmp_path
):
    config, whole = finished
    save = checkpoint.Checkpoints.save

    def save_and_stop(self, step, *args):
        save(self, step, *args)
        if step == 4:  # after the first step of the second epoch
            self.wait()
            raise KeyboardInterrupt

    monkeypatch.setattr(train_report, "write_train_report", lambda *_, **__: None)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint.Checkpoints, "save", save_and_stop)
        segment_runner.run(config, tmp_path / "parts", overwrite=False)
    monkeypatch.setattr(trained, "load", None)  # the reader of init_from
    segment_runner.run(config, tmp_path / "parts", overwrite=False)
    monkeypatch.undo()
    expected, found = arrays(whole)[0], arrays(tmp_path / "parts")[0]
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert rows(tmp_path / "parts") == rows(whole)


def test_a_run_begins_with_the_classifiers_backbone_and_its_own_head(folder, capsys):
    config = small_config(folder, init_from=str(folder / "imagenet"))
    plan = segment_build.build(config, segment_build.open_source(config), SMALL)
    backbone = segment_runner._begin(plan, folder / "new", False)
    fresh = segment_task.make_task(plan, folder / "new", None).state
    assert "restored" not in capsys.readouterr().out
    state = segment_task.make_task(plan, folder / "new", backbone).state
    out = capsys.readouterr().out
    assert "restored" in out and "(cells, stem); left behind" in out and "(head)" in out
    saved = trained.load(folder / "imagenet").state
    for collection in ("params", "batch_stats"):
        begun, old, new = (getattr(s, collection) for s in (state, saved, fresh))
        for module in ("stem", "cells"):
            jax.tree.map(np.testing.assert_array_equal, begun[module], old[module])
        jax.tree.map(np.testing.assert_array_equal, begun["head"], new["head"])
    assert int(state.step) == 0


def test_testing_alone_on_classes_in_another_order_finds_the_same_and_writes_nothing(
    finished, tmp_path, capsys
):
    config, path = finished
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    root, masks = write_devkit(tmp_path)
    (root / "labels.txt").write_text("\n".join(NAMES[number] for number in (2, 0, 1)))
    numbers = np.array([1, 2, 0, *range(3, 256)], np.uint8)
    for name in sorted(masks)[7:]:
        labels = numbers[masks[name]]
        Image.fromarray(labels).save(root / f"SegmentationClass/{name}.png")
    config = ConfigDict(config.to_dict())
    config.data.devkit = str(tmp_path)
    result = segment_runner.evaluate_only(config, path)
    assert result.iou.mean == rows(path)[-1]["test_mean_iou"]
    assert "over 3 of 4 classes" in capsys.readouterr().out
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    shapes = {example.name: example.image.shape for example in result.shown}
    assert shapes == {f"2007_{n:06d}": (24 + n, 40 - n, 3) for n in (7, 8, 9)}


def test_a_run_does_not_go_on_with_other_classes(finished, tmp_path):
    config, path = finished
    root, _ = write_devkit(tmp_path)
    config = ConfigDict(config.to_dict())
    config.data.devkit = str(tmp_path)
    before = (path / "dataset.json").read_text()
    for names, message in (
        (NAMES[::-1], "in another order"),
        ((*NAMES[:3], "sky"), "sky instead of nowhere"),
        (NAMES[:3], "without nowhere"),
    ):
        (root / "labels.txt").write_text("\n".join(names))
        with pytest.raises(InputError, match=f"other classes than this network .{message}"):
            segment_runner.run(config, path)
    assert (path / "dataset.json").read_text() == before


def test_the_summary_counts_a_folders_own_classes(folder):
    config = small_config(folder, **{"data.devkit": str(folder / "own")})
    assert segment_build.count_classes(config.data.devkit) == len(NAMES)
    assert segment_build.count_classes(str(folder / "VOCdevkit")) == len(devkit.CLASSES)


@pytest.mark.parametrize("names", [["a", "b"], ["a", "a", "b"]], ids=["missing", "twice"])
def test_an_image_that_is_missing_or_comes_twice_is_a_bug(names):
    batches = [
        voc.TestBatch(
            np.zeros((1, 2, 2, 3), np.uint8),
            np.zeros((1, 2, 2), np.uint8),
            [name],
            np.array([[2, 2]]),
        )
        for name in names
    ]

    def score(params, batch_stats, images, masks):
        return np.zeros((21, 21), np.int32), None

    state = train_step.TrainState(0, {}, {}, (), None)
    with pytest.raises(AssertionError, match="of 3"):
        segment_evaluate.evaluate(score, state, batches, 3, 0)


def some_batch():
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (8, 17, 17, 3)).astype(np.uint8)
    masks = random.randint(0, 21, (8, 17, 17)).astype(np.uint8)
    masks[1:3] = devkit.IGNORE  # gives the micro-batches different numbers of labeled pixels
    masks[3:6, :9] = devkit.IGNORE
    return images, masks


def small_model(**options):
    return deeplab_network(SMALL, cells=1, channels=4, width=4, rates=(1,), dropout=0.5, **options)


def make_phase(model, optimizer, accumulate=1):
    step = segment_step.make_segment_step(
        model, optimizer, SPEC, accumulate=accumulate, steps_per_epoch=2
    )
    row = lambda batches, i: (batches[0][i], batches[1][i])  # noqa: E731
    return parallel.on_all_devices(parallel.make_phase(step, row), (0, 0))


@pytest.mark.whole
def test_a_step_descends_the_mean_over_all_labeled_pixels_of_its_micro_batches():
    images, masks = some_batch()
    model = small_model()
    key = jax.random.key(3)
    state = train_step.init_state(model, optax.sgd(0.1), jax.random.key(0), (17, 17, 3))
    keys = jax.random.split(jax.random.fold_in(key, 0), 8)

    @jax.jit
    @partial(jax.grad, has_aux=True)
    def gradient(params, batch_stats, images, masks, keys):
        x = (images / 255 - np.array(MEAN)) / np.array(STD)
        variables = {"params": params, "batch_stats": batch_stats}
        (logits, _), updated = model.apply(
            variables, x.astype(jnp.float32), train=True, head_keys=keys, mutable="batch_stats"
        )
        losses = -jnp.log(jax.nn.softmax(logits))
        chosen = jnp.take_along_axis(losses, masks[..., None] % 21, -1)[..., 0]
        loss = jnp.where(masks == devkit.IGNORE, 0, chosen).sum()
        return loss, (updated["batch_stats"], loss, (logits.argmax(-1) == masks).sum())

    batch_stats, total, loss, right = state.batch_stats, None, 0.0, 0
    for part in np.split(np.arange(8), 4):  # each micro-batch has separate batch statistics
        masks_of = masks[part].astype(np.int32)
        grad, (batch_stats, more, correct) = gradient(
            state.params, batch_stats, images[part], masks_of, keys[part]
        )
        total = grad if total is None else jax.tree.map(jnp.add, total, grad)
        loss, right = loss + float(more), right + int(correct)
    labeled = int((masks != devkit.IGNORE).sum())
    expected = jax.tree.map(lambda p, g: p - 0.1 * g / labeled, state.params, total)

    phase = make_phase(model, optax.sgd(0.1), accumulate=4)
    after = phase(state, (images[None, None], masks[None, None]), key, 0, 1)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), after.params, expected)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), after.batch_stats, batch_stats)
    assert after.sums.count == labeled and after.sums.correct == right
    assert after.sums.loss == pytest.approx(loss, rel=1e-4)


def run_two_steps():
    """Returns the state's leaves after two steps on any number of devices, with batch statistics over all devices."""
    model = small_model(bn_axis_name=parallel.AXIS)
    optimizer = optax.sgd(0.1)
    phase = make_phase(model, optimizer)
    state = train_step.init_state(model, optimizer, jax.random.key(0), (17, 17, 3))
    devices = jax.local_device_count()
    batches = [
        np.stack([a, a[::-1]]).reshape(2, devices, -1, *a.shape[1:]).swapaxes(0, 1)
        for a in some_batch()
    ]
    state = phase(state, tuple(batches), jax.random.key(3), 0, 2)
    return [np.asarray(leaf) for leaf in jax.tree.leaves((state.params, state.sums))]


@pytest.mark.whole
def test_two_devices_train_like_one(python, tmp_path):
    program = f"""
import jax, numpy
from tests.segment import runner_test
assert jax.local_device_count() == 2
numpy.savez({str(tmp_path / "leaves.npz")!r}, *runner_test.run_two_steps())
"""
    result = python("-c", program, devices=2)
    assert result.returncode == 0, result.stderr
    found, expected = np.load(tmp_path / "leaves.npz"), run_two_steps()
    assert len(found.files) == len(expected)
    for index, leaf in enumerate(expected):
        np.testing.assert_allclose(found[f"arr_{index}"], leaf, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("key, value, message", [
    ("data.crop", 32, "config.data.crop: found 32, expected a multiple of the output stride 16, plus 1"),
    ("data.test_size", 500, r"config.data.test_size: found 500, .*such as 497"),
    ("data.test_size", 17, r"config.data.test_size: found 17, expected \d\d or more for the image 2007"),
    ("network.output_stride", 4, "config.network.output_stride: found 4, expected one of 8, 16, 32"),
    ("network.rates", (2, 2), r"config.network.rates: found \(2, 2\), expected different numbers"),
    ("network.rates", (0, 2), "config.network.rates"),
    ("network.channels", 1, "config.network.channels: found 1, expected 2 or more"),
    ("network.dropout", 1.0, "config.network.dropout: found 1.0"),
    ("train.steps", 0, "config.train.steps: found 0, expected 1 or more"),
    ("train.batch_size", 8, "config.train.batch_size: found 8, expected no more than the 7 images"),
    ("train.batch_size", 1, "config.train.batch_size: found 1, expected 2 or more images"),
    ("train.accumulate", 2, "config.train.accumulate: found 2, expected 2 or more images"),
    ("init_from", "nowhere", "config.init_from: nowhere/config.json: no such file"),
    ("init_from", "run", "config.init_from: found this run's own workdir"),
    ("network.channels", 6, "config.init_from: .* arrays in .*imagenet do not fit"),
    ("genotype", "DARTS_V2", "config.init_from: .* is another cell than config.genotype"),
])  # fmt: skip
def test_bad_input_is_refused_before_anything_is_written(folder, tmp_path, key, value, message):
    config = small_config(folder, init_from=str(folder / "imagenet"))
    if key == "init_from":
        value = str(tmp_path / "run") if value == "run" else value
    config.update_from_flattened_dict({key: value})
    with pytest.raises(InputError, match=message) as error:
        segment_runner.run(config, tmp_path / "run", overwrite=False)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_one_image_without_the_branch_of_its_mean_may_be_a_micro_batch(folder):
    config = small_config(folder, **{"train.accumulate": 2, "network.image_pooling": False})
    segment_build.check(config, jax.device_count())


def test_predictions_are_palette_pictures_of_the_images_sizes(finished, tmp_path, capsys):
    _, path = finished
    images = tmp_path / "images"
    (images / "below").mkdir(parents=True)
    random = np.random.RandomState(0)
    sizes = {"a.png": (20, 30), "below/b.png": (70, 40)}  # the second is larger than test images
    for name, size in sizes.items():
        Image.fromarray(random.randint(0, 256, (*size, 3)).astype(np.uint8)).save(images / name)
    arguments = [f"--workdir={path}", f"--images={images}"]
    with pytest.raises(InputError, match="--output: found none"):
        predict.main(arguments)
    arguments.append(f"--output={tmp_path / 'output'}")
    predict.main(arguments)
    assert "segmentations of 2 images" in capsys.readouterr().out
    network = trained.load(path)
    for (name, (height, width)), size in zip(sizes.items(), (49, 81), strict=True):
        padded = np.tile(np.round(255 * np.array(MEAN)).astype(np.uint8), (1, size, size, 1))
        padded[0, :height, :width] = np.asarray(Image.open(images / name))
        expected = logits(network, padded)[0, :height, :width].argmax(-1)
        with Image.open(tmp_path / "output" / name) as picture:
            assert picture.mode == "P" and picture.getpalette()[3:6] == [128, 0, 0]
            assert (np.asarray(picture) == expected).mean() > 0.99
            (classes,) = network.segment([np.asarray(Image.open(images / name))])
            np.testing.assert_array_equal(picture, classes)
    assert (tmp_path / "output/labels.txt").read_text() == "".join(f"{n}\n" for n in NAMES)
    with pytest.raises(InputError, match="exists and is not overwritten"):
        predict.main(arguments)
    (tmp_path / "other_names").mkdir()
    (tmp_path / "other_names/labels.txt").write_text("a\nb\n")
    with pytest.raises(InputError, match="--output: .*labels.txt exists and names other classes"):
        predict.main([*arguments[:2], f"--output={tmp_path / 'other_names'}"])
    assert len(list((tmp_path / "other_names").iterdir())) == 1
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(images / "a.jpg")
    with pytest.raises(InputError, match="would both become"):
        predict.main([*arguments[:2], f"--output={tmp_path / 'other'}"])
    with pytest.raises(InputError, match="found a network that segments"):
        network.predict(np.zeros((1, 49, 49, 3), np.uint8))
    (images / "a.jpg").write_bytes(b"no image")
    (images / "a.png").unlink()
    arguments = [*arguments[:2], f"--output={tmp_path / 'other'}"]
    with pytest.raises(InputError, match=r"--images: .*a\.jpg cannot be read .*--skip_damaged"):
        predict.main(arguments)
    assert not (tmp_path / "other").exists()
    predict.main([*arguments, "--skip_damaged"])
    written = {str(p.relative_to(tmp_path / "other")) for p in (tmp_path / "other").rglob("*.*")}
    assert written == {"below/b.png", "labels.txt", "errors.jsonl"}
    error = json.loads((tmp_path / "other" / "errors.jsonl").read_text())
    assert error["file"] == "a.jpg" and "cannot be read as an image" in error["error"]


def test_the_exported_network_gives_the_same_logits(finished):
    network = trained.load(finished[1])
    images = np.random.RandomState(0).randint(0, 256, (2, 49, 49, 3)).astype(np.uint8)
    found = command.program(network).call(command.flat_weights(network), images)
    np.testing.assert_allclose(found, logits(network, images), atol=1e-5)


def test_the_summary_needs_no_data(folder):
    config = small_config(folder, **{"data.devkit": "nowhere", "data.dir": "nowhere"})
    lines = segment_runner.summary(config).splitlines()
    assert lines[-2].startswith("head") and lines[-1].startswith("total")
