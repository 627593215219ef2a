"""The steps of Lambda-DARTS follow the exact second derivative, written out for a network of a few numbers."""

import itertools
import textwrap
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from nge_jax.devices.parallel import AXIS
from nge_jax.errors import InputError
from nge_jax.search import build as search_build
from nge_jax.search import checks, phases
from nge_jax.search.steps import correlation, gradient
from nge_jax.search.steps.relaxation import Line
from nge_jax.space.spaces import SPACES, Space
from tests.helpers.small_search import STEPS, make_config

LINE = Line(0.0, 0.5, epochs=3, steps=10)
STEP = 17  # in the second epoch, whose lambda is 0.25


class Layered(NamedTuple):
    """Stands for a supernet of a few numbers, in a space that allows each edge other operations."""

    space: Space = SPACES["s1"]

    @property
    def layer_types(self):
        return 0, 1, 0, 0

    def apply_layers(self, weights, x, probs, /):
        for layer, p in zip(weights, probs, strict=True):
            x = jnp.tanh(jnp.einsum("bi,eoij,eo->bj", x, layer, p))
        return x, {}


def check(over_parts):
    """Compares the step on two parts of a batch with the exact gradient on the whole; `over_parts`: a map over AXIS."""
    net, rng = Layered(), np.random.default_rng(0)
    allowed = jnp.array(net.space.mask)
    weights = jnp.array(rng.normal(size=(4, *allowed.shape[1:], 3, 3)))
    x, labels = rng.normal(size=(2, 4, 3)), rng.integers(0, 3, (2, 4))
    logits = jnp.where(allowed, rng.normal(size=allowed.shape), -jnp.inf)
    layers = (probs := jax.nn.softmax(logits))[np.array(net.layer_types)]

    def loss(weights, layers):
        found = net.apply_layers(weights, x.reshape(8, 3), layers)[0]
        return optax.softmax_cross_entropy_with_integer_labels(found, labels.ravel()).mean()

    def cosine(weights):
        by_layers = jax.grad(loss, 1)(weights, layers)
        rows = [by_layers[n][allowed[0]] for n in (0, 2, 3)]
        pairs = itertools.combinations([row / jnp.linalg.norm(row) for row in rows], 2)
        return sum(a @ b for a, b in pairs) / 3

    def on_part(line, weights, x, labels, probs):
        return correlation.make_gradient(net, line)(weights, x, labels, probs, STEP)

    mapped = over_parts(on_part, AXIS, (None, None, 0, 0, None))
    found, sums = mapped(jax.tree.map(jnp.asarray, LINE), weights, x, labels, probs)
    along, away = jax.grad(loss)(weights, layers), jax.grad(cosine)(weights)
    assert 0.1 < np.linalg.norm(away) / np.linalg.norm(along) < 1e3
    np.testing.assert_allclose(found.mean(0), along - 0.25 * away, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(sums.cosine / sums.count, cosine(weights), rtol=1e-6)
    np.testing.assert_allclose(sums.loss.sum() / 8, loss(weights, layers), rtol=1e-6)


def test_the_gradient_is_that_of_the_formula_on_parts_of_a_batch():
    with jax.enable_x64(True):
        check(lambda f, axis, axes: jax.jit(jax.vmap(f, axes, axis_name=axis)))


@pytest.mark.whole
def test_two_devices_step_as_one_with_the_whole_batch(python):
    script = """
        import jax
        from tests.search.steps import correlation_test
        correlation_test.check(lambda f, axis, axes: jax.pmap(f, axis, in_axes=axes))
        print(jax.device_count(), "devices agree")
    """
    done = python("-c", textwrap.dedent(script), devices=2, timeout=600, JAX_ENABLE_X64="1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2 devices agree\n"


def test_a_cell_without_gradient_has_the_cosine_0_and_moves_nothing():
    gradients = jnp.array([[3.0, 4.0], [0.0, 0.0], [4.0, 3.0]])
    cosine, direction = jax.value_and_grad(correlation.mean_cosine)(gradients)
    assert cosine == pytest.approx(0.96 * 1 / 3)
    assert not direction[1].any() and np.isfinite(direction).all()


@pytest.mark.parametrize("strength", [0.0, 0.2])
def test_only_the_steps_of_the_weights_know_of_it(strength, data, monkeypatch):
    """Without the key no step knows of it, so that the programs are as without it."""
    given = {}
    for name in ("weight", "embedding"):

        def make(*_, name=name, **options):
            given[name] = options.get("differentiate")

        monkeypatch.setattr(gradient, f"make_{name}_step", make)
    config = make_config("gradient", layer_correlation=strength)
    config.network.cells = 4
    checks.check(config)
    search = search_build.build(config, data)
    phases._make_steps(search, search.arguments)
    assert (given["weight"] is None, given["embedding"]) == (strength == 0, None)
    if strength:
        assert search.arguments.correlation == Line(0.0, strength, config.search.epochs, 2 * STEPS)
        records = [search.relaxation.record(n)["layer_correlation"] for n in (1, 2)]
        assert records == [0, strength]


@pytest.mark.parametrize(
    "strategy, keys, message",
    [
        ("evolution", {}, "with strategy 'evolution'"),
        ("gradient", {"search.relaxation": "gumbel"}, "with config.search.relaxation='gumbel': cells are"),
        ("gradient", {"search.relaxation": "dirichlet"}, "with config.search.relaxation='dirichlet': cells are"),
        ("gradient", {"network.dtype": "bfloat16"}, "with config.network.dtype='bfloat16', in which"),
        ("gradient", {"search.order": 2, "search.alternation": "batch"}, "with config.search.order=2: second-order"),
        ("gradient", {"network.cells": 3}, "with config.network.cells=3: the network has no two normal"),
    ],
)  # fmt: skip
def test_it_is_refused_where_cells_have_no_gradients_to_compare(strategy, keys, message):
    config = make_config(strategy, layer_correlation=0.1)
    config.network.cells = 4
    config.update_from_flattened_dict(keys)
    key = "config.search.layer_correlation: found 0.1, expected 0"
    with pytest.raises(InputError, match=f"^{key} {message}"):
        checks.check(config)
