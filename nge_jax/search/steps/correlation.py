"""Lambda-DARTS (Movahedi et al., ICLR 2023): steps of the weights after which the cells agree on their operations.

All normal cells read one P, though each might want another. Let cell l read a copy P_l of P, and let g_l be the
gradient of the training loss L by this copy. The cells agree as far as

    Lambda = the mean of cos(g_l, g_m) over all pairs of normal cells

is large. A step of the weights w lowers L - lambda Lambda, and lambda grows along a line from 0. The gradient of Lambda
by w has mixed derivatives of L, which a finite difference replaces:

    d_w Lambda ~ (d_w L(w, P + eps u) - d_w L(w, P - eps u)) / (2 eps),   u_l = d Lambda / d g_l,   eps = 1e-4 / |u|

As in the authors' program (dr-faustus/Lambda-DARTS, `corr_type="corr"`), reduction cells read P itself and count in no
pair. A step takes three gradients in place of one.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from nge_jax.devices.parallel import AXIS
from nge_jax.metrics import Sums
from nge_jax.search.steps.gradient import batch_loss
from nge_jax.search.steps.relaxation import Line
from nge_jax.supernet.net import Layered

# The length of the finite difference's step (the authors' default; their script for the DARTS spaces has 1e-3).
DIFFERENCE = 1e-4


class LayerSums(NamedTuple):
    """Holds `metrics.Sums` of the weights' steps, and the cosine of each step, Lambda, summed over the examples."""

    loss: jax.Array
    correct: jax.Array
    count: jax.Array  # pyright: ignore[reportIncompatibleMethodOverride] (hides a tuple method that nobody calls)
    cosine: jax.Array


def no_sums() -> LayerSums:
    """Makes the sums of no examples."""
    return LayerSums(*(jnp.float32(0) for _ in LayerSums._fields))


def make_gradient(net: Layered, strengths: Line) -> Callable:
    """Makes `(w, images, labels, P, step) -> (gradient by w of L - lambda Lambda, LayerSums)`, for each device's part.

    Lambda is the whole batch's: the gradients g_l are means over the devices.

    Args:
      net: the supernet, which reads P [C, E, O].
      strengths: lambda.
    """
    types = np.array(net.layer_types)
    normal, allowed = types == 0, np.array(net.space.mask)[types]

    def gradient(weights, x, labels, probs, step):
        def loss(weights, layers):
            return batch_loss(net.apply_layers(weights, x, layers)[0], labels)

        layers = probs[types]
        both = jax.grad(loss, (0, 1), has_aux=True)
        (by_weights, by_layers), sums = both(weights, layers)
        by_layers = jnp.where(allowed, lax.pmean(by_layers, AXIS), 0)
        cosine, direction = jax.value_and_grad(mean_cosine)(by_layers[normal])
        # Where the cells agree already, u is 0 but for roundings. Then eps is 1 and not infinite.
        eps = DIFFERENCE / jnp.maximum(optax.tree.norm(direction), DIFFERENCE)
        move = jnp.zeros_like(layers).at[normal].set(eps * direction)

        def moved_gradient(sign):
            return jax.grad(loss, has_aux=True)(weights, layers + sign * move)[0]

        rate = strengths.at(step) / (2 * eps)
        total = jax.tree.map(
            lambda g, above, below: g - rate * (above - below),
            by_weights,
            moved_gradient(1.0),
            moved_gradient(-1.0),
        )
        return total, _with_cosine(sums, cosine)

    return gradient


def mean_cosine(gradients: jax.Array) -> jax.Array:
    """Computes the mean cosine between two of the gradients [cells, ...]; a gradient of 0 has the cosine 0."""
    rows = gradients.reshape(len(gradients), -1)
    squares = jnp.square(rows).sum(-1, keepdims=True)
    units = rows * jnp.where(squares > 0, lax.rsqrt(jnp.where(squares > 0, squares, 1)), 0)
    first, second = np.triu_indices(len(rows), 1)
    return (units[first] * units[second]).sum(-1).mean()


def _with_cosine(sums: Sums, cosine: jax.Array) -> LayerSums:
    return LayerSums(*sums, cosine=cosine * sums.count)
