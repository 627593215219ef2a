"""The update of a derived network's weights.

Images arrive as uint8. A step draws random numbers for the whole batch from (key, step), and each device takes the
numbers of its images. A result thus does not depend on how many devices share the batch. Batch statistics are an
exception unless they are synchronized.
"""

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from nge_jax.data import augment
from nge_jax.data.augmentations import mixing, trivial_augment
from nge_jax.data.photographs import jitter
from nge_jax.devices import finite
from nge_jax.devices.parallel import AXIS, my_part, sum_over_devices
from nge_jax.metrics import Sums, count_correct, no_sums
from nge_jax.networks import averages
from nge_jax.networks.cell import draw_path_scales
from nge_jax.networks.network import Network
from nge_jax.networks.transfer import Variables
from nge_jax.runtime import patience
from nge_jax.runtime.patience import Waiting
from nge_jax.train.arguments import DropPath, ProgramArguments

Tree = Any
# The numbers of streams of random numbers. The streams of the steps have smaller numbers.
_FLIPS, _TRIVIAL, _MIXING = 2**31, 2**31 + 1, 2**31 + 2


class TrainState(NamedTuple):
    """The values that a training carries from step to step, and that a checkpoint holds.

    Attributes:
      step: updates so far.
      params, batch_stats, opt_state: the network and the optimizer's state.
      sums: the metrics' sums since the epoch began; the loss is the main head's cross-entropy, unsmoothed.
      averages: moving averages of the network's variables, which are tested in place of the last ones; None: no such.
      waiting: the wait for a better score on held-out images; None: the training ends with its last step.
    """

    step: jax.Array
    params: Tree
    batch_stats: Tree
    opt_state: Tree
    sums: Sums
    averages: Variables | None = None
    waiting: Waiting | None = None


class Parts(NamedTuple):
    """Says which parts a state has beside those of every training, see `TrainState`."""

    averages: bool = False
    waiting: bool = False


NO_PARTS = Parts()


class Recipe(NamedTuple):
    """The constants of a training step, besides the network and the optimizer.

    Attributes:
      auxiliary_weight: the weight of the auxiliary head's loss; 0: the network has no such head.
      label_smoothing: see `optax.smooth_labels`.
      pad, flip, cutout: the augmentation, see `augment.draw` and `augment.apply`.
      mean, std: normalize the images.
      jitter: strengths of `photographs.jitter`, whose flip and colors replace crop, flip and cutout.
      accumulate: the number of micro-batches whose gradients a step sums.
      skip_nonfinite: whether an update that is not finite is left out.
      alternate_flip: whether each image is mirrored in every second epoch, instead of at random.
      class_weights: each class's weight in the loss, 1 in the mean over all images; None: all are 1.
      trivial_augment: whether each image is changed by `trivial_augment` behind crop and flip.
      mixup, cutmix: how images are mixed, see `mixing.draw`; both 0: no image is mixed.
    """

    auxiliary_weight: float
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
    trivial_augment: bool = False
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def mixes(self) -> bool:
        """Whether images are mixed with others of the batch."""
        return self.mixup > 0 or self.cutmix > 0


def init_state(
    model: Network,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    image_shape: tuple[int, int, int],
    parts: Parts = NO_PARTS,
) -> TrainState:
    """Makes the state before the first step."""

    def init(key):
        return new_state(model, optimizer, key, image_shape, parts)

    # The program runs once and has hundreds of small draws. Unoptimized, it compiles in a third of the time.
    return jax.jit(init, compiler_options={"xla_backend_optimization_level": 0})(key)


def state_shapes(
    model: Network,
    optimizer: optax.GradientTransformation,
    image_shape: tuple[int, int, int],
    parts: Parts = NO_PARTS,
) -> TrainState:
    """Returns the types and shapes of the state's arrays, from which a checkpoint is restored."""
    key = jax.random.key(0)
    return jax.eval_shape(lambda: new_state(model, optimizer, key, image_shape, parts))


def variables_of(state: TrainState) -> Variables:
    """Returns the weights and the batch statistics of a state, or of its shapes."""
    return {"params": state.params, "batch_stats": state.batch_stats}


def begin_with(state: TrainState, variables: Variables) -> TrainState:
    """Returns the state before the first step of a training that begins with another network's variables."""
    state = state._replace(**variables)
    return state if state.averages is None else state._replace(averages=averages.begin(variables))


def averaged(state: TrainState) -> TrainState:
    """Returns the state with the averages in place of the network, where it has averages: the network that is used."""
    if state.averages is None:
        return state
    return state._replace(**state.averages, averages=None)


