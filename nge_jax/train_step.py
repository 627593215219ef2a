"""The update of a derived network's weights, many of them in one dispatch, and the evaluation.

The data set lives on the device as uint8. Everything random in a step is drawn for the whole batch
from (key, step), and each device takes the part of its own images: a result does not depend on how
many devices share the batch, but for the batch statistics, which are each device's own.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from nge_jax.data import augment
from nge_jax.metrics import Sums, count_correct, no_sums
from nge_jax.network import Network, draw_path_scales
from nge_jax.parallel import AXIS, BATCHES_AXES, Batches, by_device, my_part

Tree = Any


class TrainState(NamedTuple):
    """All that a training carries from step to step; it is what a checkpoint holds.

    sums: of the training batches since the epoch began (cross-entropy of the main head, unsmoothed).
    """

    step: jax.Array
    params: Tree
    batch_stats: Tree
    opt_state: Tree
    sums: Sums


class Recipe(NamedTuple):
    """What a training step needs to know besides the network and the optimiser."""

    total_steps: int
    steps_per_epoch: int
    drop_path: float  # rate reached at the end of training, growing linearly from 0
    auxiliary_weight: float  # of the auxiliary head's loss; 0: the network has none
    label_smoothing: float
    pad: int
    flip: bool
    cutout: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Evaluation(NamedTuple):
    """Means over all examples of a split, each counted once."""

    loss: float
    accuracy: float
    top5_accuracy: float
    examples: int


def init_state(
    model: Network,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    image_shape: tuple[int, int, int],
) -> TrainState:
    """The state before the first step."""

    def init(key):
        variables = model.init(key, jnp.zeros((1, *image_shape)), train=True)
        params, batch_stats = variables["params"], variables["batch_stats"]
        return TrainState(jnp.int32(0), params, batch_stats, optimizer.init(params), no_sums())

    # Hundreds of small draws that run once: unoptimised they compile in a third of the time.
    return jax.jit(init, compiler_options={"xla_backend_optimization_level": 0})(key)


def make_train_step(
    model: Network, optimizer: optax.GradientTransformation, recipe: Recipe
) -> Callable:
    """`(state, images, labels, key) -> state`: one batch, on each device of the axis "batch".

    images: uint8 [B, H, W, C], labels: int32 [B], this device's part of the batch; key: the run's.
    """

    def train_step(state, images, labels, key):
        augment_key, path_key = jax.random.split(jax.random.fold_in(key, state.step))
        x = _augment(recipe, images, augment_key)
        scales = path_scales(model, recipe, state.step, len(images), path_key)
        targets = optax.smooth_labels(jax.nn.one_hot(labels, model.classes), recipe.label_smoothing)

        def loss_fn(params):
            (logits, endpoints), updated = model.apply(
                {"params": params, "batch_stats": state.batch_stats},
                x,
                train=True,
                path_scales=scales,
                mutable=["batch_stats"],
            )
            loss = optax.softmax_cross_entropy(logits, targets).mean()
            if recipe.auxiliary_weight:
                auxiliary = optax.softmax_cross_entropy(endpoints["aux_logits"], targets).mean()
                loss += recipe.auxiliary_weight * auxiliary
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return loss, (updated["batch_stats"], count_correct(losses, logits, labels))

        grads, (batch_stats, sums) = jax.grad(loss_fn, has_aux=True)(state.params)
        grads, batch_stats = lax.pmean((grads, batch_stats), AXIS)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        sums = lax.psum(sums, AXIS)
        begins = state.step % recipe.steps_per_epoch == 0
        return TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            batch_stats=batch_stats,
            opt_state=opt_state,
            sums=jax.tree.map(lambda a, b: jnp.where(begins, b, a + b), state.sums, sums),
        )

    return train_step


def path_scales(
    model: Network, recipe: Recipe, step: jax.Array, count: int, key: jax.Array
) -> jax.Array | None:
    """Drop-path of a step for this device's `count` images, [cells, edges, count]; None for none.

    The rate grows with the step, from 0 to `recipe.drop_path`.
    """
    if not recipe.drop_path:
        return None
    rate = recipe.drop_path * step / recipe.total_steps
    batch = lax.axis_size(AXIS) * count
    scales = draw_path_scales(key, model.genotype, len(model.plan), batch, rate)
    return my_part(scales, count, axis=2)


def evaluate(
    model: Network,
    state: TrainState,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    batch_size: int,
) -> Evaluation:
    """Scores uint8 images [N, H, W, C] on all local devices, `batch_size` a device at a time.

    The last batches are padded and the padding masked, so N need not divide by anything.
    """

    def score(params, batch_stats, batches):
        def add(i, sums):
            index = batches.indices[i]
            x = augment.normalize(batches.images[index], mean, std)
            logits, _ = model.apply({"params": params, "batch_stats": batch_stats}, x, train=False)
            mine = _score(logits, batches.labels[index], index >= 0)
            return jax.tree.map(jnp.add, sums, mine)

        none = jnp.float32(0), jnp.int32(0), jnp.int32(0), jnp.int32(0)
        return lax.psum(lax.fori_loop(0, len(batches.indices), add, none), AXIS)

    together = jax.local_device_count() * batch_size
    indices = np.full([-(-len(images) // together), together], -1, np.int32)
    indices.flat[: len(images)] = np.arange(len(images))
    batches = Batches(images, labels, by_device(indices))
    everywhere = jax.pmap(score, AXIS, in_axes=(None, None, BATCHES_AXES), out_axes=None)
    sums = jax.device_get(everywhere(state.params, state.batch_stats, batches))
    loss, correct, top5, count = (value.item() for value in sums)
    if count != len(images):
        raise AssertionError(f"evaluated {count} examples of {len(images)}")
    return Evaluation(loss / count, correct / count, top5 / count, count)


def _augment(recipe, images, key):
    batch = lax.axis_size(AXIS) * len(images)
    draws = augment.draw(key, batch, *images.shape[1:3], pad=recipe.pad, flip=recipe.flip)
    return augment.apply(
        images,
        my_part(draws, len(images)),
        mean=recipe.mean,
        std=recipe.std,
        pad=recipe.pad,
        cutout=recipe.cutout,
    )


def _score(logits, labels, mask):
    """(loss, correct, correct among five, count) summed over the masked examples."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    best = lax.top_k(logits, min(5, logits.shape[-1]))[1] == labels[:, None]
    return (
        jnp.where(mask, losses, 0.0).sum(),
        (best[:, 0] & mask).sum(),
        (best.any(axis=-1) & mask).sum(),
        mask.sum(),
    )
