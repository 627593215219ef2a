"""Training: the step compared with plain arithmetic, the loop, resuming, evaluation, refusals."""

import json
import math
import re
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nge_jax.cost import model_cost
from nge_jax.data import augment, small, source
from nge_jax.data import order as data_order
from nge_jax.devices import parallel
from nge_jax.errors import InputError
from nge_jax.networks.network import cifar_network
from nge_jax.optim import Cosine, SgdNumbers
from nge_jax.report import train as train_report
from nge_jax.runtime import checkpoint
from nge_jax.settings import configs
from nge_jax.space import genotype
from nge_jax.train import evaluate as train_evaluate
from nge_jax.train import runner as train_runner
from nge_jax.train import step as train_step
from nge_jax.train import trained as train_trained
from nge_jax.train.arguments import DropPath, ProgramArguments
from tests.helpers.small_training import SMALL, arrays, make_config, rows, small_config

DIGITS = small.load("digits", test=True)
RECIPE = train_step.Recipe(
    auxiliary_weight=0.0, label_smoothing=0.0, pad=0, flip=False, cutout=0, mean=(0.3,), std=(0.4,)
)  # fmt: skip
NUMBERS = ProgramArguments(Cosine(0.1, 4), SgdNumbers(0.9, 0.0, 5.0), steps_per_epoch=2)


