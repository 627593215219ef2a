"""Optimizers as optax chains, and one that updates one group of parameters at a time (paper Algorithm 1)."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.flatten_util import ravel_pytree

WEIGHTS, EMBEDDING = "weights", "embedding"


class Cosine(NamedTuple):
    """A learning rate that falls along half a cosine: optax's schedule, whose numbers may be arguments of a program.

    Attributes:
        peak: the rate of the first step.
        steps: the number of steps after which the rate is 0.
    """

    peak: Any
    steps: Any

    def __call__(self, step: Any) -> Any:
        """Computes the rate of a step, counted from 0."""
        # XLA makes the same computation from optax's constants with jax 0.10: it divides by a constant by multiplying
        # with the inverse, and both round alike. With jax 0.12 it divides.
        turn = np.float32(np.pi) * inverse(self.steps)
        return self.peak * (0.5 * (1 + jnp.cos(jnp.minimum(step, self.steps) * turn)))


class Linear(NamedTuple):
    """A learning rate that moves along a line or its power and then stays: optax's schedule, like `Cosine`.

    Attributes:
        change: the first step's rate less the last rate. The first rate itself would not do, because a program would
            compute the difference in float32.
        last: the rate at the end.
        steps: the number of steps after which the rate stays.
    """

    change: Any
    last: Any
    steps: Any

    def __call__(self, step: Any, power: float = 1) -> Any:
        """Computes the rate of a step, counted from 0.

        `power` must be a constant of the program: XLA makes other code from a variable, whose last bits differ.
        """
        part = jnp.clip(step, 0, self.steps) * inverse(jnp.maximum(self.steps, 1))
        # Rounding may lift the part above 1, and a negative number has no power.
        return self.change * jnp.maximum(1 - part, 0) ** power + self.last


class WarmedUp(NamedTuple):
    """A learning rate that rises along a line to the peak, and then falls.

    Attributes:
        warmup: the rise. The fall begins `warmup.steps` + 1 steps after the start.
        decay: the fall, whose steps count from 0 again.
    """

    warmup: Linear
    decay: Cosine | Linear

    def __call__(self, step: Any) -> Any:
        """Computes the rate of a step, counted from 0."""
        begin = self.warmup.steps + 1
        return jnp.where(step < begin, self.warmup(step), self.decay(step - begin))


def inverse(number: Any) -> jax.Array:
    """Computes 1 / number in float32."""
    return 1 / jnp.asarray(number, jnp.float32)


class SgdNumbers(NamedTuple):
    """The numbers of `sgd` except for the learning rate; they may be arguments of a program."""

    momentum: Any
    weight_decay: Any
    clip_norm: Any

    def make(self, learning_rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
        """Makes the optimizer."""
        return sgd(learning_rate, **self._asdict())


class AdamwNumbers(NamedTuple):
    """The numbers of `adamw` except for the learning rate; they may be arguments of a program."""

    momentum: Any
    weight_decay: Any
    clip_norm: Any

    def make(self, learning_rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
        """Makes the optimizer."""
        return adamw(learning_rate, **self._asdict())


# The optimizers of a network's weights, by the key weights.optimizer. The type of the numbers decides the program.
WEIGHT_OPTIMIZERS = {"sgd": SgdNumbers, "adamw": AdamwNumbers}


def weight_numbers(settings: Mapping[str, Any]) -> SgdNumbers | AdamwNumbers:
    """Takes the numbers of the optimizer that a config's group `weights` names."""
    numbers = WEIGHT_OPTIMIZERS[settings["optimizer"]]
    return numbers(*(float(settings[name]) for name in numbers._fields))


def sgd_numbers(settings: Mapping[str, Any]) -> SgdNumbers:
    """Takes the numbers from a config's group `weights`, by their names."""
    return SgdNumbers(*(float(settings[name]) for name in SgdNumbers._fields))


def sgd(
    learning_rate: optax.ScalarOrSchedule, *, momentum: Any, weight_decay: Any, clip_norm: Any
) -> optax.GradientTransformation:
    """Makes DARTS's SGD: clips the loss's gradient, then adds weight decay, then momentum.

    All numbers may be arguments of a program, which then makes the optimizer inside.
    """
    return optax.chain(
        clip_by_global_norm(clip_norm),
        optax.add_decayed_weights(weight_decay),
        optax.sgd(learning_rate, momentum=momentum),
    )


