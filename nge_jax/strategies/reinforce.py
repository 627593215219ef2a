"""REINFORCE (Williams, 1992) on the edge model: its probabilities are the policy.

The paper names reinforcement learning with "actions from the edge embeddings" and leaves the rest
open. Here an action is a whole architecture (see `space.architecture` for its distribution), and

    gradient of   mean over the batch of (reward - baseline) log p(architecture) + weight * entropy

is followed upwards by an optimizer; the baseline is a moving average of earlier batches' rewards.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from nge_jax.embedding import EdgeModel, Params
from nge_jax.space import architecture
from nge_jax.space.spaces import Space
from nge_jax.strategies.base import Strategy


class Settings(NamedTuple):
    """Holds settings found by trial (the paper is silent), on seeds that no reported figure uses.

    Attributes:
        batch_size: architectures of one update.
        entropy_weight: of the distribution's entropy in nats; keeps the policy from settling too soon.
        baseline_decay: share of the old baseline that stays at each update.
    """

    batch_size: int = 1
    entropy_weight: float = 1e-3
    baseline_decay: float = 0.9


class State(NamedTuple):
    """Holds what the strategy has learned.

    Attributes:
        params: of the edge model.
        opt_state: of its optimizer.
        baseline: float32 scalar, NaN before the first rewards.
    """

    params: Params
    opt_state: optax.OptState
    baseline: jax.Array


def reinforce(
    edge_model: EdgeModel,
    space: Space,
    optimizer: optax.GradientTransformation,
    settings: Settings,
) -> Strategy:
    """Makes the strategy whose policy is the edge model, trained by `optimizer`."""

    def init(key):
        params = edge_model.init(key)
        return State(params, optimizer.init(params), jnp.float32(jnp.nan))

    def probs(state):
        return edge_model.probs(state.params)

    def ask(state, key):
        keys = jax.random.split(key, settings.batch_size)
        return jax.vmap(lambda key: architecture.sample(key, probs(state), space))(keys)

    def tell(state, architectures, rewards):
        mean = rewards.mean()
        baseline = jnp.where(jnp.isnan(state.baseline), mean, state.baseline)

        def loss(params):
            probs_CxExO = edge_model.probs(params)
            log_probs = jax.vmap(lambda a: architecture.log_prob(probs_CxExO, a, space))(
                architectures
            )
            bonus = settings.entropy_weight * architecture.entropy(probs_CxExO, space)
            return -((rewards - baseline) * log_probs).mean() - bonus

        updates, opt_state = optimizer.update(
            jax.grad(loss)(state.params), state.opt_state, state.params
        )
        decay = settings.baseline_decay
        return State(
            params=optax.apply_updates(state.params, updates),
            opt_state=opt_state,
            baseline=decay * baseline + (1 - decay) * mean,
        )

    return Strategy(settings.batch_size, init, ask, tell, probs, name="reinforce")
