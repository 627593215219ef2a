"""DARTS's second-order gradient of the embedding (Liu et al., ICLR 2019, Sec. 2.3), by finite differences.

The validation loss is computed at the weights w' that one more step would give. These weights depend on P, too:

    w'    = w - xi d_w L_train(w, P(a))
    d_a   = d_a L_valid(w', P(a)) - xi (d_a L_train(w+, P(a)) - d_a L_train(w-, P(a))) / 2 eps
    w+, - = w +- eps d_w' L_valid(w', P(a)),      eps = 0.01 / |d_w' L_valid(w', P(a))|

The first-order step (`steps.gradient`) has w' = w and only the first term. The weights' optimizer makes w' from w, with
learning rate xi, momentum and weight decay as in DARTS's code. Unlike in DARTS's code, the gradient is also clipped.
"""

from collections.abc import Callable
from typing import Any

import jax
import optax
from jax import lax

from nge_jax.devices.parallel import AXIS
from nge_jax.embedding.model import EdgeModel
from nge_jax.optim import EMBEDDING, WEIGHTS, Optimizer
from nge_jax.search.steps import gradient as gradient_steps
from nge_jax.search.steps.gradient import Preprocessing, SearchState
from nge_jax.search.steps.relaxation import Mix, Penalty, mix_all
from nge_jax.supernet.net import Applied

# The length of the finite difference's step: eps times the norm of the gradient (DARTS's value).
DIFFERENCE = 0.01


def make_embedding_step(
    net: Applied,
    edge_model: EdgeModel,
    optimizer: Optimizer,
    schedule: optax.Schedule,
    preprocessing: Preprocessing,
    mix: Mix = mix_all,
    *,
    penalty: Penalty | None = None,
    skip_nonfinite: bool = False,
) -> Callable:
    """Makes `(state, (images, labels), images, labels, key) -> state`: two batches update X and the Thetas.

    The first batch is the training batch of the weight step that follows, with the same augmentation. The second is a
    validation batch. The step serves the alternation by batches.

    Args:
      schedule: xi at each step of the weights.
      net, edge_model, optimizer, preprocessing, mix, penalty, skip_nonfinite: see
        `gradient_steps.make_embedding_step`.
    """

    def embedding_step(state, training, images, labels, key):
        x = gradient_steps.augmented(preprocessing, images, jax.random.fold_in(key, state.step))
        training_images, training_labels = training
        following = jax.random.fold_in(key, state.step + 1)
        training_x = gradient_steps.augmented(preprocessing, training_images, following)

        def training_loss(weights, embedding):
            choices = mix(edge_model.probs(embedding), key, state.step)
            return gradient_steps.loss(net, weights, training_x, training_labels, choices)[0]

        def validation_loss(weights, embedding):
            choices = edge_model.probs(embedding), mix, penalty
            return gradient_steps.relaxed_loss(net, weights, x, labels, *choices, key, state.step)

        total, sums = _second_order(training_loss, validation_loss, state, optimizer, schedule)
        return gradient_steps.updated(state, EMBEDDING, optimizer, total, sums, skip_nonfinite)

    return embedding_step


def _second_order(
    training_loss: Callable,
    validation_loss: Callable,
    state: SearchState,
    optimizer: Optimizer,
    schedule: optax.Schedule,
) -> tuple[Any, Any]:
    """Returns d_a and the sums of the validation loss; the losses are functions of the weights and the embedding."""
    weights, embedding = state.params[WEIGHTS], state.params[EMBEDDING]
    # The mean gives all devices the same weights w'.
    grads = lax.pmean(jax.grad(training_loss)(weights, embedding), AXIS)
    params, _ = optimizer.update(WEIGHTS, grads, state.opt_state, state.params)
    both = jax.grad(validation_loss, (0, 1), has_aux=True)
    (by_weights, by_embedding), sums = both(params[WEIGHTS], embedding)
    direction = lax.pmean(by_weights, AXIS)
    eps = DIFFERENCE / optax.tree.norm(direction)

    def training_grad(sign):
        moved = jax.tree.map(lambda w, g: w + sign * eps * g, weights, direction)
        return jax.grad(training_loss, 1)(moved, embedding)

    # Every other step so far was a step of the weights.
    rate = schedule(state.step // 2)
    total = jax.tree.map(
        lambda g, above, below: g - rate * (above - below) / (2 * eps),
        by_embedding,
        training_grad(1.0),
        training_grad(-1.0),
    )
    return total, sums


def make_alternating_phase(
    weight_step: Callable, embedding_step: Callable, edge_model: EdgeModel
) -> Callable:
    """Makes the phase of `gradient_steps.make_alternating_phase` for embedding steps that read both batches."""

    def with_training(state, training, validation, key):
        return embedding_step(state, training, *validation, key)

    return gradient_steps.alternate(weight_step, with_training, edge_model)
