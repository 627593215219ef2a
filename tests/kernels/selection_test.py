"""Selections have the values and the derivatives of the library's, on every platform."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from nge_jax.kernels import selection

LABELS = jnp.array([[2, 0, 4], [4, 4, 1]])
TAKEN = 3, 0, 3
# A selection of x [2, 3, 5], and the library's form.
SELECTIONS = {
    "pick": (
        lambda x: selection.pick(x, LABELS),
        lambda x: jnp.take_along_axis(x, LABELS[..., None], -1)[..., 0],
    ),
    "cross-entropy": (
        lambda x: selection.cross_entropy(x, LABELS),
        lambda x: optax.softmax_cross_entropy_with_integer_labels(x, LABELS),
    ),
    "rows": (
        lambda x: selection.take_rows(x.swapaxes(1, 2), TAKEN),
        lambda x: x.swapaxes(1, 2)[:, np.array(TAKEN)],
    ),
}


@pytest.mark.parametrize("platform", ["cpu", "default"])
@pytest.mark.parametrize("name", SELECTIONS)
def test_values_and_gradients_are_the_librarys(name, platform, monkeypatch):
    def choose(*args, default, **forms):
        return forms.get(platform, default)(*args)

    monkeypatch.setattr(lax, "platform_dependent", choose)
    x = jax.random.normal(jax.random.key(0), (2, 3, 5))
    (found, pull), (expected, library_pull) = (jax.vjp(form, x) for form in SELECTIONS[name])
    np.testing.assert_array_equal(found, expected)
    g = jax.random.normal(jax.random.key(1), expected.shape)
    np.testing.assert_allclose(pull(g)[0], library_pull(g)[0], rtol=1e-6)


@pytest.mark.parametrize("name", SELECTIONS)
def test_a_gpus_gradient_has_no_scatter(name):
    form, library = SELECTIONS[name]
    x = jnp.ones((2, 3, 5))

    def has_scatter(form, platform):
        traced = jax.jit(jax.grad(lambda x: form(x).sum())).trace(x)
        return "scatter" in traced.lower(lowering_platforms=(platform,)).as_text()

    assert has_scatter(library, "cuda") and has_scatter(form, "cpu")
    assert not has_scatter(form, "cuda")
