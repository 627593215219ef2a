"""The schedule of GPUs rounds about as PyTorch's float32 does, beside the same network in float64."""

import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.kernels.selection import cross_entropy
from nge_jax.supernet.layouts import channels_last
from nge_jax.supernet.model import make_supernet
from nge_jax.supernet.schedules import reference
from nge_jax.supernet.schedules.schedule import SCHEDULES, Schedule

LAYOUT: Any = types.SimpleNamespace(
    **vars(channels_last) | {"global_average_pool": lambda x: x.mean((1, 2))}
)
IN_FLOAT64 = Schedule(
    reference.mix_as_written, LAYOUT, reference.batch_norm, reference.batch_norm, reference.conv
)
# PyTorch's own errors in float32, with the cells and weights of quark0/darts: 3 cells, 8 channels, 8 images of 32 x 32.
TORCH_LOGITS, TORCH_GRADIENT = 2.5e-7, 1.4e-6


@pytest.mark.whole
def test_the_rounding_is_at_most_three_times_that_of_pytorch(monkeypatch):
    monkeypatch.setitem(SCHEDULES, "float64", IN_FLOAT64)
    keys = jax.random.split(jax.random.key(0), 4)
    weights = make_supernet(cells=3, channels=8, num_classes=10).init(keys[0])
    images, labels = jax.random.normal(keys[1], (8, 16, 16, 3)), jnp.arange(8)
    logits_of_p = 1e-3 * jax.random.normal(keys[2], (2, 14, 7))

    def compute(schedule, dtype):
        net = make_supernet(cells=3, channels=8, num_classes=10, schedule=schedule, dtype=dtype)

        def loss(weights, logits_of_p, images):
            logits, _ = net.apply(weights, images, jax.nn.softmax(logits_of_p))
            return cross_entropy(logits, labels).mean(), logits

        given = jax.tree.map(lambda a: jnp.asarray(a, dtype), (weights, logits_of_p, images))
        step = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
        (_, logits), gradients = step(*given)
        return jax.tree.map(np.asarray, (logits, *gradients))

    def error(found, exact):
        found, exact = (
            np.concatenate([*map(np.ravel, jax.tree.leaves(t))]) for t in (found, exact)
        )
        return np.linalg.norm(found - exact) / np.linalg.norm(exact)

    found = compute("together", jnp.float32)
    with jax.enable_x64(True):
        exact = compute("float64", jnp.float64)
    limits = 3 * TORCH_LOGITS, 3 * TORCH_GRADIENT, 3 * TORCH_GRADIENT
    for name, f, e, limit in zip(("logits", "weights", "P"), found, exact, limits, strict=True):
        assert error(f, e) < limit, (name, error(f, e))
