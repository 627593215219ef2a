"""The atrous backbone against the strided backbone, the pyramid, upsampling and dropout."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.cost import model_cost
from nge_jax.networks import deeplab
from nge_jax.networks.cell import FixedCell
from nge_jax.networks.deeplab import Head, deeplab_network, upsample
from nge_jax.networks.network import imagenet_network
from nge_jax.space import genotype
from nge_jax.space.genotype import Genotype
from nge_jax.space.stack import CellSpec

# Every operation on an input and on an inner node.
CELL = Genotype(
    (("sep_conv_3x3", 0), ("dil_conv_3x3", 1), ("max_pool_3x3", 2), ("avg_pool_3x3", 0)), (2, 3),
    (("sep_conv_3x3", 0), ("skip_connect", 1), ("dil_conv_3x3", 2), ("max_pool_3x3", 1),
     ("avg_pool_3x3", 0), ("sep_conv_5x5", 2), ("dil_conv_5x5", 1), ("skip_connect", 3),
     ("max_pool_3x3", 4), ("avg_pool_3x3", 5)), (2, 3, 4, 5, 6),
)  # fmt: skip
SMALL = Genotype(
    (("sep_conv_3x3", 0), ("max_pool_3x3", 1)), (2,),
    (("skip_connect", 0), ("dil_conv_3x3", 1)), (2,),
)  # fmt: skip
NORM = partial(nn.BatchNorm, use_running_average=True)
# Each program runs once, and compiles much faster without optimization.
jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def images(size, channels=3, batch=1):
    return jax.random.normal(jax.random.key(0), (batch, size, size, channels))


def random_variables(module, *args, **kwargs):
    """Draws variables of the module's shapes, with statistics and affine parameters other than 0 and 1."""
    random = np.random.RandomState(0)

    def draw(path, leaf):
        if path[-1].key == "kernel":
            return (random.randn(*leaf.shape) / np.sqrt(leaf.shape[-2])).astype(np.float32)
        return random.uniform(0.3, 1.2, leaf.shape).astype(np.float32)

    variables = jax.eval_shape(partial(module.init, **kwargs), jax.random.key(0), *args)
    return jax.tree_util.tree_map_with_path(draw, variables)


def shapes(variables):
    return jax.tree.map(jnp.shape, variables)