def make_phase(model, optimizer, recipe, numbers=NUMBERS):
    step = train_step.make_train_step(model, optimizer, recipe, numbers)
    return parallel.on_all_devices(parallel.make_phase(step))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Makes the config and the workdir of a finished training."""
    folder = tmp_path_factory.mktemp("trained")
    config = small_config(folder)
    train_runner.run(config, folder / "run", overwrite=False)
    return config, folder / "run"


def test_a_training_learns_and_records(trained):
    config, path = trained
    record = rows(path)
    assert [row["epoch"] for row in record] == [1, 2, 3]
    assert [row["step"] for row in record] == [20, 40, 60]
    assert record[0]["train_loss"] > 1.5 * record[-1]["train_loss"]
    assert record[-1]["learning_rate"] < 0.01 * record[0]["learning_rate"]
    assert [row["learning_rate"] for row in record][0] == pytest.approx(
        0.1 * (1 + np.cos(np.pi * 19 / 60))
    )
    assert "test_accuracy" not in record[0]
    assert record[-1]["test_accuracy"] > 0.6
    assert record[-1]["test_examples"] == len(DIGITS.test_labels)
    assert genotype.load(str(path)) == SMALL
    assert (path / "report.html").exists()


def test_a_resumed_training_ends_bit_for_bit_like_an_uninterrupted_one(trained, monkeypatch):
    config, whole = trained
    path = whole.parent / "resumed"
    save, saved = checkpoint.Checkpoints.save, []

    def save_and_stop(self, step, state, score=None):
        save(self, step, state, score)
        saved.append(step)
        if len(saved) == 2:
            self.wait()
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.Checkpoints, "save", save_and_stop)
    # The report takes longer than the rest of the run.
    monkeypatch.setattr(train_report, "write_train_report", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        train_runner.run(config, path, overwrite=False)
    train_runner.run(config, path, overwrite=False)
    assert saved == [14, 28, 42, 56, 60]  # the run stopped after step 28, in the second epoch
    (expected, _), (found, step) = arrays(whole), arrays(path)
    assert step == 60
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert rows(path) == rows(whole)


def test_evaluation_counts_every_example_once_at_any_batch_size(trained):
    network = train_trained.load(trained[1])
    model, state = network.module, network.state
    labels = np.roll(DIGITS.test_labels, 1)  # another image's, so that all measures differ
    data = DIGITS.test_images, labels, np.arange(355)
    score = train_evaluate.make_score(model, DIGITS.mean, DIGITS.std)
    results = [
        train_evaluate.evaluate(score, state, source.masked_batches(*data, b), 355)
        for b in (7, 355, 512)
    ]
    x = (DIGITS.test_images / np.float32(255) - DIGITS.mean[0]) / DIGITS.std[0]
    logits, _ = jax.jit(partial(model.apply, train=False))(
        {"params": state.params, "batch_stats": state.batch_stats}, x.astype(np.float32)
    )
    logits = np.asarray(logits)
    ranks = (logits > np.take_along_axis(logits, labels[:, None], 1)).sum(1)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    for result in results:
        assert result.examples == 355
        assert result.accuracy == (ranks == 0).sum() / 355
        assert result.top5_accuracy == (ranks < 5).sum() / 355
        assert result.loss == pytest.approx(float(losses.mean()), rel=1e-4)
    assert 0 < results[0].accuracy < results[0].top5_accuracy < 1


def test_a_step_descends_the_smoothed_loss_and_the_auxiliary_one():
    images = np.random.RandomState(0).randint(0, 256, (4, 16, 16, 1)).astype(np.uint8)
    labels = np.array([0, 1, 2, 1], np.int32)
    model = cifar_network(SMALL, cells=1, channels=4, classes=3, auxiliary=True)
    recipe = RECIPE._replace(auxiliary_weight=0.4, label_smoothing=0.1)
    state = train_step.init_state(model, optax.sgd(0.1), jax.random.key(0), (16, 16, 1))

    def loss_fn(params):
        x = (images / np.float32(255) - 0.3) / 0.4
        variables = {"params": params, "batch_stats": state.batch_stats}
        (logits, endpoints), updated = model.apply(variables, x, train=True, mutable="batch_stats")
        targets = 0.9 * jnp.eye(3)[labels] + 0.1 / 3

        def loss(logits):
            return -(targets * jax.nn.log_softmax(logits)).sum(-1).mean()

        return loss(logits) + 0.4 * loss(endpoints["aux_logits"]), (updated["batch_stats"], logits)

    grads, (batch_stats, logits) = jax.jit(jax.grad(loss_fn, has_aux=True))(state.params)
    phase = make_phase(model, optax.sgd(0.1), recipe)
    params = jax.device_get(state.params)  # the phase donates the state
    indices = np.arange(4, dtype=np.int32).reshape(1, 1, 4)
    after = phase(state, parallel.Batches(images, labels, indices), jax.random.key(0), 0, 1)
    assert after.step == 1
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), after.params, expected)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), after.batch_stats, batch_stats)
    assert after.sums.correct == (logits.argmax(-1) == labels).sum()
    assert after.sums.count == 4
    losses = -jax.nn.log_softmax(logits)[np.arange(4), labels]
    assert after.sums.loss == pytest.approx(float(losses.sum()), rel=1e-4)


@pytest.mark.whole
def test_a_step_of_micro_batches_descends_their_mean_gradient():
    images = np.random.RandomState(0).randint(0, 256, (8, 8, 8, 1)).astype(np.uint8)
    labels = np.array([0, 1, 2, 1, 0, 0, 2, 1], np.int32)
    model = cifar_network(SMALL, cells=1, channels=4, classes=3)
    state = train_step.init_state(model, optax.sgd(0.1), jax.random.key(0), (8, 8, 1))

    @partial(jax.grad, has_aux=True)
    def gradient(params, batch_stats, part):
        x = (jnp.array(images)[part] / 255 - 0.3) / 0.4
        variables = {"params": params, "batch_stats": batch_stats}
        (logits, _), updated = model.apply(variables, x, train=True, mutable="batch_stats")
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.array(labels)[part])
        return losses.mean(), (updated["batch_stats"], losses.sum())

    batch_stats, grads, loss = state.batch_stats, [], 0.0
    for begin in range(0, 8, 2):  # each micro-batch has separate batch statistics
        part = np.arange(begin, begin + 2)
        grad, (batch_stats, more) = jax.jit(gradient)(state.params, batch_stats, part)
        grads.append(grad)
        loss += float(more)
    mean = jax.tree.map(lambda *g: sum(g) / 4, *grads)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, mean)

    phase = make_phase(model, optax.sgd(0.1), RECIPE._replace(accumulate=4))
    indices = np.arange(8, dtype=np.int32).reshape(1, 1, 8)
    after = phase(state, parallel.Batches(images, labels, indices), jax.random.key(0), 0, 1)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), after.params, expected)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), after.batch_stats, batch_stats)
    assert after.sums.count == 8 and after.sums.loss == pytest.approx(loss, rel=1e-4)


def test_drop_path_grows_from_nothing_to_its_rate():
    model = cifar_network(SMALL, cells=4, channels=4)
    drop_path = DropPath(0.6, 100)

    def dropped(step):  # part of the paths, on two devices
        def scales(_):
            return train_step.path_scales(model, drop_path, step, 500, jax.random.key(0))

        scales = jax.vmap(scales, axis_name=parallel.AXIS)(jnp.arange(2))
        assert scales.shape == (2, 4, 2, 500)
        return float((scales == 0).mean())

    assert dropped(0) == 0
    assert dropped(50) == pytest.approx(0.3, abs=0.03)
    assert dropped(100) == pytest.approx(0.6, abs=0.03)


@pytest.mark.whole
def test_alternating_flips_mirror_each_image_in_every_second_epoch():
    """Two epochs of two steps run on the images, and on images that were mirrored before."""
    model, optimizer = cifar_network(SMALL, cells=1, channels=4), optax.sgd(0.1)
    numbers = np.random.default_rng(0).permutation(1442)[:16].reshape(2, 8)
    order = np.concatenate([numbers, numbers[::-1]])
    key, images, labels = jax.random.key(1), DIGITS.train_images, DIGITS.train_labels

    def state():
        return train_step.init_state(model, optimizer, jax.random.key(0), (8, 8, 1))

    recipe = RECIPE._replace(flip=True, alternate_flip=True)
    step = train_step.make_train_step(model, optimizer, recipe, NUMBERS)
    phase = parallel.on_all_devices(parallel.make_phase(step, parallel.numbered_batch_at))
    batches = parallel.Batches(images, labels, parallel.by_device(order))
    found = phase(state(), batches, key, 0, 4)

    plain, expected = make_phase(model, optimizer, RECIPE), state()
    flip_key = jax.random.fold_in(key, 2**31)
    sides = []
    for epoch in range(2):
        flips = augment.alternating_flip(flip_key, jnp.arange(len(images)), jnp.int32(epoch))
        mirrored = np.where(np.asarray(flips)[:, None, None, None], images[:, :, ::-1], images)
        sides.append(mirrored)
        batches = parallel.Batches(mirrored, labels, parallel.by_device(order))
        expected = plain(expected, batches, key, 2 * epoch, 2 * epoch + 2)
    assert (sides[0] != sides[1]).any((1, 2, 3)).all(), "an image has one side twice"
    for f, e in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(f, e, atol=1e-6)


def test_the_fast_recipe_runs_at_a_tiny_size(tmp_path):
    """A small network trains with all other settings: one-cycle rate, label smoothing, alternating flip."""
    fast = configs.load_module(configs.find_config("train_cifar10")).FAST
    sizes = {"network.cells": 1, "network.channels": 4, "train.epochs": 3, "data.cutout": 2}
    sizes |= {"train.batch_size": 128, "train.warmup_epochs": 1}
    config = small_config(tmp_path, **fast | sizes | {"data.flip": True})
    train_runner.run(config, tmp_path / "run", overwrite=False)
    record = rows(tmp_path / "run")
    # An epoch has 10 steps. The rate rises to the peak, then falls along a line to a twentieth of the peak.
    np.testing.assert_allclose([r["learning_rate"] for r in record], [0.4, 0.22, 0.02], rtol=1e-5)
    assert record[-1]["train_loss"] < record[0]["train_loss"]

    config.data.flip = False
    with pytest.raises(InputError, match="config.data.alternate_flip: found True, expected False"):
        train_runner.run(config, tmp_path / "other", overwrite=False)


def run_two_steps(batch_norm_axis=parallel.AXIS):
    """Runs two steps with all random parts on any number of devices, with batch statistics over all devices.

    Returns each step's sums, the last parameters, and the program.
    """
    model = cifar_network(SMALL, cells=1, channels=4, bn_axis_name=batch_norm_axis)
    recipe = RECIPE._replace(
        pad=1, flip=True, cutout=2, trivial_augment=True, mixup=1.0, cutmix=1.0
    )
    numbers = NUMBERS._replace(drop_path=DropPath(0.5, 4), steps_per_epoch=1)
    optimizer = optax.sgd(0.1, momentum=0.9)
    state = train_step.init_state(model, optimizer, jax.random.key(0), (8, 8, 1))
    phase = make_phase(model, optimizer, recipe, numbers)
    order = parallel.by_device(data_order.epoch_order(0, 0, 1442, 2, 8))
    batches = parallel.Batches(DIGITS.train_images, DIGITS.train_labels, order)
    key, sums = jax.random.key(1), []
    program = phase.lower(state, batches, key, 0, 1).compile().as_text()
    for step in range(2):
        state = phase(state, batches, key, step, step + 1)
        sums.append(jax.device_get(state.sums))
    return jax.tree.leaves((sums, state.params, state.batch_stats)), program


def all_reduced(program):
    """Counts the numbers that each all-reduce of a compiled program sums over the devices."""
    results = re.findall(r" = (.*?) all-reduce(?:-start)?\(", program)
    shapes = [re.findall(r"f32\[([\d,]*)\]", result) for result in results]
    return [sum(math.prod(map(int, filter(None, s.split(",")))) for s in each) for each in shapes]


@pytest.mark.parametrize("devices", [2, pytest.param(4, marks=pytest.mark.whole)])
def test_devices_share_a_batch_without_changing_the_result(devices, python, tmp_path):
    program = f"""
