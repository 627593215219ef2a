"""Batch normalization with the batch's own statistics, also folded into the 1x1 convolution before it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name

BATCH_NORM_EPSILON = 1e-5
STATISTICS = "statistics"  # their name where a backward pass keeps some arrays by name


def batch_norm(x: jax.Array, axis_name: str | None = None, axis: int = -1) -> jax.Array:
    """Normalizes x with the statistics of the batch, without affine part; `axis` is the axis of the channels."""
    others = tuple(number for number in range(x.ndim) if number != axis % x.ndim)
    wide = x.astype(jnp.float32)
    mean = along(pmean(wide.mean(others), axis_name), x.ndim, axis)
    variance = pmean(jnp.square(wide - mean).mean(others), axis_name)
    scale = along(lax.rsqrt(variance + BATCH_NORM_EPSILON), x.ndim, axis)
    return ((x - mean) * scale).astype(x.dtype)


def along(vector: jax.Array, ndim: int, axis: int) -> jax.Array:
    """Reshapes a vector [C] to broadcast along an axis of arrays with `ndim` axes."""
    behind = ndim - 1 - axis % ndim
    return vector.reshape(-1, *[1] * behind) if behind else vector


def batch_norm_in_one_pass(x: jax.Array, axis_name: str | None = None) -> jax.Array:
    """Computes `batch_norm` with the variance E[x^2] - E[x]^2, as Flax does by default.

    This form reads x once less, and its rounding is worse: the difference cancels where the mean is large beside the
    deviation. After a convolution the mean is small enough: logits and gradients of a supernet are as near to float64's
    as by `batch_norm`. The derivative is by hand. It keeps x and two numbers a channel, and computes both of its sums
    in one reading.
    """
    y: Any = _in_one_pass(x, axis_name)
    return y


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _in_one_pass(x, axis_name):
    return _one_pass_forward(x, axis_name)[0]


def _one_pass_forward(x, axis_name):
    wide = x.astype(jnp.float32)
    mean, square = pmean(_two_means(wide, jnp.square(wide)), axis_name)
    scale = lax.rsqrt(jnp.maximum(square - jnp.square(mean), 0) + BATCH_NORM_EPSILON)
    mean, scale = checkpoint_name((mean, scale), STATISTICS)
    return ((wide - mean) * scale).astype(x.dtype), (x, mean, scale)


def _one_pass_backward(axis_name, residuals, gradient):
    x, mean, scale = residuals
    g = gradient.astype(jnp.float32)
    y = (x.astype(jnp.float32) - mean) * scale
    # For every x, the mean of y is 0 and the mean of y^2 is 1. Therefore the parts of g along 1 and along y are lost.
    along_one, along_y = pmean(_two_means(g, g * y), axis_name)
    return (((g - along_one - y * along_y) * scale).astype(x.dtype),)


_in_one_pass.defvjp(_one_pass_forward, _one_pass_backward)


def _two_means(x, y):
    """Computes the means [C] of x and y [..., C] over all but the last axis.

    One reduction computes both means, because a GPU then starts one kernel. A TPU gets two reductions, because the
    compiler fuses them better with the code around them. A CPU gets two, because it adds the terms of a reduction of
    two arrays one after another. Sums of 8,192 terms then round twenty times as much.
    """
    axes = tuple(range(x.ndim - 1))

    def one_reduction(x, y):
        zero = np.zeros((), x.dtype)
        count = x.size // x.shape[-1]
        sums = lax.reduce((x, y), (zero, zero), _add_both, axes)
        return sums[0] / count, sums[1] / count

    def two_reductions(x, y):
        return x.mean(axes), y.mean(axes)

    forms = {"cpu": two_reductions, "tpu": two_reductions, "default": one_reduction}
    return lax.platform_dependent(x, y, **forms)


def _add_both(x, y):
    return x[0] + y[0], x[1] + y[1]


def pmean(x: Any, axis_name: str | None) -> Any:
    """Averages a tree over the mapped axis, or returns the tree if there is no such axis."""
    return x if axis_name is None else lax.pmean(x, axis_name)


@jax.custom_vjp
def fold(
    weights: jax.Array, p: jax.Array | float, mean: jax.Array, second: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Folds 1x1 convolution, batch normalization and weighting by `p` into one affine map of h.

        p * BN(h W) = h A + b,   A = W diag(p s),   b = -E[h] A,   s = 1 / sqrt(v + eps),   v = diag(W^T cov(h) W)

    The mean and the variance of h W follow from the moments of h, therefore no operation's output is ever stored.

    Args:
        weights: W, [C_in, C].
        p: the probability of the operation.
        mean: E[h], [C_in].
        second: E[h h^T], [C_in, C_in].

    Returns:
        A [C_in, C] and b [C].
    """
    return _fold_forward(weights, p, mean, second)[0]


@jax.jit
def _fold_forward(weights, p, mean, second):
    projected = _product(second - jnp.outer(mean, mean), weights)
    variance = (weights * projected).sum(0)
    scale = lax.rsqrt(jnp.maximum(variance, 0) + BATCH_NORM_EPSILON)
    a = weights * (p * scale)
    return (a, -_product(mean, a)), (weights, p, mean, projected, variance, scale)


@jax.jit
def _fold_backward(residuals, gradients):
    """Differentiates by hand: the automatic derivative multiplies twice as many of these small matrices."""
    weights, p, mean, projected, variance, scale = residuals
    g_a, g_b = gradients
    g_a = g_a - jnp.outer(mean, g_b)
    g_scale = (weights * g_a).sum(0)  # the gradient of p s
    g_variance = jnp.where(variance > 0, -0.5 * p * scale**3 * g_scale, 0)
    g_weights = g_a * (p * scale) + 2 * projected * g_variance
    g_covariance = _product(weights * g_variance, weights.T)  # symmetric
    g_mean = -_product(weights, p * scale * g_b) - 2 * _product(g_covariance, mean)
    return g_weights, (scale * g_scale).sum(), g_mean, g_covariance


fold.defvjp(_fold_forward, _fold_backward)


def _product(x, y):
    return jnp.matmul(x, y, precision=lax.Precision.HIGHEST)
