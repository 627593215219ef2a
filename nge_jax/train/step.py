"""The update of a derived network's weights.

Images arrive as uint8. Everything random in a step is drawn for the whole batch from (key, step), and
each device takes the part of its own images: a result does not depend on how many devices share the
batch, but for the batch statistics where those are each device's own.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from nge_jax.data import augment
from nge_jax.data.photographs import jitter
from nge_jax.devices import finite
from nge_jax.devices.parallel import AXIS, my_part, sum_over_devices
from nge_jax.metrics import Sums, count_correct, no_sums
from nge_jax.networks.cell import draw_path_scales
from nge_jax.networks.network import Network
from nge_jax.train.arguments import DropPath, ProgramArguments

Tree = Any
_FLIPS = 2**31  # begins a stream of random numbers beside the steps', whose numbers are smaller


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
    """What a training step needs to know besides the network, the optimizer and `ProgramArguments`.

    jitter: strengths of `data.jitter`, whose flip and colors then take the place of crop, flip and cutout.
    accumulate: micro-batches of which a step sums the gradients.
    skip_nonfinite: whether an update that is not finite is left out.
    class_weights: of the losses of each class's images, 1 in the mean over all; None: 1.
    alternate_flip: whether each image is mirrored in every second epoch, instead of by chance.
    """

    auxiliary_weight: float  # of the auxiliary head's loss; 0: the network has none
    label_smoothing: float
    pad: int
    flip: bool
    cutout: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    jitter: tuple[float, ...] | None = None
    accumulate: int = 1
    skip_nonfinite: bool = False
    alternate_flip: bool = False
    class_weights: tuple[float, ...] | None = None


def init_state(
    model: Network,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    image_shape: tuple[int, int, int],
) -> TrainState:
    """Makes the state before the first step."""

    def init(key):
        return new_state(model, optimizer, key, image_shape)

    # Hundreds of small draws that run once: unoptimized they compile in a third of the time.
    return jax.jit(init, compiler_options={"xla_backend_optimization_level": 0})(key)


def state_shapes(
    model: Network, optimizer: optax.GradientTransformation, image_shape: tuple[int, int, int]
) -> TrainState:
    """Returns the state's types and shapes, to restore a checkpoint by."""
    return jax.eval_shape(lambda: new_state(model, optimizer, jax.random.key(0), image_shape))


def make_train_step(
    model: Network,
    optimizer: optax.GradientTransformation,
    recipe: Recipe,
    arguments: ProgramArguments,
) -> Callable:
    """Makes `(state, images, labels, key) -> state`: one batch, on each device of the axis "batch".

    images: uint8 [B, H, W, C], labels: int32 [B], this device's part of the batch; key: the run's. With
    `recipe.alternate_flip` it is `(state, images, labels, places, key) -> state`, with the number of each image.
    The optimizer's numbers and `numbers` may be arguments of the program; the step is made inside it then.

    With `recipe.accumulate` a device takes its part in that many micro-batches one after the other, each
    with its own batch statistics, and holds the activations of one. It does so inside the step (where
    `optax.MultiSteps` would spread the batch over as many steps): the state has no half-done sums, the
    schedules count whole batches, and the gradient crosses the devices once a batch.
    """

    def weighted(losses, labels):
        if recipe.class_weights is None:
            return losses.mean()
        return (losses * jnp.array(recipe.class_weights)[labels]).mean()

    def train_step(state, images, labels, *places_and_key):
        *places, key = places_and_key
        augment_key, path_key = jax.random.split(jax.random.fold_in(key, state.step))
        draws = _draw(recipe, images, augment_key)
        if recipe.alternate_flip:
            (places,), epoch = places, state.step // arguments.steps_per_epoch
            flip_key = jax.random.fold_in(key, _FLIPS)
            draws = draws._replace(flip=augment.alternating_flip(flip_key, places, epoch))
        scales = path_scales(model, arguments.drop_path, state.step, len(images), path_key)

        def loss_fn(params, batch_stats, images, labels, draws, scales):
            (logits, endpoints), updated = model.apply(
                {"params": params, "batch_stats": batch_stats},
                _augment(recipe, images, draws),
                train=True,
                path_scales=None if scales is None else jnp.moveaxis(scales, 0, -1),
                mutable=["batch_stats"],
            )
            targets = jax.nn.one_hot(labels, model.classes)
            targets = optax.smooth_labels(targets, recipe.label_smoothing)
            loss = weighted(optax.softmax_cross_entropy(logits, targets), labels)
            if recipe.auxiliary_weight:
                auxiliary = optax.softmax_cross_entropy(endpoints["aux_logits"], targets)
                auxiliary = weighted(auxiliary, labels)
                loss += recipe.auxiliary_weight * auxiliary
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return loss, (updated["batch_stats"], count_correct(losses, logits, labels))

        scales = None if scales is None else jnp.moveaxis(scales, -1, 0)
        return update(
            state,
            loss_fn,
            (images, labels, draws, scales),
            optimizer,
            accumulate=recipe.accumulate,
            divisor=lax.axis_size(AXIS) * recipe.accumulate,
            steps_per_epoch=arguments.steps_per_epoch,
            skip_nonfinite=recipe.skip_nonfinite,
        )

    return train_step


