"""ReLU and depthwise convolution in one, against the library's two operations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.kernels.depthwise import library_depthwise_conv
from nge_jax.kernels.relu_depthwise import relu_depthwise_conv


# The batch is a multiple of 16 chunks, or is not; the image is a single pixel; the stride is 2.
@pytest.mark.parametrize(
    "shape, k, stride, dilation",
    [
        ((32, 5, 6, 3), 3, 1, 1),
        ((3, 6, 5, 4), 5, 1, 2),
        ((2, 1, 1, 3), 3, 1, 2),
        ((2, 7, 8, 3), 3, 2, 1),
    ],
)
def test_it_is_the_convolution_of_a_relu_with_its_derivatives(shape, k, stride, dilation):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], shape).at[:, 0].set(0)  # where PyTorch's derivative is 0
    kernel = jax.random.normal(keys[1], (k, k, shape[-1]))

    def plain(x, kernel):
        return library_depthwise_conv(jax.nn.relu(x), kernel, stride, dilation)

    def both(x, kernel, g):
        def pull(form):
            y, derivative = jax.vjp(jax.checkpoint(form), x, kernel)
            return y, *derivative(g)

        return pull(lambda *args: relu_depthwise_conv(*args, stride, dilation)), pull(plain)

    g = jax.random.normal(keys[2], jax.eval_shape(plain, x, kernel).shape)
    for found, expected in zip(*jax.jit(both)(x, kernel, g), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_accelerators_compile_none_of_the_form_for_cpus(platform):
    """Differentiation keeps nothing for the CPU's form but zeros that nothing reads."""
    x, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3))
    step = jax.value_and_grad(lambda *args: relu_depthwise_conv(*args).sum(), (0, 1))
    text = jax.jit(step).trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
    assert text.count("stablehlo.convolution") == 3
    assert "stablehlo.while" not in text and "stablehlo.pad" not in text
