"""Arrays that a program stores, where XLA's CPU backend would compute them anew in all that read them.

`lax.optimization_barrier` does not see to that: jaxlib 0.10.2 removes it before it fuses operations. But what a loop
of unknown length hands on is an array in memory, and a loop that makes no round costs microseconds.
"""

import jax
import jax.numpy as jnp
from jax import lax


def stored(x: jax.Array, known: jax.Array) -> jax.Array:
    """Returns x, on CPUs as an array in memory. It has no derivative.

    Args:
        x: [...], of numbers.
        known: an array whose numbers a compiler cannot know, while the program has it at hand: a parameter, say. The
            first is looked at, without influence.
    """
    return lax.platform_dependent(x, known, cpu=_through_loop, default=lambda x, _: x)


def _through_loop(x, known):
    first = known[(0,) * known.ndim].astype(jnp.float32)
    bits = lax.population_count(lax.bitcast_convert_type(first, jnp.uint32))
    rounds = (bits >> 6).astype(jnp.int32)  # none: of 32 bits; which XLA does not see
    return lax.fori_loop(0, rounds, lambda _, x: x + 1, x)


@jax.custom_vjp
def stored_value(x: jax.Array) -> jax.Array:
    """Returns x [...], `stored`; its gradient is not."""
    return stored(x, x)


stored_value.defvjp(lambda x: (stored_value(x), None), lambda _, gradient: (gradient,))


@jax.custom_vjp
def stored_gradient(x: jax.Array) -> jax.Array:
    """Returns x [...], whose gradient is `stored`: once, where several read x, and several its gradient."""
    return x


def _forward(x):
    return x, x[(0,) * x.ndim]


def _backward(first, gradient):
    return (stored(gradient, first),)


stored_gradient.defvjp(_forward, _backward)
