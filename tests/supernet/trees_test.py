"""Trees that were packed into the rows of a matrix are unpacked unchanged."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nge_jax.supernet.trees import PackedTrees


def trees(count):
    keys = jax.random.split(jax.random.key(0), 3)
    return {
        "a": jax.random.normal(keys[0], (count, 2, 3)),
        "b": [jax.random.normal(keys[1], (count,)), jax.random.normal(keys[2], (count, 4))],
    }


def assert_equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_what_is_taken_in_a_loop_and_put_elsewhere_is_the_same():
    stacked = trees(5)

    @jax.jit
    def reverse(stacked):
        packed = PackedTrees.pack(stacked)

        def move(i, moved):
            return moved.put(4 - i, packed.take(i))

        return lax.fori_loop(0, 5, move, PackedTrees.empty(5, packed.take(0))).stacked()

    assert_equal(reverse(stacked), jax.tree.map(lambda a: a[::-1], stacked))


def test_room_for_shapes_alone_and_zeros():
    one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), trees(1))
    packed = PackedTrees.empty(2, one).zeros()
    assert packed.matrix.shape == (2, 11)
    assert_equal(packed.stacked(), jax.tree.map(jnp.zeros_like, trees(2)))