import jax, numpy
from tests.train import runner_test
assert jax.local_device_count() == {devices}
leaves, program = runner_test.run_two_steps()
numpy.savez({str(tmp_path / "leaves.npz")!r}, *leaves)
print(runner_test.all_reduced(program))
"""
    result = python("-c", program, devices=devices)
    assert result.returncode == 0, result.stderr
    found = np.load(tmp_path / "leaves.npz")
    expected, _ = run_two_steps()
    assert len(found.files) == len(expected)
    for index, leaf in enumerate(expected):
        np.testing.assert_allclose(found[f"arr_{index}"], leaf, atol=1e-5, rtol=1e-6)
    # The sums of batch normalization are small; the gradient crosses the devices once.
    model = cifar_network(SMALL, cells=1, channels=4)
    weights = model_cost(model, (8, 8, 1)).parameters
    sizes = json.loads(result.stdout.splitlines()[-1])
    assert len(sizes) > 1 and sum(size >= weights for size in sizes) == 1
    assert all(size < weights / 10 for size in sizes if size < weights)


@pytest.mark.whole
def test_with_statistics_of_its_own_a_device_meets_the_others_once_a_step(python):
    program = """
from tests.train import runner_test
print(runner_test.all_reduced(runner_test.run_two_steps(batch_norm_axis=None)[1]))
"""
    result = python("-c", program, devices=2)
    assert result.returncode == 0, result.stderr
    assert len(json.loads(result.stdout.splitlines()[-1])) == 1


def test_cifar100_is_trained_like_cifar10_but_for_the_weight_decay():
    ten, hundred = (make_config(name, "lr0.025") for name in ("train_cifar10", "train_cifar100"))
    assert (ten.weights.weight_decay, hundred.weights.weight_decay) == (3e-4, 5e-4)
    ten.data.name, ten.weights.weight_decay = "cifar100", 5e-4
    assert ten == hundred
    assert ten.weights.learning_rate == 0.025
    assert make_config("train_cifar10", "").weights.learning_rate == 0.25


def test_a_cell_that_changed_since_is_refused(trained):
    config, path = trained
    cell = Path(config.genotype)
    text = cell.read_text()
    try:
        cell.write_text(genotype.to_json(genotype.KNOWN["DARTS_V1"]))
        with pytest.raises(InputError, match="differs from the cell that this workdir trains"):
            train_runner.run(config, path, overwrite=False)
    finally:
        cell.write_text(text)
