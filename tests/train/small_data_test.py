"""Mixed images, averages and an early end, each off by default, in a step and in a run that is killed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nge_jax.data import small, source
from nge_jax.data.augmentations import mixing
from nge_jax.devices import parallel
from nge_jax.errors import InputError
from nge_jax.metrics import no_sums
from nge_jax.optim import Cosine, SgdNumbers, weight_numbers
from nge_jax.report import train as train_report
from nge_jax.runtime.checkpoint import Checkpoints
from nge_jax.train import build as train_build
from nge_jax.train import evaluate as train_evaluate
from nge_jax.train import runner as train_runner
from nge_jax.train import step as train_step
from nge_jax.train import trained
from nge_jax.train.arguments import ProgramArguments, make_optimizer
from nge_jax.train.step import TrainState
from tests.helpers.small_search import Killed, dying
from tests.helpers.small_training import SMALL, arrays, make_config, rows, small_config

CLASSES, SIDE, BATCH = 3, 4, 8
IMAGES = np.random.default_rng(0).integers(0, 256, (40, SIDE, SIDE, 1)).astype(np.uint8)
ALL_LABELS = np.arange(40, dtype=np.int32) % CLASSES
RECIPE = train_step.Recipe(
    auxiliary_weight=0.0, label_smoothing=0.1, pad=0, flip=False, cutout=0, mean=(0.5,), std=(0.5,),
    mixup=0.4, cutmix=1.0, accumulate=2, class_weights=(0.5, 1.0, 1.5),
)  # fmt: skip
NUMBERS = ProgramArguments(Cosine(0.1, 4), SgdNumbers(0.9, 0.0, 5.0), 9, averaging=0.3)


class Linear:
    """Stands for a network: a matrix, and a running mean of the pixels."""

    classes = CLASSES

    def apply(self, variables, x, *, train, path_scales, mutable):
        assert train and path_scales is None and mutable == ["batch_stats"]
        moved = 0.9 * variables["batch_stats"] + 0.1 * x.mean()
        return (x.reshape(len(x), -1) @ variables["params"], {}), {"batch_stats": moved}


def first_state(matrix):
    params, mean = jnp.asarray(matrix), jnp.float32(0)
    variables = {"params": params + 0, "batch_stats": mean + 0}
    optimizer_state = optax.sgd(1.0).init(params)
    return TrainState(jnp.int32(0), params, mean, optimizer_state, no_sums(), averages=variables)


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def by_numpy(matrix, steps):
    """Descends the loss of mixed images along the gradient of a linear network; also averages and sums."""
    mean = 0.0
    average, moved_mean, sums = matrix.copy(), 0.0, np.zeros(3)
    for step in range(steps):
        rows = np.arange(BATCH) + BATCH * step
        x, labels = IMAGES[rows] / 255 * 2 - 1, ALL_LABELS[rows]
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(1), step), 2**31 + 2)
        draws = mixing.draw(key, BATCH, SIDE, SIDE, mixup=0.4, cutmix=1.0)
        weights, share = map(np.asarray, mixing.shares(draws, SIDE, SIDE))
        x = (weights * x + (1 - weights) * x[::-1]).reshape(BATCH, -1)
        gradient = np.zeros_like(matrix)
        for part in (slice(0, 4), slice(4, 8)):  # micro-batches
            for classes, shares in ((labels, share), (labels[::-1], 1 - share)):
                targets = 0.9 * np.eye(CLASSES)[classes] + 0.1 / CLASSES
                logits = x @ matrix
                weight = (np.array(RECIPE.class_weights)[classes] * shares)[:, None]
                slopes = weight * (softmax(logits) - targets)
                gradient += x[part].T @ slopes[part] / 4
                losses = -np.log(softmax(logits))[np.arange(BATCH), classes]
                right = (logits.argmax(1) == classes) * shares
                sums += [(losses * shares)[part].sum(), right[part].sum(), shares[part].sum()]
            mean = 0.9 * mean + 0.1 * x[part].mean()
        matrix = matrix - gradient / 2
        stays = min(0.3, (1 + step) / (10 + step))
        average = stays * average + (1 - stays) * matrix
        moved_mean = stays * moved_mean + (1 - stays) * mean
    return matrix, average, moved_mean, sums


def test_steps_descend_the_loss_of_mixed_images_and_average_the_network():
    matrix = np.random.default_rng(1).normal(size=(SIDE * SIDE, CLASSES)).astype(np.float32)
    step = train_step.make_train_step(Linear(), optax.sgd(1.0), RECIPE, NUMBERS)
    phase = parallel.on_all_devices(parallel.make_phase(step))
    order = parallel.by_device(np.arange(5 * BATCH).reshape(5, BATCH).astype(np.int32))
    state, key = parallel.replicated((first_state(matrix), jax.random.key(1)))
    state = phase(state, parallel.Batches(IMAGES, ALL_LABELS, order), key, 0, 5)
    expected, average, mean, sums = by_numpy(matrix.astype(np.float64), 5)
    np.testing.assert_allclose(state.params, expected, atol=1e-4)
    np.testing.assert_allclose(state.sums, sums, rtol=1e-4)
    assert sums[2] == pytest.approx(5 * BATCH), "each image counts once"
    used = train_step.averaged(state)
    np.testing.assert_allclose(used.params, average, atol=1e-4)
    np.testing.assert_allclose(used.batch_stats, mean, atol=1e-5)
    assert used.averages is None and abs(used.params - state.params).max() > 1e-2


def test_a_training_that_begins_with_a_network_averages_from_there():
    state = first_state(np.zeros((16, 3), np.float32))
    network = {"params": np.ones((16, 3), np.float32), "batch_stats": np.float32(2)}
    used = train_step.averaged(train_step.begin_with(state, network))
    np.testing.assert_array_equal(used.params, network["params"])
    assert used.batch_stats == 2
    plain = train_step.begin_with(state._replace(averages=None), network)
    assert plain.averages is None and train_step.averaged(plain) is plain


def test_waiting_needs_held_out_images():
    digits = small.load("digits", test=True)
    labels = tuple("0123456789")
    config = make_config()
    config.train.patience = 3
    for validation in (0, 142):
        images = source.resident(digits, labels, seed=0, validation=validation, batch_size=64)
        if validation:
            assert train_build.build(config, images, SMALL).patience == 3
            continue
        with pytest.raises(InputError, match=r"^config\.train\.patience: found 3, expected 0"):
            train_build.build(config, images, SMALL)


SETTINGS = {
    "data.validation": 142,
    "data.trivial_augment": True,
    "train.mixup": 0.2,
    "train.cutmix": 1.0,
    "train.patience": 2,
    "train.epochs": 60,
    "train.images_per_epoch": 192,
    "train.accumulate": 2,
    "network.dtype": "bfloat16",
    "weights.optimizer": "adamw",
    "weights.learning_rate": 1e-4,  # the accuracy stays near chance
    "weights.ema": 0.9,
    "run.checkpoint_every_steps": 3,
    "run.skip_nonfinite": 1,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Makes the config, the workdir and the result of a training that ends early."""
    folder = tmp_path_factory.mktemp("small_data")
    config = small_config(folder, **SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_report, "write_train_report", lambda *_: None)
        return config, folder / "run", train_runner.run(config, folder / "run")


