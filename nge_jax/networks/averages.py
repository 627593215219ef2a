"""Moving averages of a network's weights and batch statistics, which are tested and used in place of the last ones.

The decay is TensorFlow's (`tf.train.ExponentialMovingAverage` with `num_updates`, as in EfficientNet): it grows with
the steps until it reaches its largest value. A short training thus averages about its last tenth, and the random first
weights do not stay in the average. The batch statistics are averaged alike, because the weights' averages need them.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from nge_jax.networks.transfer import Variables


def begin(variables: Variables) -> Variables:
    """Returns the averages before the first step: copies, because a step that donates its state may overwrite both."""
    return jax.tree.map(jnp.copy, variables)


def move(averages: Variables, variables: Variables, decay: Any, step: Any) -> Variables:
    """Moves the averages towards the variables after a step.

    Args:
      averages: the averages before the step.
      variables: the network after the step.
      decay: the largest part of the averages that stays.
      step: the number of the step, counted from 0.
    """
    stays = jnp.minimum(decay, (1 + step) / (10 + step))
    moved: Any = optax.incremental_update(variables, averages, 1 - stays)
    return moved
