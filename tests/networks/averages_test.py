"""Moving averages beside plain numpy."""

import jax
import jax.numpy as jnp
import numpy as np

from nge_jax.networks import averages


def test_averages_follow_the_variables_faster_at_first():
    random = np.random.default_rng(0)
    first, *steps = random.normal(size=(40, 3)).astype(np.float32)
    average, found = first, averages.begin({"params": {"a": jnp.asarray(first)}})
    move = jax.jit(averages.move)
    for step, values in enumerate(steps):
        stays = min(0.7, (1 + step) / (10 + step))  # 0.1 at first, 0.7 from the 20th step on
        average = stays * average + (1 - stays) * values
        found = move(found, {"params": {"a": values}}, 0.7, jnp.int32(step))
        np.testing.assert_allclose(found["params"]["a"], average, rtol=1e-5)


def test_averages_begin_as_copies():
    variables = {"params": jnp.ones(3)}
    begun = averages.begin(variables)
    variables["params"].delete()  # as a step does whose state is donated
    assert begun["params"].tolist() == [1, 1, 1]
