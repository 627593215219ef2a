"""Values and gradients of hand-written convolutions and pools against the library's."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from nge_jax.kernels import pooling
from nge_jax.kernels.depthwise import depthwise_conv
from nge_jax.supernet import norm
from nge_jax.supernet.schedules import reference

SIZES = [(8, 1), (8, 2), (7, 1), (7, 2), (1, 2)]
GEOMETRIES = list(itertools.product((8, 7), (1, 2), (3, 5), (1, 2)))


def value_and_gradients(function, *args):
    @jax.jit
    def compute(*args):
        value, pull = jax.vjp(function, *args)
        direction = jax.random.normal(jax.random.key(9), value.shape)
        return value, *pull(direction)

    return compute(*args)


@pytest.mark.parametrize("size, stride, k, dilation", GEOMETRIES)
def test_depthwise_convolution_equals_the_librarys(size, stride, k, dilation):
    x = jax.random.normal(jax.random.key(0), (4, size, size, 6))
    kernel = jax.random.normal(jax.random.key(1), (k, k, 6))
    found = value_and_gradients(lambda *a: depthwise_conv(*a, stride, dilation), x, kernel)

    def library(x, kernel):
        return reference.depthwise_conv(x, kernel, stride, dilation)

    for f, e in zip(found, value_and_gradients(library, x, kernel), strict=True):
        np.testing.assert_allclose(f, e, atol=1e-4)


@pytest.fixture(params=["cpu", "default"])
def platform(request, monkeypatch):
    """Computes the form of CPUs, or the form of GPUs."""

    def choose(*args, default, **forms):
        return forms.get(request.param, default)(*args)

    monkeypatch.setattr(lax, "platform_dependent", choose)


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize("size, stride", SIZES)
@pytest.mark.parametrize("ties", [False, True])
def test_max_pool_equals_the_librarys_ties_included(size, stride, ties):
    x = jax.random.normal(jax.random.key(0), (4, size, size, 3))
    x = jnp.round(x) if ties else x

    def library(x):
        return reference.pool(x, -jnp.inf, lax.max, stride)

    found = value_and_gradients(lambda x: pooling.max_pool(x, stride), x)
    for f, e in zip(found, value_and_gradients(library, x), strict=True):
        np.testing.assert_allclose(f, e, atol=1e-5)


@pytest.mark.usefixtures("platform")
@pytest.mark.parametrize("size, stride", SIZES)
def test_avg_pool_equals_the_librarys_and_does_not_count_padding(size, stride):
    x = jax.random.normal(jax.random.key(0), (3, size, size, 2))
    counts = reference.pool(jnp.ones_like(x), 0.0, lax.add, stride)

    def library(x):
        return reference.pool(x, 0.0, lax.add, stride) / counts

    found = value_and_gradients(lambda x: pooling.avg_pool(x, stride), x)
    for f, e in zip(found, value_and_gradients(library, x), strict=True):
        np.testing.assert_allclose(f, e, atol=1e-6)


@pytest.mark.parametrize("pool", [pooling.max_pool, pooling.avg_pool])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_gpu_gets_neither_a_window_nor_a_scatter_nor_a_strided_slice(pool, stride):
    x = jnp.ones((2, 8, 8, 3))
    step = jax.jit(lambda x, g: jax.vjp(lambda x: pool(x, stride), x)[1](g))
    traced = step.trace(x, pool(x, stride))
    on = {p: traced.lower(lowering_platforms=(p,)).as_text() for p in ("cuda", "tpu")}
    refused = re.compile(r"select_and_scatter|reduce_window|convolution|slice [^\n]*\d+:\d+:\d+")
    assert not refused.search(on["cuda"]) and refused.search(on["tpu"])


def test_batch_norm_of_large_means_does_not_cancel():
    x = 1e3 + jax.random.normal(jax.random.key(0), (8, 8, 8, 3))
    y = norm.batch_norm(x)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1.0, atol=1e-3)
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0.0, atol=1e-2)
