"""A training with other rates, epochs and drop-path runs the program that an earlier training has compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nge_jax.data import small, source
from nge_jax.devices import compile_times
from nge_jax.optim import Linear
from nge_jax.train import build as train_build
from nge_jax.train import task as train_task
from nge_jax.train.arguments import DropPath
from tests.helpers.roundings import assert_equal_but_for_roundings
from tests.helpers.small_training import SMALL, make_config

# Every number that the program takes as an argument, and another value of each.
ARGUMENTS = {
    "train.epochs": 7,
    "train.warmup_epochs": 3,
    "train.images_per_epoch": 40,
    "train.drop_path": 0.1,
    "weights.learning_rate": 0.01,
    "weights.momentum": 0.8,
    "weights.weight_decay": 1e-4,
    "weights.clip_norm": 1.0,
}


@pytest.fixture(scope="module")
def images():
    data = small.load("digits", test=True)
    return source.resident(data, tuple("0123456789"), seed=0, validation=0, batch_size=16)


def lowered(images, path, decay, **changes):
    """Returns the text of the program that the training would compile, and the name under which it is remembered."""
    config = make_config()
    config.network.update(cells=1)
    config.train.update(epochs=3, images_per_epoch=64, batch_size=16, warmup_epochs=1, decay=decay)
    config.train.update(drop_path=0.3, label_smoothing=0.1)
    config.update_from_flattened_dict(changes)
    task = train_task.make_task(train_build.build(config, images, SMALL), path)
    ((batches, *_),) = task.batches(0, "", [(0, 1)], task.state)
    ((_, program, _, _),) = task.phases
    name = compile_times.program_key(task.settings, (task.state, task.key))
    return program.lower(task.state, batches, task.key, 0, 1).as_text(), name


def test_other_numbers_are_given_to_the_same_program(images, tmp_path):
    text, name = lowered(images, tmp_path, "cosine")
    assert lowered(images, tmp_path, "cosine", **ARGUMENTS) == (text, name)
    # Label smoothing is a constant (see `train/arguments.py`), and a warm-up changes the computation.
    for changes in ({"train.label_smoothing": 0.2}, {"train.warmup_epochs": 0}):
        other, others_name = lowered(images, tmp_path, "cosine", **changes)
        assert other != text and others_name != name
    found = lowered(images, tmp_path, "linear")
    assert lowered(images, tmp_path, "linear", **ARGUMENTS) == found


def both_programs(with_constants, numbers, with_arguments, steps):
    """Computes a number for each step in a program with arguments, and in a program with constants."""
    counts = jnp.arange(steps)
    expected = jax.jit(lambda counts: jax.lax.map(with_constants, counts))(counts)
    found = jax.jit(
        lambda numbers, counts: jax.lax.map(lambda step: with_arguments(numbers, step), counts)
    )
    return np.asarray(found(jax.device_put(numbers), counts)), np.asarray(expected)


@pytest.mark.parametrize("peak, steps, warmup", [(0.025, 390, 0), (0.4, 37, 1), (0.25, 777, 78)])
@pytest.mark.parametrize("decay", train_build.DECAYS)
def test_the_rate_is_optaxs(decay, peak, steps, warmup):
    falls = {
        "cosine": optax.cosine_decay_schedule(peak, steps - warmup),
        "linear": optax.linear_schedule(peak, 0.0, steps - warmup),
    }
    schedule = falls[decay]
    if warmup:
        rise = optax.linear_schedule(peak / warmup, peak, warmup - 1)
        schedule = optax.join_schedules([rise, schedule], [warmup])
    rate = train_build.make_rate(decay, peak, steps, warmup)
    found, expected = both_programs(schedule, rate, lambda rate, step: rate(step), steps)
    assert_equal_but_for_roundings(found, expected)
    assert found.argmax() == max(warmup - 1, 0) and found.max() == np.float32(peak)


@pytest.mark.parametrize("peak, steps", [(0.007, 7), (0.01, 3000)])
def test_a_power_of_a_line_is_optaxs(peak, steps):
    schedule = optax.polynomial_schedule(peak, 0.0, 0.9, steps)
    line = Linear(peak, 0.0, steps)
    found, expected = both_programs(schedule, line, lambda line, step: line(step, 0.9), steps)
    assert_equal_but_for_roundings(found, expected)
    assert found[0] == np.float32(peak) and (np.diff(found) < 0).all() and found[-1] > 0


def test_a_power_of_a_line_stays_at_its_end():
    rate = jax.jit(jax.vmap(lambda steps: Linear(0.01, 0.0, steps)(steps, 0.9)))
    np.testing.assert_allclose(rate(np.arange(1, 3001)), 0, atol=1e-8)


def test_drop_path_is_as_exact_in_a_program_as_one_of_constants():
    drop_path = DropPath(0.3, 390)
    found, expected = both_programs(
        lambda step: 0.3 * step / 390, drop_path, lambda drop_path, step: drop_path.at(step), 390
    )
    assert_equal_but_for_roundings(found, expected)
    assert found[0] == 0 and found[-1] == pytest.approx(0.3 * 389 / 390)
