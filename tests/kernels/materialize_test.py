"""Arrays that a program stores in memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.kernels.materialize import materialize, materialize_gradient


def padded_windows(x, known, store):
    """Computes a window inside the padding, which XLA takes from x unless `padded` is stored."""
    padded = jnp.pad(jnp.exp(x), 1)
    return (materialize(padded, known) if store else padded)[1:-1]


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="CPUs alone store arrays")
@pytest.mark.parametrize("store", [True, False])
def test_the_cpus_compiler_keeps_a_materialized_array(store):
    x = jnp.arange(4.0)
    program = jax.jit(lambda x, known: padded_windows(x, known, store)).lower(x, x).compile()
    np.testing.assert_allclose(program(x, x), np.exp(x), rtol=1e-6)
    assert ("f32[6]" in program.as_text()) == store


@pytest.mark.parametrize("known", [0.0, -1.5, np.inf, np.nan])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_value_that_is_read_has_no_influence(known, dtype):
    x = jnp.arange(4, dtype=dtype)
    found = jax.jit(materialize)(x, jnp.full((2, 2), known, dtype))
    np.testing.assert_array_equal(found, x)


def test_a_materialized_gradient_is_the_gradient():
    gradient = jax.jit(jax.grad(lambda x: (materialize_gradient(x) ** 2).sum()))(jnp.arange(4.0))
    np.testing.assert_array_equal(gradient, 2 * np.arange(4.0))


def test_accelerators_get_the_array_as_it_is():
    x = jnp.ones(4)
    text = jax.jit(materialize).trace(x, x).lower(lowering_platforms=("cuda",)).as_text()
    assert "while" not in text
