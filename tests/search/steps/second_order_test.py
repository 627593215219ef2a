"""The second-order gradient equals its formula, written out for a network of a few numbers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nge_jax import optim
from nge_jax.devices import parallel
from nge_jax.embedding.model import EdgeModel
from nge_jax.metrics import no_sums
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.search.steps import gradient as gradient_steps
from nge_jax.search.steps import second_order

RATE, MOMENTUM, DECAY = 0.5, 0.9, 0.01


class Mixed(NamedTuple):
    """A stand-in for a supernet: two layers, each a mixture of two operations."""

    def apply(self, weights, images, probs, /):
        x = images.reshape(len(images), -1)
        for layer, p in zip(weights, probs, strict=True):
            x = jnp.tanh(p[0] * (x @ layer[0]) + p[1] * jnp.sin(x @ layer[1]))
        return x, {}


EDGES = EdgeModel(
    init=lambda key: {"alpha": jax.random.normal(key, (2, 2))},
    probs=lambda params: jax.nn.softmax(params["alpha"]),
)
PREPROCESSING = gradient_steps.Preprocessing((0.5,), (0.25,), pad=0, flip=False)
OPTIMIZER = optim.Optimizer(
    {
        WEIGHTS: optim.sgd(RATE, momentum=MOMENTUM, weight_decay=DECAY, clip_norm=1e6),
        EMBEDDING: optax.sgd(1.0),  # the update equals the gradient
    }
)


def problem():
    rng = np.random.default_rng(0)
    weights = tuple(
        jnp.asarray(rng.normal(size=(2, n, m)), jnp.float32) for n, m in ((4, 5), (5, 3))
    )
    params = {WEIGHTS: weights, EMBEDDING: EDGES.init(jax.random.key(0))}
    opt_state = OPTIMIZER.init(params)
    momentum = jax.tree.map(lambda w: 0.1 * jnp.ones_like(w), weights)
    moving = jax.tree.map(lambda zero: zero + 0.1, optax.tree.get(opt_state, "trace"))
    opt_state = optax.tree.set(opt_state, trace=moving)
    state = gradient_steps.SearchState(
        jnp.int32(6), params, opt_state, {g: no_sums() for g in params}, jnp.zeros((2, 2, 2))
    )
    batches = [
        (rng.integers(0, 256, (8, 2, 2, 1), np.uint8), rng.integers(0, 3, 8).astype(np.int32))
        for _ in range(2)
    ]
    return state, momentum, batches


def test_the_gradient_is_that_of_the_formula():
    state, momentum, (training, validation) = problem()

    def loss(weights, embedding, batch):
        images, labels = batch
        x = (images / 255.0 - 0.5) / 0.25
        logits, _ = Mixed().apply(weights, x, EDGES.probs(embedding))
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    weights, embedding = state.params[WEIGHTS], state.params[EMBEDDING]
    slope = jax.grad(loss)(weights, embedding, training)
    ahead = jax.tree.map(
        lambda w, g, m: w - RATE * (MOMENTUM * m + g + DECAY * w), weights, slope, momentum
    )
    along, first = jax.grad(loss, (0, 1))(ahead, embedding, validation)

    # The exact product of the mixed second derivative with `along`, for which the step takes finite differences.
    def product(embedding):
        slope = jax.grad(loss)(weights, embedding, training)
        return sum(jnp.vdot(g, v) for g, v in zip(slope, along, strict=True))

    second = jax.grad(product)(embedding)
    expected = first["alpha"] - RATE * second["alpha"]
    assert np.abs(RATE * second["alpha"]).max() > 0.05 * np.abs(first["alpha"]).max()

    step = second_order.make_embedding_step(
        Mixed(), EDGES, OPTIMIZER, lambda count: RATE * (count == 3), PREPROCESSING
    )
    on_device = jax.pmap(step, parallel.AXIS, in_axes=(None, 0, 0, 0, None), out_axes=None)
    rows = jax.tree.map(lambda a: a[None], (training, *validation))
    after = on_device(state, *rows, jax.random.key(1))
    found = embedding["alpha"] - after.params[EMBEDDING]["alpha"]
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())
    for a, b in zip(weights, after.params[WEIGHTS], strict=True):
        np.testing.assert_array_equal(a, b)  # the step leaves w as it was
    assert after.step == 7 and after.sums[EMBEDDING].count == 8
