"""1x1 convolution, batch normalisation and an operation's probability as one affine map of the input.

No convolution's own output is then stored, normalised and weighted: it joins the others' sum by one matrix
product. The variance must not cancel: callers subtract from the pixels a constant near their mean first,
which the normalisation does not see.
"""

import jax
import jax.numpy as jnp
from jax import lax

from nge_jax import ops


def moments(h: jax.Array, axis_name: str | None) -> tuple[jax.Array, jax.Array]:
    """First and second moment over pixels of `h` [N, C]: E[h] [C] and E[h h^T] [C, C], float32."""
    mean = h.mean(0, dtype=jnp.float32)
    second = jnp.matmul(h.T, h, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32)
    return ops.pmean((mean, second / len(h)), axis_name)


def fold(
    weights: jax.Array, p: jax.Array | float, mean: jax.Array, second: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Folds 1x1 convolution, batch normalisation and weighting by `p` into one affine map of h.

        p * BN(h W) = h A + b,   A = W diag(p / sqrt(diag(W^T cov(h) W) + eps)),   b = -E[h] A

    so that no operation's own output is ever stored: the mean and variance of h W follow from h's.

    Args:
        weights: W, [C_in, C].
        p: weight of the operation.
        mean: E[h], [C_in].
        second: E[h h^T], [C_in, C_in].

    Returns:
        A [C_in, C] and b [C].
    """
    covariance = second - jnp.outer(mean, mean)
    variance = jnp.einsum("io,ij,jo->o", weights, covariance, weights, precision="highest")
    a = weights * (p * lax.rsqrt(jnp.maximum(variance, 0) + ops.BATCH_NORM_EPSILON))
    return a, -jnp.matmul(mean, a, precision="highest")


def affine(h: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """h A + b in h's own precision."""
    return h @ a.astype(h.dtype) + b.astype(h.dtype)
