"""Arrays that a program stores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.kernels.stored import stored, stored_gradient


def padded_windows(x, known, store):
    """A window of the pad's inside, which XLA else takes from x itself."""
    padded = jnp.pad(jnp.exp(x), 1)
    return (stored(padded, known) if store else padded)[1:-1]


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="is for CPUs")
@pytest.mark.parametrize("store", [True, False])
def test_the_cpus_compiler_keeps_a_stored_array(store):
    x = jnp.arange(4.0)
    program = jax.jit(lambda x, known: padded_windows(x, known, store)).lower(x, x).compile()
    np.testing.assert_allclose(program(x, x), np.exp(x), rtol=1e-6)
    assert ("f32[6]" in program.as_text()) == store


@pytest.mark.parametrize("known", [0.0, -1.5, np.inf, np.nan])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_number_that_is_looked_at_has_no_influence(known, dtype):
    x = jnp.arange(4, dtype=dtype)
    found = jax.jit(stored)(x, jnp.full((2, 2), known, dtype))
    np.testing.assert_array_equal(found, x)


def test_a_stored_gradient_is_the_gradient():
    gradient = jax.jit(jax.grad(lambda x: (stored_gradient(x) ** 2).sum()))(jnp.arange(4.0))
    np.testing.assert_array_equal(gradient, 2 * np.arange(4.0))


def test_accelerators_get_the_array_as_it_is():
    x = jnp.ones(4)
    text = jax.jit(stored).trace(x, x).lower(lowering_platforms=("cuda",)).as_text()
    assert "while" not in text
