"""The two updates of Algorithm 1 as pure functions, and phases that run many updates in one dispatch.

An update trains one group of parameters: the supernet's weights, or the edge model ("embedding"). It leaves the other
group and that group's optimizer state bit for bit as they were.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax.data import augment
from nge_jax.devices import finite
from nge_jax.devices.parallel import AXIS, batch_at, make_phase, my_part
from nge_jax.embedding.model import EdgeModel
from nge_jax.kernels.selection import cross_entropy
from nge_jax.metrics import Sums, count_correct, no_sums
from nge_jax.optim import EMBEDDING, WEIGHTS, Optimizer
from nge_jax.search.steps.relaxation import Mix, Penalty, mix_all
from nge_jax.supernet.net import Applied, Net

Tree = Any


class SearchState(NamedTuple):
    """The values that a search carries from step to step, and that a checkpoint holds.

    Attributes:
      step: updates of both groups so far.
      params, opt_state: {"weights": ..., "embedding": ...}.
      sums: the metrics' sums on each group's half of the data since the epoch began; the weights' are a
        `correlation.LayerSums` where the cells' correlation counts.
      history: P [epochs + 1, 2, 14, 7] before the search and after each epoch, zeros for later epochs. A `Mixture` of
        such arrays for edge models with betas.
    """

    step: jax.Array
    params: dict[str, Tree]
    opt_state: Tree
    sums: dict[str, Any]
    history: Any


class Preprocessing(NamedTuple):
    """How images enter a step; for `pad` and `flip` see `augment.draw`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad: int
    flip: bool


def init_state(
    net: Net,
    edge_model: EdgeModel,
    optimizer: Optimizer,
    epochs: int,
    key: jax.Array,
    read: Callable[[Any], Any] = lambda probs: probs,
    no_weight_sums: Callable[[], Any] = no_sums,
) -> SearchState:
    """Makes the state before the first step.

    Args:
      net, edge_model, optimizer: the search's.
      epochs: the length of the search.
      key: draws the parameters.
      read: the field `probs` of the search's relaxation.
      no_weight_sums: makes the sums of the weights' steps at the beginning of an epoch.
    """
    params = {
        WEIGHTS: net.init(jax.random.fold_in(key, 0)),
        EMBEDDING: edge_model.init(jax.random.fold_in(key, 1)),
    }
    probs = read(edge_model.probs(params[EMBEDDING]))
    return SearchState(
        step=jnp.int32(0),
        params=params,
        opt_state=optimizer.init(params),
        sums={WEIGHTS: no_weight_sums(), EMBEDDING: no_sums()},
        history=jax.tree.map(lambda p: jnp.zeros((epochs + 1, *p.shape)).at[0].set(p), probs),
    )


def make_weight_step(
    net: Applied,
    optimizer: Optimizer,
    preprocessing: Preprocessing,
    mix: Mix = mix_all,
    *,
    skip_nonfinite: bool = False,
    differentiate: Callable | None = None,
) -> Callable:
    """Makes `(state, probs, images, labels, key) -> state`: one batch of the training half updates w.

    The step runs on each device of the axis "batch". It takes probs [2, 14, 7] as fixed: Algorithm 1 holds P for an
    epoch. It takes images as uint8 [B, H, W, C], this device's part of the batch, and the run's key.

    Args:
      net, mix: fields of a `steps.relaxation.Relaxation`.
      optimizer: updates the group WEIGHTS.
      preprocessing: how images enter the step.
      skip_nonfinite: whether an update that is not finite is left out.
      differentiate: `(w, images, labels, choices, step) -> (gradient, sums)`; None: the gradient of the mean loss.
    """
    differentiate = differentiate or _make_gradient(net)

    def weight_step(state, probs, images, labels, key):
        x = augmented(preprocessing, images, jax.random.fold_in(key, state.step))
        choices = mix(probs, key, state.step)
        grads, sums = differentiate(state.params[WEIGHTS], x, labels, choices, state.step)
        return updated(state, WEIGHTS, optimizer, grads, sums, skip_nonfinite)

    return weight_step


def _make_gradient(net):
    """Makes the function `differentiate` that a step of the weights has by default."""

    def gradient(weights, x, labels, choices, step):
        del step  # the loss has no term that changes

        def loss_fn(weights):
            return loss(net, weights, x, labels, choices)

        return jax.grad(loss_fn, has_aux=True)(weights)

    return gradient