@pytest.mark.parametrize("size", [8, 9])
def test_an_atrous_reduction_has_the_strided_ones_features_on_every_second_pixel(size):
    inputs = images(size, 8), images(size, 8) * 0.5
    strided, atrous = (
        FixedCell(CELL, CellSpec(4, True, False, spacing), NORM)
        for spacing in ((1, 1, 1), (1, 1, 2))
    )
    variables = random_variables(strided, *inputs)
    assert shapes(jax.eval_shape(atrous.init, jax.random.key(1), *inputs)) == shapes(variables)
    expected, found = (jit(cell.apply)(variables, *inputs) for cell in (strided, atrous))
    assert found.shape == (1, size, size, 20) and expected.shape[1] == -(-size // 2)
    np.testing.assert_allclose(found[:, ::2, ::2], expected, atol=1e-5)
    assert np.abs(found[:, 1::2, 1::2] - expected[:, : size // 2, : size // 2]).max() > 0.1


def test_a_backbone_of_any_output_stride_has_the_same_weights_and_features():
    x = images(97)  # 13, 7 and 4 pixels in the cells: odd and even ones

    def backbone(output_stride):
        return imagenet_network(SMALL, cells=7, channels=4, output_stride=output_stride)

    # The last reduction is cell 4. The two inputs of cell 5 differ in size, the inputs of cell 6 do not.
    variables = random_variables(backbone(32), x, train=False)
    _, expected = jit(partial(backbone(32).apply, train=False))(variables, x)
    assert expected["cell_06"].shape == (1, 4, 4, 16)
    for output_stride, size in ((16, 7), (8, 13)):
        model = backbone(output_stride)
        found = shapes(jax.eval_shape(partial(model.init, train=False), jax.random.key(0), x))
        assert found == shapes(variables)
        _, endpoints = jit(partial(model.apply, train=False))(variables, x)
        assert endpoints["cell_06"].shape == (1, size, size, 16)
        for name, strided in expected.items():
            step = -(-endpoints[name].shape[1] // strided.shape[1])
            dense = endpoints[name][:, ::step, ::step]
            np.testing.assert_allclose(dense, strided, atol=1e-4, rtol=1e-4)


def test_the_gradient_of_an_atrous_cell_lowers_for_gpus():
    inputs = images(8, 8), images(8, 8)
    cell = FixedCell(CELL, CellSpec(4, True, False, (2, 2, 4)), NORM)
    variables = jax.eval_shape(cell.init, jax.random.key(1), *inputs)

    def loss(variables):
        return cell.apply(variables, *inputs).sum()

    exported = jax.export.export(jax.jit(jax.grad(loss)), platforms=["cuda"])(variables)
    assert exported.platforms == ("cuda",)


def test_the_networks_parameters_are_counted():
    # The backbone is ImageNet's network, 4.7188M parameters, without the classifier of 1000. The pyramid reads 768
    # channels. The paper reports 10.31M for a cell whose ImageNet network has 5.0M.
    head = 768 * 256 * (1 + 3 * 9 + 1) + 5 * 256 * 256 + 6 * 2 * 256 + 256 * 21 + 21
    backbone = 4_718_752 - 768 * 1000 - 1000
    found = model_cost(deeplab_network(genotype.KNOWN["DARTS_V2"]), (65, 65, 3)).parameters
    assert found == backbone + head == 9_987_533


def test_the_head_is_the_pyramid_branch_by_branch():
    x = images(9, 6, batch=2)
    head = Head(5, NORM, width=4, rates=(2, 3))
    variables = random_variables(head, x, size=(9, 9))
    params, statistics = variables["params"], variables["batch_stats"]

    def normalized(name, y):
        p, s = params[f"{name}_norm"], statistics[f"{name}_norm"]
        return nn.relu((y - s["mean"]) / np.sqrt(s["var"] + 1e-5) * p["scale"] + p["bias"])

    def pointwise(name, y):
        return normalized(name, y @ params[name]["kernel"])

    def atrous(rate):  # as a sum over the nine taps
        kernel = params[f"rate_{rate}"]["kernel"]
        padded = np.pad(x, ((0, 0), (rate, rate), (rate, rate), (0, 0)))
        taps = [
            padded[:, a * rate : a * rate + 9, b * rate : b * rate + 9] @ kernel[a, b]
            for a in range(3)
            for b in range(3)
        ]
        return normalized(f"rate_{rate}", sum(taps))

    mean = jnp.broadcast_to(x.mean((1, 2), keepdims=True), x.shape)
    branches = [pointwise("pointwise", x), atrous(2), atrous(3), pointwise("image_pooling", mean)]
    dense = params["classifier"]["Dense_0"]
    expected = pointwise("projection", np.concatenate(branches, -1)) @ dense["kernel"]
    found = jit(head.apply, static_argnums=2)(variables, x, (9, 9))
    np.testing.assert_allclose(found, expected + dense["bias"], atol=1e-4)
    without = Head(5, NORM, width=4, rates=(2,), image_pooling=False)
    names = jax.eval_shape(partial(without.init, size=(9, 9)), jax.random.key(0), x)["params"]
    assert {n for n in names if not n.endswith("_norm")} == {
        "pointwise", "rate_2", "projection", "classifier",
    }  # fmt: skip


def test_upsampling_keeps_features_where_they_are_and_is_linear_between():
    x = images(3, 2)
    y = np.asarray(upsample(x, (33, 33)))  # output stride 16
    np.testing.assert_allclose(y[:, ::16, ::16], x, atol=1e-6)
    np.testing.assert_allclose(y[:, 8, 16], (x[:, 0, 1] + x[:, 1, 1]) / 2, atol=1e-6)
    np.testing.assert_allclose(
        y[:, 4, 28],
        0.75 * (0.25 * x[:, 0, 1] + 0.75 * x[:, 0, 2])
        + 0.25 * (0.25 * x[:, 1, 1] + 0.75 * x[:, 1, 2]),
        atol=1e-6,
    )
    np.testing.assert_allclose(upsample(jnp.ones((1, 1, 1, 2)), (3, 5)), np.ones((1, 3, 5, 2)))
    assert upsample(x, (20, 7)).shape == (1, 20, 7, 2)


def test_gpus_upsample_without_a_product_and_alike():
    """XLA's GPU compiler refuses the products, see `deeplab._upsample_by_sums`."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 5, 7)), jnp.float32)
    size = 33, 20
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(2, *size, 7)), jnp.float32)

    def loss(form, x):
        return (form(x, size=size) * weights).sum()

    for ours, theirs in zip(
        jax.value_and_grad(partial(loss, deeplab._upsample_by_sums))(x),
        jax.value_and_grad(partial(loss, upsample))(x),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    traced = jax.jit(jax.grad(partial(loss, upsample))).trace(x)
    for platform, products in (("cuda", 0), ("cpu", 2), ("tpu", 2)):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert text.count("stablehlo.dot_general") == products, platform


def test_dropout_is_each_samples_own_and_keeps_the_mean():
    x = jnp.ones((3, 30, 30, 40))
    keys = jax.random.split(jax.random.key(0), 3)
    y = np.asarray(deeplab._drop(x, keys, 0.1))
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.9)}
    assert y.mean() == pytest.approx(1, abs=0.01)
    np.testing.assert_array_equal(deeplab._drop(x[1:2], keys[1:2], 0.1), y[1:2])
    assert (y[0] != y[1]).any()


def test_the_network_segments_images_and_drops_in_training_only():
    model = deeplab_network(SMALL, cells=3, channels=2, classes=4, width=4, rates=(1, 2))
    x, keys = images(33, batch=2), jax.random.split(jax.random.key(3), 2)
    variables = random_variables(model, x, train=True)
    assert set(variables["params"]) == {"stem", "cells", "head"}
    logits, endpoints = jit(partial(model.apply, train=False))(variables, x)
    assert logits.shape == (2, 33, 33, 4) and logits.dtype == jnp.float32
    assert endpoints["cell_02"].shape == (2, 3, 3, 8)
    dropped, _ = jit(partial(model.apply, train=False))(variables, x, head_keys=keys)
    assert np.abs(dropped - logits).max() > 1e-3
