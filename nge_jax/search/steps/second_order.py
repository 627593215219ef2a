"""DARTS's second-order gradient of what P is made of (Liu et al., ICLR 2019, Sec. 2.3), by finite differences.

The validation loss is taken at the weights that one more step would make, and they depend on P, too:

    w'    = w - xi d_w L_train(w, P(a))
    d_a   = d_a L_valid(w', P(a)) - xi (d_a L_train(w+, P(a)) - d_a L_train(w-, P(a))) / 2 eps
    w+, - = w +- eps d_w' L_valid(w', P(a)),      eps = 0.01 / |d_w' L_valid(w', P(a))|

The first-order step (`steps.gradient`) has w' = w and the first term alone. w' is what the weights' optimizer makes of
w now: with its rate xi, momentum and weight decay as in DARTS's code, and clipped, as DARTS's own w' is not.
"""

from collections.abc import Callable

import jax
import optax
from jax import lax

from nge_jax.devices.parallel import AXIS
from nge_jax.embedding import EdgeModel
from nge_jax.optim import EMBEDDING, WEIGHTS, Optimizer
from nge_jax.search.steps import gradient as gradient_steps
from nge_jax.search.steps.gradient import Preprocessing
from nge_jax.search.steps.relaxation import Applied, Mix, Penalty, mix_all

DIFFERENCE = 0.01  # eps times the norm of what it is a step along; DARTS's value


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
    """Makes `(state, (images, labels), images, labels, key) -> state`: a training and a validation batch update X etc.

    For the alternation by batches: the training batch is that of the weight step which follows, augmented alike.
    schedule: of xi, at each step of the weights; the other arguments as of `gradient_steps.make_embedding_step`.
    """

    def embedding_step(state, training, images, labels, key):
        x = gradient_steps.augmented(preprocessing, images, jax.random.fold_in(key, state.step))
        training_images, training_labels = training
        following = jax.random.fold_in(key, state.step + 1)
        training_x = gradient_steps.augmented(preprocessing, training_images, following)
        weights, embedding = state.params[WEIGHTS], state.params[EMBEDDING]

        def training_loss(weights, embedding):
            choices = mix(edge_model.probs(embedding), key, state.step)
            return gradient_steps.loss(net, weights, training_x, training_labels, choices)[0]

        def validation_loss(weights, embedding):
            choices = edge_model.probs(embedding), mix, penalty
            return gradient_steps.relaxed_loss(net, weights, x, labels, *choices, key, state.step)

        # All devices step to the same weights.
        grads = lax.pmean(jax.grad(training_loss)(weights, embedding), AXIS)
        params, _ = optimizer.update(WEIGHTS, grads, state.opt_state, state.params)
        both = jax.grad(validation_loss, (0, 1), has_aux=True)
        (by_weights, by_embedding), sums = both(params[WEIGHTS], embedding)
        along = lax.pmean(by_weights, AXIS)
        eps = DIFFERENCE / optax.tree.norm(along)

        def at(side):
            moved = jax.tree.map(lambda w, g: w + side * eps * g, weights, along)
            return jax.grad(training_loss, 1)(moved, embedding)

        rate = schedule(state.step // 2)  # the weights have made every other step
        total = jax.tree.map(
            lambda g, above, below: g - rate * (above - below) / (2 * eps),
            by_embedding,
            at(1.0),
            at(-1.0),
        )
        return gradient_steps.updated(state, EMBEDDING, optimizer, total, sums, skip_nonfinite)

    return embedding_step


def make_alternating_phase(
    weight_step: Callable, embedding_step: Callable, edge_model: EdgeModel
) -> Callable:
    """Makes what `gradient_steps.make_alternating_phase` makes, where an embedding step reads both batches."""

    def with_training(state, training, validation, key):
        return embedding_step(state, training, *validation, key)

    return gradient_steps.alternate(weight_step, with_training, edge_model)