def make_embedding_step(
    net: Applied,
    edge_model: EdgeModel,
    optimizer: Optimizer,
    preprocessing: Preprocessing,
    mix: Mix = mix_all,
    *,
    penalty: Penalty | None = None,
    skip_nonfinite: bool = False,
    warmup_steps: Any = None,
) -> Callable:
    """Makes `(state, images, labels, key) -> state`: one batch of the validation half updates X and the Thetas.

    The step computes P anew, and the gradient reaches the embedding through P only. The weights w stay as they are.

    Args:
      net, mix, penalty: fields of a `relaxation.Relaxation`; the loss in the sums is without the penalty.
      edge_model: computes P from the group EMBEDDING.
      optimizer: updates the group EMBEDDING.
      preprocessing: how images enter the step.
      skip_nonfinite: whether an update that is not finite is left out.
      warmup_steps: steps before this number add to the sums and update nothing; None: every step updates.
    """

    def loss_of(embedding, state, x, labels, key):
        choices = edge_model.probs(embedding), mix, penalty
        return relaxed_loss(net, state.params[WEIGHTS], x, labels, *choices, key, state.step)

    def update(state, x, labels, key):
        grads, sums = jax.grad(loss_of, has_aux=True)(
            state.params[EMBEDDING], state, x, labels, key
        )
        return updated(state, EMBEDDING, optimizer, grads, sums, skip_nonfinite)

    def evaluate(state, x, labels, key):
        _, sums = loss_of(state.params[EMBEDDING], state, x, labels, key)
        added = jax.tree.map(jnp.add, state.sums[EMBEDDING], lax.psum(sums, AXIS))
        return state._replace(step=state.step + 1, sums=state.sums | {EMBEDDING: added})

    def embedding_step(state, images, labels, key):
        x = augmented(preprocessing, images, jax.random.fold_in(key, state.step))
        if warmup_steps is None:
            return update(state, x, labels, key)
        return lax.cond(state.step < warmup_steps, evaluate, update, state, x, labels, key)

    return embedding_step


def make_weight_phase(weight_step: Callable) -> Callable:
    """Makes `(state, (probs, batches), key, start, stop) -> state`: weight steps on the rows start..stop-1.

    P is an argument, so that one compiled program serves all edge models.
    """

    def weight_phase(state, probs_and_batches, key, start, stop):
        probs, batches = probs_and_batches

        def step(state, *batch):
            return weight_step(state, probs, *batch)

        return make_phase(step)(state, batches, key, start, stop)

    return weight_phase


def make_alternating_phase(
    weight_step: Callable, embedding_step: Callable, edge_model: EdgeModel
) -> Callable:
    """Makes `(state, (weight batches, embedding batches), key, start, stop) -> state`, as DARTS alternates.

    For each row, an embedding step comes first. A weight step under the updated P follows.
    """

    def with_validation(state, training, validation, key):
        del training
        return embedding_step(state, *validation, key)

    return alternate(weight_step, with_validation, edge_model)


def alternate(weight_step: Callable, embedding_step: Callable, edge_model: EdgeModel) -> Callable:
    """Makes the phase of `make_alternating_phase` from an embedding step that reads both batches.

    `embedding_step` is (state, training batch, validation batch, key) -> state.
    """

    def alternating_phase(state, batches, key, start, stop):
        training, validation = batches

        def body(i, state):
            state = embedding_step(state, batch_at(training, i), batch_at(validation, i), key)
            probs = edge_model.probs(state.params[EMBEDDING])
            return weight_step(state, probs, *batch_at(training, i), key)

        return lax.fori_loop(start, stop, body, state)

    return alternating_phase


def augmented(preprocessing: Preprocessing, images: jax.Array, key: jax.Array) -> jax.Array:
    """Augments images. It draws for the global batch, so that a crop does not depend on the number of devices."""
    draws = augment.draw(
        key,
        lax.axis_size(AXIS) * len(images),
        *images.shape[1:3],
        pad=preprocessing.pad,
        flip=preprocessing.flip,
    )
    mine = my_part(draws, len(images))
    return augment.apply(
        images, mine, mean=preprocessing.mean, std=preprocessing.std, pad=preprocessing.pad
    )


def loss(net, weights, x, labels, choices):
    """Returns the mean loss of a batch of normalized images `x`, and its sums."""
    return batch_loss(net.apply(weights, x, choices)[0], labels)


def batch_loss(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, Sums]:
    """Returns the mean loss of logits [B, classes], and the sums."""
    losses = cross_entropy(logits, labels)
    return losses.mean(), count_correct(losses, logits, labels)


def relaxed_loss(net, weights, x, labels, probs, mix, penalty, key, step):
    """Returns the loss that the embedding's gradient lowers, with the penalty, and the sums without the penalty."""
    value, sums = loss(net, weights, x, labels, mix(probs, key, step))
    return (value if penalty is None else value + penalty(probs, step)), sums


def updated(state, group, optimizer, grads, sums, skip_nonfinite):
    """Returns the state after an update of a group by the mean gradient of all devices."""
    grads, sums = lax.pmean(grads, AXIS), lax.psum(sums, AXIS)
    params, opt_state = optimizer.update(group, grads, state.opt_state, state.params)
    added = jax.tree.map(jnp.add, state.sums[group], sums)
    new = params[group], opt_state, added
    if skip_nonfinite:
        new = finite.choose(new, (state.params[group], state.opt_state, state.sums[group]))
    moved, opt_state, added = new
    return state._replace(
        step=state.step + 1,
        params=params | {group: moved},
        opt_state=opt_state,
        sums=state.sums | {group: added},
    )
