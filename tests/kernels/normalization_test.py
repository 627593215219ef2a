"""Batch normalization with a derivative by hand, against Flax's module and the automatic derivative."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.networks import layers

AXIS = "batch"


def outcome(module, dtype, axis_name):
    """Computes output, running statistics and the derivatives with respect to input and parameters."""
    norm = module(
        use_running_average=False, momentum=0.9, epsilon=1e-5, dtype=dtype, axis_name=axis_name
    )

    def run(x, variables, g):
        def forward(x, params):
            variables_now = variables | {"params": params}
            return norm.apply(variables_now, x, mutable=["batch_stats"])

        y, pull, updated = jax.vjp(jax.checkpoint(forward), x, variables["params"], has_aux=True)
        return y, updated, pull(g)

    return run


@pytest.mark.parametrize("dtype, tolerance", [(jnp.float32, 2e-5), (jnp.bfloat16, 2e-2)])
@pytest.mark.parametrize("parts", [1, 2])
def test_it_is_flaxes_module_with_its_derivative(dtype, tolerance, parts):
    keys = jax.random.split(jax.random.key(0), 4)
    x, g = (jax.random.normal(key, (4, 5, 6, 3), dtype) for key in keys[:2])
    x = x + 1  # the mean must matter
    variables = {
        "params": {"scale": jax.random.normal(keys[2], (3,)), "bias": jnp.arange(3.0)},
        "batch_stats": {"mean": jnp.ones(3), "var": jnp.full(3, 2.0)},
    }

    def both(*args):
        axis_name = None if parts == 1 else AXIS
        forms = (layers.BatchNorm, nn.BatchNorm)
        return tuple(outcome(form, dtype, axis_name)(*args) for form in forms)

    if parts == 1:
        found, expected = jax.jit(both)(x, variables, g)
    else:  # several devices share a batch
        x, g = (a.reshape(parts, -1, *a.shape[1:]) for a in (x, g))
        on_devices = jax.vmap(both, (0, None, 0), axis_name=AXIS)
        found, expected = jax.jit(on_devices)(x, variables, g)
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    for one, other in pairs:
        assert one.dtype == other.dtype
        one, other = (np.asarray(a, np.float32) for a in (one, other))
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)
