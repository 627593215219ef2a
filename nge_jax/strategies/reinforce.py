"""REINFORCE (Williams, 1992) on the edge model: its probabilities are the policy.

The paper names reinforcement learning with "actions from the edge embeddings" and gives no details. Here an action is a
whole architecture, whose distribution is in `space.architecture`. An optimizer follows the gradient upwards of

    mean over the batch of (reward - baseline) log p(architecture) + weight * entropy

and the baseline is a moving average of the rewards of earlier batches.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from nge_jax.embedding.model import EdgeModel, Params
from nge_jax.space import architecture
from nge_jax.space.spaces import Space
from nge_jax.strategies.base import Strategy


class Settings(NamedTuple):
    """Holds the settings (paper silent), found by trial on seeds that no reported figure uses.

    Attributes:
        batch_size: number of architectures in one update.
        entropy_weight: weight of the distribution's entropy in nats, which keeps the policy from settling too soon.
        baseline_decay: share of the old baseline that each update keeps.
    """

    batch_size: int = 1
    entropy_weight: float = 1e-3
    baseline_decay: float = 0.9


class State(NamedTuple):
    """Holds the learned parameters and the baseline.

    Attributes:
        params: parameters of the edge model.
        opt_state: state of the optimizer.
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
        loss = functools.partial(
            _loss, edge_model, space, settings, architectures, rewards, baseline
        )
        updates, opt_state = optimizer.update(
            jax.grad(loss)(state.params), state.opt_state, state.params
        )
        decay = settings.baseline_decay
        return State(
            params=optax.apply_updates(state.params, updates),
            opt_state=opt_state,
            baseline=decay * baseline + (1 - decay) * mean,
        )

    def predict(state, cell):
        return architecture.log_prob(probs(state), cell, space)

    return Strategy(settings.batch_size, init, ask, tell, probs, "reinforce", predict)


def _loss(edge_model, space, settings, architectures, rewards, baseline, params):
    """Computes the negative of the objective that the module's docstring states."""
    probs_CxExO = edge_model.probs(params)
    log_probs = jax.vmap(lambda a: architecture.log_prob(probs_CxExO, a, space))(architectures)
    bonus = settings.entropy_weight * architecture.entropy(probs_CxExO, space)
    return -((rewards - baseline) * log_probs).mean() - bonus
