"""The optimizers agree with optax where they compute in another way."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nge_jax import optim
from nge_jax.devices import finite
from nge_jax.settings.configs import load_config


@pytest.mark.parametrize("largest", [0.1, 100.0])
def test_the_norm_of_one_array_clips_as_optax_does(largest):
    keys = jax.random.split(jax.random.key(0), 2)
    grads = {"a": jax.random.normal(keys[0], (3, 5)), "b": [jax.random.normal(keys[1], (7,))]}
    np.testing.assert_allclose(optim._norm_of_one_array(grads), optax.tree.norm(grads), rtol=1e-6)
    expected, _ = optax.clip_by_global_norm(largest).update(grads, optax.EmptyState())
    found, state = optim.clip_by_global_norm(largest).update(grads, optax.EmptyState())
    assert state == optax.EmptyState()
    jax.tree.map(np.testing.assert_array_equal, found, expected)  # the tests run on a CPU


def test_gpus_sum_the_squares_of_all_gradients_at_once():
    grads = [jnp.ones(n) for n in range(1, 9)]
    clip = jax.jit(lambda grads: optim.clip_by_global_norm(1.0).update(grads, None)[0])
    for platform, sums in (("cpu", 8), ("cuda", 1), ("tpu", 1)):
        text = clip.trace(grads).lower(lowering_platforms=(platform,)).as_text()
        assert text.count("stablehlo.reduce(") == sums, platform


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_decays_in_the_gradient_or_in_the_step(decoupled):
    rate, b1, b2, decay = 0.1, 0.5, 0.999, 0.01
    adam = optim.adam(rate, b1=b1, b2=b2, weight_decay=decay, decoupled=decoupled)
    rng = np.random.default_rng(0)
    value = rng.normal(size=5)
    params, mean, square = jnp.float32(value), np.zeros(5), np.zeros(5)
    state = adam.init(params)
    for step in range(1, 4):
        gradient = rng.normal(size=5)
        updates, state = adam.update(jnp.float32(gradient), state, params)
        params = optax.apply_updates(params, updates)
        if not decoupled:
            gradient = gradient + decay * value
        mean = b1 * mean + (1 - b1) * gradient
        square = b2 * square + (1 - b2) * gradient**2
        direction = mean / (1 - b1**step) / (np.sqrt(square / (1 - b2**step)) + 1e-8)
        value = value - rate * (direction + decoupled * decay * value)
        np.testing.assert_allclose(params, value, rtol=1e-4)


def test_adamw_clips_then_decays_in_the_step_and_counts_each_update_once():
    config = load_config("train_digits").weights
    config.optimizer, config.weight_decay, config.clip_norm = "adamw", 0.05, 1.5
    numbers = optim.weight_numbers(config)
    adamw = numbers.make(optim.Cosine(0.1, 4))
    value = np.array([0.5, -1.0, 2.0])
    params, mean, square = jnp.float32(value), 0, 0
    state = adamw.init(params)
    update = jax.jit(lambda n, *a: n.make(optim.Cosine(0.1, 4)).update(*a))  # traced numbers
    for step in range(1, 4):
        gradient = np.array([3.0, -1.0, 0.5]) / step
        updates, state = update(numbers, jnp.float32(gradient), state, params)
        params = optax.apply_updates(params, updates)
        gradient *= min(1, 1.5 / np.linalg.norm(gradient))
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        direction = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        rate = 0.05 * (1 + np.cos(np.pi * (step - 1) / 4))
        value = value - rate * (direction + 0.05 * value)
        np.testing.assert_allclose(params, value, rtol=1e-4)
        assert finite.updates_of_one(state) == step


def test_sgd_is_the_default_of_the_weights():
    numbers = optim.weight_numbers(load_config("train_digits").weights)
    assert numbers == optim.SgdNumbers(0.9, 3e-4, 5.0) and type(numbers) is optim.SgdNumbers


def test_arrays_learn_at_parts_of_the_rate():
    parts = {"whole": 1.0, "half": 0.5, "held": 0.0}
    adam = optim.adam(0.1, b1=0.5, b2=0.999, weight_decay=0.01)
    scaled = optim.scale_rates(adam, lambda path: parts[path[0].key])
    params = {name: jnp.float32([1.0, -2.0]) for name in parts}
    grads = {name: jnp.float32([0.3, 0.1]) for name in parts}
    expected, _ = adam.update(grads, adam.init(params), params)
    updates, _ = scaled.update(grads, scaled.init(params), params)
    np.testing.assert_array_equal(updates["whole"], expected["whole"])
    np.testing.assert_allclose(updates["half"], expected["half"] / 2, rtol=1e-6)
    np.testing.assert_array_equal(optax.apply_updates(params, updates)["held"], params["held"])
