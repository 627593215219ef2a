"""Arrays that a program stores in memory, where XLA's CPU backend would compute them again for each reader.

`lax.optimization_barrier` does not help, because jaxlib 0.10.2 removes it before it fuses operations. But the result of
a loop of unknown length is an array in memory, and a loop without rounds costs microseconds.
"""

import jax
import jax.numpy as jnp
from jax import lax


def materialize(x: jax.Array, known: jax.Array) -> jax.Array:
    """Returns x, which CPUs store as an array in memory. It has no derivative.

    Args:
        x: [...], of numbers.
        known: an array whose values the compiler does not know but the program already has, such as a parameter. The
            first value is read and has no influence.
    """
    return lax.platform_dependent(x, known, cpu=_pass_loop, default=lambda x, _: x)


def _pass_loop(x, known):
    first = known[(0,) * known.ndim].astype(jnp.float32)
    bits = lax.population_count(lax.bitcast_convert_type(first, jnp.uint32))
    rounds = (bits >> 6).astype(
        jnp.int32
    )  # 0, because there are at most 32 bits; XLA does not see that
    return lax.fori_loop(0, rounds, lambda _, x: x + 1, x)


@jax.custom_vjp
def materialize_value(x: jax.Array) -> jax.Array:
    """Materializes x [...], and not the gradient."""
    return materialize(x, x)


materialize_value.defvjp(lambda x: (materialize_value(x), None), lambda _, gradient: (gradient,))


@jax.custom_vjp
def materialize_gradient(x: jax.Array) -> jax.Array:
    """Returns x [...] and materializes the gradient.

    This stores the gradient once, if several functions read x and several others read the gradient.
    """
    return x


def _forward(x):
    return x, x[(0,) * x.ndim]


def _backward(first, gradient):
    return (materialize(gradient, first),)


materialize_gradient.defvjp(_forward, _backward)
