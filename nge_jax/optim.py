"""Optimizers as optax chains, and one that moves one group of the parameters at a time (Algorithm 1)."""

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import jax
import optax

WEIGHTS, EMBEDDING = "weights", "embedding"


def sgd(
    learning_rate: optax.ScalarOrSchedule, *, momentum: float, weight_decay: float, clip_norm: float
) -> optax.GradientTransformation:
    """Makes SGD as DARTS has it: clip the loss's gradient, then add weight decay, then momentum."""
    return optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.add_decayed_weights(weight_decay),
        optax.sgd(learning_rate, momentum=momentum),
    )


def adam(
    learning_rate: optax.ScalarOrSchedule, *, b1: float, b2: float, weight_decay: float
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
        zeros = {name: jax.tree.map(jax.numpy.zeros_like, params[name]) for name in params}
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