def make_train_step(
    model: Network,
    optimizer: optax.GradientTransformation,
    recipe: Recipe,
    arguments: ProgramArguments,
) -> Callable:
    """Makes `(state, images, labels, key) -> state`: one batch, on each device of the axis "batch".

    The step takes images as uint8 [B, H, W, C] and labels as int32 [B], this device's part of the batch, and the run's
    key. With `recipe.alternate_flip` it also takes the numbers of the images, between the labels and the key. With
    `recipe.accumulate` a device computes its part in micro-batches, each with separate batch statistics. Unlike
    `optax.MultiSteps`, one step does it all: the state has no partial sums, and schedules count whole batches.
    """
    loss_fn = _make_loss(model, recipe)

    def train_step(state, images, labels, *places_and_key):
        *places, key = places_and_key
        step_key = jax.random.fold_in(key, state.step)
        augment_key, path_key = jax.random.split(step_key)
        draws = _draw(recipe, images, augment_key)
        if recipe.alternate_flip:
            epoch = state.step // arguments.steps_per_epoch
            flip_key = jax.random.fold_in(key, _FLIPS)
            draws = draws._replace(flip=augment.alternating_flip(flip_key, places[0], epoch))
        batch = _make_batch(recipe, images, labels, draws, step_key)
        scales = path_scales(model, arguments.drop_path, state.step, len(images), path_key)
        scales = None if scales is None else jnp.moveaxis(scales, -1, 0)
        return update(
            state,
            loss_fn,
            (*batch, scales),
            optimizer,
            accumulate=recipe.accumulate,
            divisor=lax.axis_size(AXIS) * recipe.accumulate,
            steps_per_epoch=arguments.steps_per_epoch,
            skip_nonfinite=recipe.skip_nonfinite,
            averaging=arguments.averaging,
        )

    return train_step


def _make_loss(model: Network, recipe: Recipe) -> Callable:
    """Makes `(params, batch_stats, images, labeled, draws, scales) -> (loss, (batch_stats, Sums))`.

    `labeled` has pairs of labels and the images' parts that show them, see `mixing.Mixed`; None: the whole image. The
    draws are the augmentation's; None: the images are augmented. `scales` are drop-path's, [B, cells, edges]: the axis
    of images comes first, so that micro-batches can divide it.
    """

    def weighted(losses, labels, share):
        if recipe.class_weights is not None:
            losses = losses * jnp.array(recipe.class_weights)[labels]
        return (losses if share is None else losses * share).mean()

    def score(logits, endpoints, labels, share):
        targets = jax.nn.one_hot(labels, model.classes)
        targets = optax.smooth_labels(targets, recipe.label_smoothing)
        loss = weighted(optax.softmax_cross_entropy(logits, targets), labels, share)
        if recipe.auxiliary_weight:
            auxiliary = optax.softmax_cross_entropy(endpoints["aux_logits"], targets)
            auxiliary = weighted(auxiliary, labels, share)
            loss += recipe.auxiliary_weight * auxiliary
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return loss, count_correct(losses, logits, labels, share)

    def loss_fn(params, batch_stats, images, labeled, draws, scales):
        (logits, endpoints), updated = model.apply(
            {"params": params, "batch_stats": batch_stats},
            images if draws is None else _augment(recipe, images, *draws),
            train=True,
            path_scales=None if scales is None else jnp.moveaxis(scales, 0, -1),
            mutable=["batch_stats"],
        )
        scored = [score(logits, endpoints, *pair) for pair in labeled]
        loss, sums = functools.reduce(functools.partial(jax.tree.map, operator.add), scored)
        return loss, (updated["batch_stats"], sums)

    return loss_fn


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
    averaging: Any | None = None,
) -> TrainState:
    """Updates the parameters by the loss's gradient, summed over micro-batches and devices, divided by `divisor`.

    Args:
      state: the state before the step.
      loss_fn: `(params, batch_stats, *micro_batch) -> (loss, (batch_stats, Sums))`.
      batch: a tuple of trees of arrays [B, ...], this device's part.
      optimizer: updates the parameters.
      accumulate: the number of micro-batches.
      divisor: divides the summed gradient.
      steps_per_epoch: the number of steps after which the state's sums begin anew.
      skip_nonfinite: whether an update that is not finite is left out, so that only the step's number changes.
      averaging: the largest decay of the state's averages; None: it has none.
    """
    grads, batch_stats, sums = sum_over_devices(_sum_gradients(state, loss_fn, batch, accumulate))
    devices = lax.axis_size(AXIS)
    grads = jax.tree.map(lambda g: g / divisor, grads)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    begins = state.step % steps_per_epoch == 0
    new = state._replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, updates),
        batch_stats=jax.tree.map(lambda a: a / devices, batch_stats),
        opt_state=opt_state,
        sums=jax.tree.map(lambda a, b: jnp.where(begins, b, a + b), state.sums, sums),
    )
    if averaging is not None:
        assert state.averages is not None, "the state has what is averaged"
        moved = averages.move(state.averages, variables_of(new), averaging, state.step)
        new = new._replace(averages=moved)
    if not skip_nonfinite:
        return new
    before = jax.tree.map(lambda a: jnp.where(begins, 0, a), state.sums)
    return finite.choose(new, state._replace(step=new.step, sums=before))