def adamw(
    learning_rate: optax.ScalarOrSchedule, *, momentum: Any, weight_decay: Any, clip_norm: Any
) -> optax.GradientTransformation:
    """Makes AdamW (Loshchilov and Hutter, ICLR 2019) behind the clipping of the loss's gradient, as in `sgd`.

    The momentum is b1; b2 and eps are Adam's, 0.999 and 1e-8. The decay is a part of the step, times the learning rate.
    All numbers may be arguments of a program, as in `sgd`.
    """
    return optax.chain(
        clip_by_global_norm(clip_norm),
        adam(learning_rate, b1=momentum, b2=0.999, weight_decay=weight_decay, decoupled=True),
    )


def clip_by_global_norm(largest: Any) -> optax.GradientTransformation:
    """Makes optax's transformation of this name, with a few kernels on GPUs and TPUs in place of two for each array.

    CPUs get optax's form, which sums in another order.
    """

    def update(updates, state, params=None):
        del params
        norm = lax.platform_dependent(updates, cpu=optax.tree.norm, default=_norm_of_one_array)

        def clip(update):
            small = jnp.squeeze(norm < largest)
            return lax.select(small, update, (update / norm.astype(update.dtype)) * largest)

        return jax.tree.map(clip, updates), state

    return optax.GradientTransformation(optax.init_empty_state, update)


def _norm_of_one_array(tree):
    return jnp.linalg.norm(ravel_pytree(tree)[0])


def adam(
    learning_rate: Any, *, b1: float, b2: float, weight_decay: Any, decoupled: bool = False
) -> optax.GradientTransformation:
    """Makes Adam with the weight decay in the gradient, like PyTorch's `Adam(weight_decay=...)` (DARTS).

    With `decoupled` the step itself has the decay, as in AdamW. `learning_rate` and `weight_decay` may be arguments of
    a program, as in `sgd`.
    """
    if decoupled:
        return optax.adamw(learning_rate, b1=b1, b2=b2, weight_decay=weight_decay)
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.adam(learning_rate, b1=b1, b2=b2),
    )


def scale_rates(
    transform: optax.GradientTransformation, part_of: Callable[[Any], float]
) -> optax.GradientTransformation:
    """Gives the arrays of a tree different rates: `part_of` an array's path is the part of the rate of `transform`.

    An array with the part 0 stays as it is, whatever its decay.
    """

    def scale(updates: Any, params: Any = None) -> Any:
        del params
        return jax.tree_util.tree_map_with_path(lambda path, u: part_of(path) * u, updates)

    return optax.chain(transform, optax.stateless(scale))


class Optimizer(NamedTuple):
    """Optimizes several groups of parameters; an update changes one group.

    Attributes:
        groups: maps the name of each group, a key of the parameters' dict, to the group's transformation.
    """

    groups: Mapping[str, optax.GradientTransformation]

    def init(self, params: dict[str, Any]) -> Any:
        """Makes the state of all groups."""
        return self._partition(None).init(params)

    def update(
        self, group: str, grads: Any, state: Any, params: dict[str, Any]
    ) -> tuple[dict[str, Any], Any]:
        """Computes new params and state from the gradient of one group; the other groups stay bit for bit.

        Zero gradients would not be enough, because momentum and weight decay move parameters without a gradient.
        """
        zeros = {name: jax.tree.map(jnp.zeros_like, params[name]) for name in params}
        updates: Any
        updates, state = self._partition(group).update(zeros | {group: grads}, state, params)
        return params | {group: optax.apply_updates(params[group], updates[group])}, state

    def _partition(self, moving: str | None) -> optax.GradientTransformationExtraArgs:
        transforms: dict[Hashable, optax.GradientTransformation] = {
            name: group if name == moving else _hold(group) for name, group in self.groups.items()
        }
        return optax.partition(transforms, {name: name for name in self.groups})


def _hold(transform):
    """Makes a `set_to_zero` that keeps the state of `transform` unchanged."""
    set_to_zero = optax.set_to_zero()

    def update(updates, state, params=None):
        zeros, _ = set_to_zero.update(updates, optax.EmptyState(), params)
        return zeros, state

    return optax.GradientTransformation(transform.init, update)
