"""Elements and rows that are selected by number, with derivatives that are no scatter on GPUs and TPUs.

The automatic derivative of a selection is a scatter. On GPUs a scatter adds by atomic operations, and sums come in any
order. CPUs keep the scatter. GPUs and TPUs compare numbers instead, which fuses with the operations around it.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


@jax.custom_vjp
def pick(x: jax.Array, numbers: jax.Array) -> jax.Array:
    """Takes the element `numbers` [...] of the last axis of x [..., n]: [...]. A number out of range gives NaN."""
    return _pick(x, numbers)


def _pick(x, numbers):
    return jnp.take_along_axis(x, numbers[..., None], -1).take(0, -1)


def _pick_forward(x, numbers):
    return pick(x, numbers), (x, numbers)


def _pick_backward(residuals, gradient):
    def scatter(x, numbers, gradient):
        return jax.vjp(lambda x: _pick(x, numbers), x)[1](gradient)[0]

    def compare(x, numbers, gradient):
        picked = numbers[..., None] == jnp.arange(x.shape[-1], dtype=numbers.dtype)
        return jnp.where(picked, gradient[..., None], 0)

    return lax.platform_dependent(*residuals, gradient, cpu=scatter, default=compare), None


pick.defvjp(_pick_forward, _pick_backward)


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Computes the cross-entropy [...] in nats of logits [..., classes] and integer labels [...].

    The formula is that of `optax.softmax_cross_entropy_with_integer_labels`.
    """
    return jax.nn.logsumexp(logits, -1) - pick(logits, labels)


def take_rows(x: jax.Array, numbers: Sequence[int] | np.ndarray) -> jax.Array:
    """Takes the m rows `numbers` of x [..., n, D]: [..., m, D]. A row may be taken several times."""
    return _take_rows(x, tuple(int(number) for number in numbers))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _take_rows(x, numbers):
    return x[..., np.array(numbers), :]


def _take_rows_forward(x, numbers):
    return _take_rows(x, numbers), x


def _take_rows_backward(numbers, x, gradient):
    def scatter(x, gradient):
        return jax.vjp(lambda x: x[..., np.array(numbers), :], x)[1](gradient)[0]

    def compare(x, gradient):
        taken = np.arange(x.shape[-2])[:, None] == np.array(numbers)  # [n, m]
        return jnp.where(taken[..., None], gradient[..., None, :, :], 0).sum(-2)

    return (lax.platform_dependent(x, gradient, cpu=scatter, default=compare),)


_take_rows.defvjp(_take_rows_forward, _take_rows_backward)