def _sum_gradients(state, loss_fn, batch, accumulate):
    """Returns the sum of the micro-batches' gradients, the batch statistics after the last, and the metrics' sums."""

    def micro_step(carry, micro_batch):
        batch_stats, grads, sums = carry
        new_grads, (batch_stats, new_sums) = jax.grad(loss_fn, has_aux=True)(
            state.params, batch_stats, *micro_batch
        )
        return (batch_stats, *jax.tree.map(jnp.add, (grads, sums), (new_grads, new_sums))), None

    # [micro-batches, B / micro-batches, ...]. A single micro-batch is unrolled, so that no loop remains.
    micro_batches = jax.tree.map(lambda a: a.reshape(accumulate, -1, *a.shape[1:]), batch)
    zeros = jax.tree.map(jnp.zeros_like, state.params), no_sums()
    (batch_stats, grads, sums), _ = lax.scan(
        micro_step, (state.batch_stats, *zeros), micro_batches, unroll=accumulate == 1
    )
    return grads, batch_stats, sums


def path_scales(
    model: Network, drop_path: DropPath | None, step: jax.Array, count: int, key: jax.Array
) -> jax.Array | None:
    """Draws a step's drop-path scales [cells, edges, count] for this device's images; None without drop-path."""
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
    parts: Parts = NO_PARTS,
) -> TrainState:
    """Makes the state before the first step; `init_state` and `state_shapes` trace this function."""
    variables = model.init(key, jnp.zeros((1, *image_shape)), train=True)
    params, batch_stats = variables["params"], variables["batch_stats"]
    network = {"params": params, "batch_stats": batch_stats}
    return TrainState(
        jnp.int32(0),
        params,
        batch_stats,
        optimizer.init(params),
        no_sums(),
        averages=averages.begin(network) if parts.averages else None,
        waiting=jax.tree.map(jnp.asarray, patience.begin()) if parts.waiting else None,
    )


def _draw(recipe, images, key):
    """Draws this device's part of the augmentation's random numbers."""
    batch = lax.axis_size(AXIS) * len(images)
    if recipe.jitter is not None:
        draws = jitter.draw(key, batch, flip=recipe.flip, strengths=recipe.jitter)
    else:
        draws = augment.draw(key, batch, *images.shape[1:3], pad=recipe.pad, flip=recipe.flip)
    return my_part(draws, len(images))


def _make_batch(recipe, images, labels, draws, step_key):
    """Returns images, labels with parts, and draws, as `_make_loss` takes them; `draws` are those of `_draw`."""
    trivial = None
    if recipe.trivial_augment:
        batch = lax.axis_size(AXIS) * len(images)
        trivial = trivial_augment.draw(jax.random.fold_in(step_key, _TRIVIAL), batch)
        trivial = my_part(trivial, len(images))
    if not recipe.mixes:
        return images, ((labels, None),), (draws, trivial)
    # The partner of an image may lie in another micro-batch. All images are therefore augmented before.
    images = _augment(recipe, images, draws, trivial)
    key = jax.random.fold_in(step_key, _MIXING)
    mixed = mixing.mix(images, labels, key, mixup=recipe.mixup, cutmix=recipe.cutmix)
    return mixed.images, ((mixed.labels, mixed.share), (mixed.partners, 1 - mixed.share)), None


def _augment(recipe, images, draws, trivial):
    options = {"mean": recipe.mean, "std": recipe.std}
    if trivial is not None:
        options["change"] = functools.partial(trivial_augment.apply, draws=trivial)
    if recipe.jitter is not None:
        return jitter.apply(images, draws, **options)
    return augment.apply(images, draws, **options, pad=recipe.pad, cutout=recipe.cutout)
