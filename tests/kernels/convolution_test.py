"""Convolutions with weight gradients by hand against the library's: values, gradients, platforms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from nge_jax.kernels import convolution

# Size of the kernel, strides, padding and dilation in stems, auxiliary head and ASPP, and one unusual case.
GEOMETRIES = [
    ((3, 3), (1, 1), "SAME", (1, 1)),
    ((3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)),
    ((2, 2), (1, 1), "VALID", (1, 1)),
    ((3, 3), (1, 1), ((2, 2), (2, 2)), (2, 2)),
    ((3, 2), (2, 1), "SAME", (1, 2)),
]


def library(x, kernel, strides, padding, dilation):
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=convolution.DIMENSIONS,
        precision="highest",
    )


def value_and_gradients(function, *args):
    value, pull = jax.vjp(function, *args)
    return value, *pull(jax.random.normal(jax.random.key(9), value.shape, value.dtype))


@pytest.mark.parametrize("side", [8, 7])
@pytest.mark.parametrize("size, strides, padding, dilation", GEOMETRIES)
def test_convolution_equals_the_librarys(side, size, strides, padding, dilation):
    x = jax.random.normal(jax.random.key(0), (3, side, side, 4))
    kernel = jax.random.normal(jax.random.key(1), (*size, 4, 5))
    setting = strides, padding, dilation
    found = value_and_gradients(lambda *a: convolution.conv(*a, *setting), x, kernel)
    expected = value_and_gradients(lambda *a: library(*a, *setting), x, kernel)
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(f, e, atol=1e-4)


@pytest.mark.parametrize("side", [8, 7])
@pytest.mark.parametrize(
    "size, stride, padding", [(3, 1, None), (3, 2, None), (5, 3, (0, 2)), (1, 2, None)]
)
def test_dense_convolution_equals_the_librarys(side, size, stride, padding):
    x = jax.random.normal(jax.random.key(0), (3, side, side, 4))
    kernel = jax.random.normal(jax.random.key(1), (size, size, 4, 5))
    pads = (padding or (size // 2, size // 2),) * 2
    found = value_and_gradients(lambda *a: convolution.dense_conv(*a, stride, padding), x, kernel)
    setting = (stride, stride), pads, (1, 1)
    expected = value_and_gradients(lambda *a: library(*a, *setting), x, kernel)
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(f, e, atol=1e-4)


def test_pointwise_equals_the_matrix_product():
    x = jax.random.normal(jax.random.key(0), (2, 3, 3, 4))
    weights = jax.random.normal(jax.random.key(1), (4, 5))
    found = value_and_gradients(convolution.pointwise, x, weights)
    expected = value_and_gradients(lambda x, w: jnp.einsum("bhwi,io->bhwo", x, w), x, weights)
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(f, e, atol=1e-5)


@pytest.mark.parametrize(
    "side, step, shift", [(8, 2, 0), (8, 2, 1), (7, 2, 0), (7, 2, 1), (8, 1, 2)]
)
def test_both_forms_of_the_strided_product_equal_the_product_of_all_pixels(side, step, shift):
    x = jax.random.normal(jax.random.key(0), (2, side, side + 1, 4))
    weights = jax.random.normal(jax.random.key(1), (4, 3))

    def all_pixels(x, weights):
        x = jnp.pad(x, ((0, 0), (0, shift), (0, shift), (0, 0)))[:, shift:, shift:]
        return (x @ weights)[:, ::step, ::step]

    expected = value_and_gradients(jax.jit(all_pixels), x, weights)
    for form in (convolution.strided_pointwise, convolution._strided_conv):
        function = jax.jit(lambda x, w, form=form: form(x, w, step=step, shift=shift))
        found = value_and_gradients(function, x, weights)
        for f, e in zip(found, expected, strict=True):
            np.testing.assert_allclose(f, e, atol=1e-5)


def test_bfloat16_sums_over_pixels_in_float32():
    """A bfloat16 sum of 4,096 ones would stop at 256."""
    x = jnp.ones((4, 32, 32, 1), jnp.bfloat16)
    for weights, function in (
        (jnp.ones((1, 1, 1, 1), jnp.bfloat16), convolution.conv),
        (jnp.ones((1, 1), jnp.bfloat16), convolution.pointwise),
    ):
        gradient = jax.grad(lambda w: function(x, w).astype(jnp.float32).sum())(weights)  # noqa: B023
        assert gradient.dtype == jnp.bfloat16
        assert float(gradient.squeeze()) == 4096


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_accelerators_get_the_librarys_gradients(platform):
    x, kernel, weights = jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 4)), jnp.ones((4, 4))

    def loss(kernel, weights):
        return convolution.pointwise(convolution.conv(x, kernel), weights).sum()

    gradients = jax.jit(jax.grad(loss, (0, 1)))
    program = jax.export.export(gradients, platforms=[platform])(kernel, weights).mlir_module()
    assert program.count("stablehlo.convolution") >= 1
    assert "optimization_barrier" not in program
    assert "stablehlo.concatenate" not in program  # the windows
