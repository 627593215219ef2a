"""Operations of the derived cell: their sizes, and their values against plain library convolutions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from nge_jax.networks import layers
from nge_jax.space import genotype

CHANNELS = 6


def no_norm(name=None):
    """Replaces batch normalization where only the convolutions matter."""
    del name
    return lambda x: x


def build(operation, stride):
    return layers.OPS[operation](CHANNELS, stride, no_norm, None, None)


def conv(x, kernel, *, stride=1, dilation=1, groups=1):
    """Computes the library's convolution with PyTorch's padding, dilation * (k - 1) / 2 on both sides."""
    pad = dilation * (kernel.shape[0] - 1) // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(pad, pad)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
        precision="highest",
    )


def depthwise(x, kernel, **kwargs):
    return conv(x, kernel[:, :, None], groups=kernel.shape[-1], **kwargs)


def pointwise(x, kernel):
    return conv(x, kernel[None, None])


def initial(operation, stride, x):
    """Returns (output, variables) of a fresh layer; the program compiles fast, without optimization."""
    init = jax.jit(
        build(operation, stride).init_with_output,
        compiler_options={"xla_backend_optimization_level": 0},
    )
    return init(jax.random.key(1), x)


def images(height=8, width=8):
    return jax.random.normal(jax.random.key(0), (2, height, width, CHANNELS))


def test_every_operation_has_a_layer():
    assert set(layers.OPS) == {*genotype.OPERATIONS, genotype.NONE}


@pytest.mark.parametrize("operation", layers.OPS)
def test_output_size_is_the_input_over_the_stride_rounded_up(operation):
    for stride, (height, width) in itertools.product((1, 2), ((8, 6), (7, 5))):

        def forward(operation=operation, stride=stride, height=height, width=width):
            x, op = images(height, width), build(operation, stride)
            return op.init_with_output(jax.random.key(1), x)[0] if hasattr(op, "init") else op(x)

        expected = (2, -(-height // stride), -(-width // stride), CHANNELS)
        assert jax.eval_shape(forward).shape == expected


@pytest.mark.parametrize("stride", (1, 2))
@pytest.mark.parametrize("size", (3, 5))
def test_sep_conv_is_two_separable_convolutions(size, stride):
    x = images()
    y, variables = initial(f"sep_conv_{size}x{size}", stride, x)
    expected = x
    for index, s in enumerate((stride, 1)):
        kernel = variables["params"][f"DepthwiseConv_{index}"]["kernel"]
        weights = variables["params"][f"Dense_{index}"]["kernel"]
        expected = pointwise(depthwise(jax.nn.relu(expected), kernel, stride=s), weights)
    np.testing.assert_allclose(y, expected, atol=1e-6)


@pytest.mark.parametrize("stride", (1, 2))
@pytest.mark.parametrize("size", (3, 5))
def test_dil_conv_is_a_separable_convolution_of_dilation_2(size, stride):
    x = images()
    y, variables = initial(f"dil_conv_{size}x{size}", stride, x)
    kernel = variables["params"]["DepthwiseConv_0"]["kernel"]
    expected = depthwise(jax.nn.relu(x), kernel, stride=stride, dilation=2)
    expected = pointwise(expected, variables["params"]["Dense_0"]["kernel"])
    np.testing.assert_allclose(y, expected, atol=1e-6)


def test_factorized_reduce_sees_even_and_odd_pixels():
    x = images()
    y, variables = initial("skip_connect", 2, x)
    kernels = [variables["params"][f"Dense_{i}"]["kernel"] for i in (0, 1)]
    positive = jax.nn.relu(x)
    even = positive[:, ::2, ::2] @ kernels[0]
    odd = positive[:, 1::2, 1::2] @ kernels[1]
    np.testing.assert_allclose(y, jnp.concatenate([even, odd], axis=-1), atol=1e-6)


def test_skip_connect_at_stride_1_is_the_identity_and_none_is_zero():
    x = images()
    np.testing.assert_array_equal(build("skip_connect", 1)(x), x)
    np.testing.assert_array_equal(build("none", 1)(x), jnp.zeros_like(x))
    np.testing.assert_array_equal(build("none", 2)(x), jnp.zeros_like(x[:, ::2, ::2]))


@pytest.mark.parametrize("initializer, shape, fan_in", [
    (layers.kernel_init, (3, 3, 40, 50), 9 * 40),
    (layers.kernel_init, (90, 200), 90),
    (layers.depthwise_init, (5, 5, 700), 25),
])  # fmt: skip
def test_weights_start_uniform_within_one_over_root_fan_in(initializer, shape, fan_in):
    weights = np.abs(initializer(jax.random.key(0), shape, jnp.float32)) * fan_in**0.5
    assert 0.99 < weights.max() <= 1.0001
    assert weights.mean() == pytest.approx(0.5, abs=0.02)
