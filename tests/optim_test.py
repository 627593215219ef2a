"""The optimizers agree with optax where they compute in another way."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nge_jax import optim


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
