"""The forms of the depthwise convolution against the library's dilated convolution."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from nge_jax.kernels import shifted_sums
from nge_jax.kernels.depthwise import depthwise_conv, library_depthwise_conv


def dilated(x, kernel, stride, dilation):
    pad = dilation * (kernel.shape[0] // 2)
    return lax.conv_general_dilated(
        x,
        kernel[:, :, None, :],
        (stride, stride),
        [(pad, pad)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


# Some dilations divide the stride, others do not. The odd sizes leave incomplete phases. Some phases are lower than the
# kernel, and then zeros lie between or below them.
GEOMETRIES = [(1, 1), (2, 1), (1, 2), (2, 2), (1, 3), (2, 3)]
SIZES = [(8, 10), (7, 9), (14, 4), (5, 13), (1, 2)]


@pytest.mark.parametrize("stride, dilation", GEOMETRIES)
@pytest.mark.parametrize("size", SIZES)
def test_phases_give_the_dilated_convolution_and_its_derivatives_exactly(size, stride, dilation):
    """Sums of small integers are exact, in any order."""

    def integers(seed, shape):
        return jax.random.randint(jax.random.key(seed), shape, -9, 10).astype(jnp.float32)

    x, kernel = integers(0, (2, *size, 3)), integers(1, (5, 5, 3))
    g = integers(2, (2, *(-(-n // stride) for n in size), 3))

    @jax.jit
    def compute(x, kernel, g):
        results = []
        for form in (dilated, library_depthwise_conv):
            y, pull = jax.vjp(functools.partial(form, stride=stride, dilation=dilation), x, kernel)
            results.append((y, *pull(g)))
        return results

    for one, other in zip(*compute(x, kernel, g), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("stride, dilation", GEOMETRIES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("k", [3, 5])
def test_a_gpu_can_tell_a_kernels_gradient_by_the_sizes(k, size, stride, dilation):
    """XLA takes a convolution for a gradient if the window is dilated, or larger than the result."""
    x, kernel = jnp.ones((2, *size, 3)), jnp.ones((k, k, 3))

    def loss(kernel):
        return library_depthwise_conv(x, kernel, stride, dilation).sum()

    gradients = [
        equation
        for equation in jax.make_jaxpr(jax.grad(loss))(kernel).eqns
        if equation.primitive.name == "conv_general_dilated"
        and equation.params["batch_group_count"] > 1
    ]
    assert len(gradients) == 1
    (gradient,) = gradients
    axes = gradient.params["dimension_numbers"]
    window = [gradient.invars[1].aval.shape[axis] for axis in axes.rhs_spec[2:]]
    result = [gradient.outvars[0].aval.shape[axis] for axis in axes.out_spec[2:]]
    assert max(gradient.params["rhs_dilation"]) > 1 or np.all(np.greater(window, result))


@pytest.mark.parametrize("k", [3, 5])
def test_a_kernels_gradient_is_right_on_few_pixels(k):
    """In the last cells of a network on small images a single pixel is left, and the taps reach far beyond it."""
    keys = jax.random.split(jax.random.key(0), 3)
    kernel = jax.random.normal(keys[1], (k, k, 3))
    for size in ((1, 1), (1, 3)):
        x = jax.random.normal(keys[0], (2, *size, 3))
        y, pull = jax.vjp(lambda kernel, x=x: dilated(x, kernel, 1, 2), kernel)
        g = jax.random.normal(keys[2], y.shape)
        found = shifted_sums.kernel_gradient(x, g, k, 1, 2)
        np.testing.assert_allclose(found, pull(g)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("platform, dilations", [("cuda", 0), ("tpu", 3)])
def test_a_dilation_reaches_the_compiler_of_tpus_alone(platform, dilations):
    """The three convolutions are the forward pass and the gradients of input and kernel; the last one has a stride."""
    x, kernel = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3))
    step = jax.value_and_grad(lambda *a: depthwise_conv(*a, 1, 2).sum(), (0, 1))
    text = jax.jit(step).trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
    found = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    assert len(found) == 3
    assert (
        sum("rhs_dilate = [2, 2]" in line or "stride = [2, 2]" in line for line in found)
        == dilations
    )
