"""Optimizers as optax chains, and one that moves one group of the parameters at a time (Algorithm 1)."""

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.flatten_util import ravel_pytree

WEIGHTS, EMBEDDING = "weights", "embedding"


class Cosine(NamedTuple):
    """A learning rate that falls along half a cosine: optax's, of numbers that may be a program's arguments.

    Attributes:
        peak: the rate of the first step.
        steps: after so many it is 0.
    """

    peak: Any
    steps: Any

    def __call__(self, step: Any) -> Any:
        """Computes the rate of a step, counted from 0."""
        # Of optax's constants XLA makes this by jax 0.10: it divides by one by multiplying with its inverse, and both
        # round alike. By 0.12 it divides.
        turn = np.float32(np.pi) * inverse(self.steps)
        return self.peak * (0.5 * (1 + jnp.cos(jnp.minimum(step, self.steps) * turn)))


class Linear(NamedTuple):
    """A learning rate that moves along a line, or a power of one, and then stays: optax's, as `Cosine`.

    Attributes:
        change: of the first step's rate from the last one's. Not that rate itself: a program would take their
            difference in float32.
        last: the rate when it stays.
        steps: after so many it stays.
    """

    change: Any
    last: Any
    steps: Any

    def __call__(self, step: Any, power: float = 1) -> Any:
        """Computes the rate of a step, counted from 0.

        `power` stays a constant of a program: of a variable one XLA makes other code, whose last bits differ.
        """
        part = jnp.clip(step, 0, self.steps) * inverse(jnp.maximum(self.steps, 1))
        # A part rounded to above 1 would have no power.
        return self.change * jnp.maximum(1 - part, 0) ** power + self.last


class WarmedUp(NamedTuple):
    """A learning rate that rises along a line, whose last step is its peak, and then falls.

    Attributes:
        warmup: the rise; its steps are one less than those before the fall.
        decay: the fall, whose steps count anew.
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
    """The numbers of `sgd`, but for its rate; they may be a program's arguments."""

    momentum: Any
    weight_decay: Any
    clip_norm: Any


def sgd(
    learning_rate: optax.ScalarOrSchedule, *, momentum: Any, weight_decay: Any, clip_norm: Any
) -> optax.GradientTransformation:
    """Makes SGD as DARTS has it: clip the loss's gradient, then add weight decay, then momentum.

    The numbers, here and but for b1 and b2 in `adam`, may be values of a program; the optimizer is made inside it then.
    """
    return optax.chain(
        clip_by_global_norm(clip_norm),
        optax.add_decayed_weights(weight_decay),
        optax.sgd(learning_rate, momentum=momentum),
    )


def clip_by_global_norm(largest: Any) -> optax.GradientTransformation:
    """Makes optax's transformation of this name, off CPUs in a few kernels instead of two for each array.

    On CPUs it is optax's, whose sums are in another order.
    """

    def update(updates, state, params=None):
        del params
        norm = lax.platform_dependent(updates, cpu=optax.tree.norm, default=_norm_of_one_array)

        def clipped(update):
            small = jnp.squeeze(norm < largest)
            return lax.select(small, update, (update / norm.astype(update.dtype)) * largest)

        return jax.tree.map(clipped, updates), state

    return optax.GradientTransformation(optax.init_empty_state, update)


def _norm_of_one_array(tree):
    return jnp.linalg.norm(ravel_pytree(tree)[0])


def adam(
    learning_rate: Any, *, b1: float, b2: float, weight_decay: Any
) -> optax.GradientTransformation:
    """Makes Adam with the weight decay in the gradient (PyTorch's `Adam(weight_decay=...)`, as DARTS)."""
    return optax.chain(
        optax.add_decayed_weights(weight_decay),
        optax.adam(learning_rate, b1=b1, b2=b2),
    )


class Optimizer(NamedTuple):
    """Optimizes several groups of parameters, of which an update moves just one.

    Attributes:
        groups: from the name of each group, a key of the parameters' dict, to its transformation.
    """

    groups: Mapping[str, optax.GradientTransformation]

    def init(self, params: dict[str, Any]) -> Any:
        """Makes the state of all groups."""
        return self._partition(None).init(params)

    def update(
        self, group: str, grads: Any, state: Any, params: dict[str, Any]
    ) -> tuple[dict[str, Any], Any]:
        """Computes new params and state from the gradient of one group; the others stay bit for bit.

        Zero gradients alone would not do: momentum and weight decay move parameters without any.
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
    """Makes a `set_to_zero` that keeps the state of `transform` for later."""
    set_to_zero = optax.set_to_zero()

    def update(updates, state, params=None):
        zeros, _ = set_to_zero.update(updates, optax.EmptyState(), params)
        return zeros, state

    return optax.GradientTransformation(transform.init, update)
