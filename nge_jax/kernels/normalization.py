"""Batch normalization with learned scale and bias, with a derivative that is fast on CPUs too.

GPUs and TPUs get the plain form, and its automatic derivative.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax.kernels.materialize import materialize


def batch_norm(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    *,
    epsilon: float,
    dtype: Any,
    axis_name: str | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalizes with the statistics of the batch in float32, and the variance E[x^2] - E[x]^2, as Flax's module does.

    On CPUs the derivative is by hand. It keeps x and three numbers a channel, and it reads the gradient less often than
    the automatic derivative, which also stores x - E[x].

    Args:
        x: [..., C].
        scale: [C], float32.
        bias: [C], float32.
        epsilon: added to the variance.
        dtype: data type of the result.
        axis_name: mapped axis over which the statistics are averaged, if any.

    Returns:
        The result [..., C], and E[x] and the (biased) variance [C], float32, through which no gradient goes.
    """

    def stop_statistics(form):
        def normalize(*arrays):
            y, mean, variance = form(epsilon, dtype, axis_name, *arrays)
            return y, lax.stop_gradient(mean), lax.stop_gradient(variance)

        return normalize

    forms = {"cpu": stop_statistics(_normalize_rows), "default": stop_statistics(_normalize)}
    return lax.platform_dependent(x, scale, bias, **forms)


def _normalize(epsilon, dtype, axis_name, x, scale, bias):
    x = x.astype(jnp.float32)
    mean, variance = _moments(x, axis_name)
    y = (x - mean) * (lax.rsqrt(variance + epsilon) * scale) + bias
    return y.astype(dtype), mean, variance


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _normalize_rows(epsilon, dtype, axis_name, x, scale, bias):
    return _forward(epsilon, dtype, axis_name, x, scale, bias)[0]


def _forward(epsilon, dtype, axis_name, x, scale, bias):
    wide = x.astype(jnp.float32)
    mean, variance = _moments(wide, axis_name)
    factor = lax.rsqrt(variance + epsilon)
    means, factors, biases = _repeat_for_rows(x, scale, mean, factor * scale, bias)
    y = ((_rows(wide) - means) * factors + biases).astype(dtype)
    return (y.reshape(x.shape), mean, variance), (x, scale, mean, factor)


def _backward(epsilon, dtype, axis_name, residuals, gradients):
    del epsilon, dtype
    x, scale, mean, factor = residuals
    # The gradient is materialized once for the three operations that read it. The barrier separates this x from the x
    # of the forward pass. Otherwise XLA would store x - E[x] for both.
    g, x = materialize(gradients[0], scale), lax.optimization_barrier(x)
    g, wide = g.astype(jnp.float32), x.astype(jnp.float32)
    axes = tuple(range(x.ndim - 1))
    sum_g = g.sum(axes)
    along_y = ((g * wide).sum(axes) - mean * sum_g) * factor
    count = x.size // x.shape[-1]
    mean_g, mean_along_y = _average(axis_name, sum_g / count, along_y / count)
    # For every x, the normalized x has mean 0 and mean square 1. Therefore the parts of g along 1 and along the
    # normalized x are lost.
    g_factor, x_factor = factor * scale, -factor * factor * scale * mean_along_y
    means, g_factor, x_factor, lost = _repeat_for_rows(
        x, scale, mean, g_factor, x_factor, g_factor * mean_g
    )
    g_x = _rows(g) * g_factor - lost + (_rows(wide) - means) * x_factor
    return materialize(g_x.astype(x.dtype), scale).reshape(x.shape), along_y, sum_g


_normalize_rows.defvjp(_forward, _backward)


def _moments(x, axis_name):
    axes = tuple(range(x.ndim - 1))
    mean, square = _average(axis_name, x.mean(axes), jnp.square(x).mean(axes))
    return mean, jnp.maximum(0.0, square - jnp.square(mean))


def _average(axis_name, *vectors):
    if axis_name is None:
        return vectors
    means = lax.pmean(jnp.stack(vectors), axis_name)  # one message between the devices
    return tuple(means[i] for i in range(len(vectors)))


def _rows(x):
    """Flattens rows, [..., W, C] -> [..., W C]: a loop along 16 channels takes three times as long."""
    return x.reshape(*x.shape[:-2], -1)


def _repeat_for_rows(x, known, *vectors):
    """Repeats vectors [C] for the rows of x: [vectors, W C]."""
    return materialize(jnp.tile(jnp.stack(vectors), math.prod(x.shape[-2:-1])), known)
