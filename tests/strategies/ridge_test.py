"""The ridge regression equals scikit-learn's, and screens evolution's children by the rewards that it predicts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.linear_model import Ridge

from nge_jax.embedding.model import edge_model
from nge_jax.space import architecture
from nge_jax.space.spaces import DARTS, NAS_BENCH_201
from nge_jax.strategies import evolution, ridge
from nge_jax.strategies.base import run_strategy


def drawn(count, space):
    keys = jax.random.split(jax.random.key(0), count)
    return jax.vmap(lambda key: architecture.sample(key, architecture.uniform(space), space))(keys)


def test_the_regression_is_scikit_learns_on_the_known_cells():
    cells, rewards = drawn(20, DARTS), np.random.default_rng(0).random(20).astype(np.float32)
    known = np.arange(20) < 15
    # Places of a memory without a cell hold minus infinity.
    filled = jnp.where(known, rewards, -jnp.inf)
    fitted = ridge.fit(cells, filled, jnp.asarray(known), DARTS)
    features = np.asarray(architecture.one_hot(cells, DARTS)).reshape(20, -1)
    mean = rewards[:15].mean()
    expected = Ridge(alpha=1.0, fit_intercept=False).fit(features[:15], rewards[:15] - mean)
    found = jax.vmap(lambda cell: ridge.predict(fitted, cell, DARTS))(cells)
    np.testing.assert_allclose(found, mean + expected.predict(features), atol=1e-5)


def test_evolution_screened_by_the_regression_finds_what_adds_up():
    """The reward is a sum over the edges, which a regression can learn; without it, fewer of 40 queries are good."""
    weights = jnp.asarray(np.random.default_rng(1).random((6, 5)), jnp.float32)

    def evaluate(cells):
        return jnp.take_along_axis(weights[None, None], cells[..., None], -1).sum((1, 2, 3)) / 6

    model = edge_model("alpha", "printed", NAS_BENCH_201)
    settings = evolution.Settings(8, 4, 16, 40, 0, 1.0, 0.0, "ridge")
    screened, blind = (
        evolution.evolution(
            model, NAS_BENCH_201, optax.identity(), settings._replace(screen=screen)
        )
        for screen in ("ridge", "model")
    )
    means = [
        jax.jit(lambda key, s=strategy: run_strategy(s, evaluate, 40, key))(jax.random.key(2))
        .rewards[8:]
        .mean()
        for strategy in (screened, blind)
    ]
    assert means[0] > means[1] + 0.05
    state = screened.init(jax.random.key(0))
    assert screened.predict is not None
    assert float(screened.predict(state, drawn(1, NAS_BENCH_201)[0])) == 0.0