def update(
    state: TrainState,
    loss_fn: Callable,
    batch: Tree,
    optimizer: optax.GradientTransformation,
    *,
    accumulate: int,
    divisor: jax.Array | int,
    steps_per_epoch: jax.Array | int,
    skip_nonfinite: bool = False,
) -> TrainState:
    """Goes a step down the gradient of a loss, summed over micro-batches and devices and divided by `divisor`.

    Args:
      state: before the step.
      loss_fn: `(params, batch_stats, *micro_batch) -> (loss, (batch_stats, Sums))`.
      batch: a tuple of arrays [B, ...], this device's part.
      optimizer: of the parameters.
      accumulate: number of micro-batches.
      divisor: of the summed gradient.
      steps_per_epoch: the state's sums begin anew after so many steps.
      skip_nonfinite: whether an update that is not finite is left out; then the step is all that moves.
    """

    def micro_step(carry, micro_batch):
        batch_stats, grads, sums = carry
        more, (batch_stats, more_sums) = jax.grad(loss_fn, has_aux=True)(
            state.params, batch_stats, *micro_batch
        )
        return (batch_stats, *jax.tree.map(jnp.add, (grads, sums), (more, more_sums))), None

    # [micro-batches, B / micro-batches, ...]; of one micro-batch no loop is left.
    micro_batches = jax.tree.map(lambda a: a.reshape(accumulate, -1, *a.shape[1:]), batch)
    nothing = jax.tree.map(jnp.zeros_like, state.params), no_sums()
    (batch_stats, grads, sums), _ = lax.scan(
        micro_step, (state.batch_stats, *nothing), micro_batches, unroll=accumulate == 1
    )
    grads, batch_stats, sums = sum_over_devices((grads, batch_stats, sums))
    devices = lax.axis_size(AXIS)
    grads = jax.tree.map(lambda g: g / divisor, grads)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    begins = state.step % steps_per_epoch == 0
    new = TrainState(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=jax.tree.map(lambda a: a / devices, batch_stats),
        opt_state=opt_state,
        sums=jax.tree.map(lambda a, b: jnp.where(begins, b, a + b), state.sums, sums),
    )
    if not skip_nonfinite:
        return new
    before = jax.tree.map(lambda a: jnp.where(begins, 0, a), state.sums)
    return finite.choose(new, state._replace(step=new.step, sums=before))


def path_scales(
    model: Network, drop_path: DropPath | None, step: jax.Array, count: int, key: jax.Array
) -> jax.Array | None:
    """Draws the drop-path of a step for this device's `count` images, [cells, edges, count]; None for none."""
    if drop_path is None:
        return None
    batch = lax.axis_size(AXIS) * count
    scales = draw_path_scales(key, model.genotype, len(model.plan), batch, drop_path.at(step))
    return my_part(scales, count, axis=2)


def new_state(
    model: Network,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    image_shape: tuple[int, int, int],
) -> TrainState:
    """Makes the state of `init_state` inside a program."""
    variables = model.init(key, jnp.zeros((1, *image_shape)), train=True)
    params, batch_stats = variables["params"], variables["batch_stats"]
    return TrainState(jnp.int32(0), params, batch_stats, optimizer.init(params), no_sums())


def _draw(recipe, images, key):
    """Draws this device's part of the augmentation's random numbers."""
    batch = lax.axis_size(AXIS) * len(images)
    if recipe.jitter is not None:
        draws = jitter.draw(key, batch, flip=recipe.flip, strengths=recipe.jitter)
    else:
        draws = augment.draw(key, batch, *images.shape[1:3], pad=recipe.pad, flip=recipe.flip)
    return my_part(draws, len(images))


def _augment(recipe, images, draws):
    pixels = {"mean": recipe.mean, "std": recipe.std}
    if recipe.jitter is not None:
        return jitter.apply(images, draws, **pixels)
    return augment.apply(images, draws, **pixels, pad=recipe.pad, cutout=recipe.cutout)
