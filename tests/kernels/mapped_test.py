"""Kernels under `jax.vmap`: in searches of several seeds each example has its weights and derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.kernels import convolution, depthwise, pooling
from nge_jax.kernels.relu_depthwise import relu_depthwise_conv

# Functions (x, weights) -> y, and the shape of the weights for 3 channels.
KERNELS = {
    "depthwise": (functools.partial(depthwise.depthwise_conv, dilation=2), (3, 3, 3)),
    "strided depthwise": (functools.partial(depthwise.depthwise_conv, stride=2), (3, 3, 3)),
    "relu depthwise": (functools.partial(relu_depthwise_conv, dilation=2), (3, 3, 3)),
    "by phases": (functools.partial(depthwise.library_depthwise_conv, dilation=2), (3, 3, 3)),
    "dense": (convolution.dense_conv, (3, 3, 3, 4)),
    "pointwise": (convolution.pointwise, (3, 4)),
    "max pool": (lambda x, weights: pooling.max_pool(x * weights, 2), (3,)),
}


@pytest.mark.parametrize("name", KERNELS)
def test_each_example_has_its_own_weights(name):
    kernel, shape = KERNELS[name]
    keys = jax.random.split(jax.random.key(0), 2)
    x = jax.random.normal(keys[0], (2, 4, 6, 6, 3))
    weights = jax.random.normal(keys[1], (2, *shape))

    def loss(x, weights):
        return (kernel(x, weights) ** 2).sum()

    step = jax.value_and_grad(loss, (0, 1))
    # A search maps over devices, too.
    mapped_step = jax.pmap(
        lambda _, *args: jax.vmap(step)(*args), "batch", in_axes=(0, None, None), out_axes=None
    )
    found = mapped_step(jnp.zeros(1), x, weights)
    for n in range(2):
        expected = jax.jit(step)(x[n], weights[n])
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a[n], b, rtol=1e-5, atol=1e-4)