def test_a_training_ends_when_it_gains_nothing_more_and_is_tested_then(whole, monkeypatch, capsys):
    config, path, result = whole
    monkeypatch.setattr(train_report, "write_train_report", lambda *_: None)
    record = rows(path)
    accuracies = [row["validation_accuracy"] for row in record]
    waited = [row["epochs_without_gain"] for row in record]
    assert len(record) < 60 and waited[-1] == 2 and max(waited[:-1]) == 1
    assert max(accuracies) == accuracies[-3] and record[-1]["skipped_updates"] == 0
    assert result.evaluation.accuracy == record[-1]["test_accuracy"]
    assert ["test_accuracy" in row for row in record] == [False] * (len(record) - 1) + [True]
    assert train_runner.run(config, path) == result, "nothing is left to compute"
    assert rows(path) == record and "nothing left to compute" in capsys.readouterr().err


def test_a_killed_training_goes_on_to_the_same_early_end(whole, monkeypatch, capsys):
    config, path, result = whole
    left, again = [3, 6], path.parent / "again"
    monkeypatch.setattr(Checkpoints, "save", dying(left))
    monkeypatch.setattr(train_report, "write_train_report", lambda *_: None)
    while True:
        try:
            found = train_runner.run(config, again)
        except Killed:
            continue
        break
    assert not left and found.evaluation == result.evaluation and rows(again) == rows(path)
    (found, step), (expected, last) = arrays(again), arrays(path)
    assert step == last
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    epochs = len(rows(path))
    line = f"stopped after epoch {epochs} of 60 by train.patience=2: the best accuracy was"
    assert line in " ".join(capsys.readouterr().out.split())


def restore(path):
    """Returns the state as the newest checkpoint has it, the averages beside the network."""
    network = trained.load(path)
    optimizer = make_optimizer(weight_numbers(network.config.weights), optax.constant_schedule(0))
    parts = train_step.Parts(averages=True, waiting=True)
    shapes = train_step.state_shapes(network.module, optimizer, network.spec.shape, parts)
    with Checkpoints(path / "checkpoints", 2, read_only=True) as checkpoints:
        return checkpoints.restore_latest(shapes)[0]


def test_the_averages_are_what_is_tested_and_read(whole):
    config, path, result = whole
    network, saved = trained.load(path), restore(path)
    jax.tree.map(np.testing.assert_array_equal, network.variables, saved.averages)
    for name in ("params", "batch_stats"):
        last, used = (jax.tree.leaves(getattr(s, name)) for s in (saved, network.state))
        assert any((a != b).any() for a, b in zip(last, used, strict=True)), name
    digits = small.load("digits", test=True)
    images = source.resident(digits, network.spec.labels, seed=0, validation=142, batch_size=64)
    score = train_evaluate.make_score(network.module, network.spec.mean, network.spec.std)
    tested = train_evaluate.evaluate(score, network.state, images.held_out("test", 355), 355)
    assert tested.accuracy == result.evaluation.accuracy
    best = trained.load(path, trained.BEST).state
    validated = train_evaluate.evaluate(score, best, images.held_out("validation", 142), 142)
    assert validated.accuracy == max(row["validation_accuracy"] for row in rows(path))
