"""The supernet of NAS-Bench-201 has the values, gradients and sizes of a plain form of the benchmark's network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from nge_jax.search import build
from nge_jax.search.steps import relaxation
from nge_jax.settings.configs import load_config
from nge_jax.space.spaces import NAS_BENCH_201, NO_NONE
from nge_jax.supernet import nas_bench_201_cell
from nge_jax.supernet.nas_bench_201 import NasBench201Supernet, SampledNasBench201
from nge_jax.supernet.sampled import Drawn
from nge_jax.supernet.schedules import reference

NET = NasBench201Supernet(cells=1, channels=2, num_classes=4)


def plain_conv(x, kernel, stride=1):
    pads = [(kernel.shape[0] // 2,) * 2] * 2
    dimensions = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), pads, dimension_numbers=dimensions, precision="highest"
    )


def plain_affine(params, x):
    return reference.batch_norm(x) * params["scale"] + params["bias"]


def plain_operation(name, params, edge, x):
    """Computes one operation of one edge, as the benchmark's `cell_operations.py` does."""
    if name == "none":
        return 0 * x
    if name == "skip_connect":
        return x
    if name == "avg_pool_3x3":
        counts = reference.pool(jnp.ones_like(x), 0.0, lax.add, 1)
        return reference.pool(x, 0.0, lax.add, 1) / counts
    kernel = params[name][edge]
    kernel = kernel[None, None] if name == "nor_conv_1x1" else kernel
    return reference.batch_norm(plain_conv(jax.nn.relu(x), kernel))


def plain_cell(params, x, probs):
    nodes = [x]
    for k in range(1, 4):
        node = 0.0
        for i in range(k):
            edge = NAS_BENCH_201.edges.index((i, k))
            for o, name in enumerate(NAS_BENCH_201.operations):
                node += probs[edge, o] * plain_operation(name, params, edge, nodes[i])
        nodes.append(node)
    return nodes[-1]


def plain_block(params, x):
    y = plain_affine(params["first"], plain_conv(jax.nn.relu(x), params["first"]["kernel"], 2))
    y = plain_affine(params["second"], plain_conv(jax.nn.relu(y), params["second"]["kernel"]))
    halved = lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4
    return plain_conv(halved, params["shortcut"][None, None]) + y


def plain_network(weights, images, probs):
    x = plain_affine(weights["stem"], plain_conv(images, weights["stem"]["kernel"]))
    for stage, cells in enumerate(weights["stages"]):
        if stage:
            x = plain_block(weights["blocks"][stage - 1], x)
        for number in range(len(cells["nor_conv_1x1"])):
            x = plain_cell(jax.tree.map(lambda a, n=number: a[n], cells), x, probs[0])
    x = jax.nn.relu(plain_affine(weights["head"], x)).mean((1, 2))
    return x @ weights["classifier"]["kernel"] + weights["classifier"]["bias"]


@pytest.fixture(scope="module")
def problem():
    """Returns weights whose affine parts have moved, images, probabilities and a direction to project logits on."""
    rng = np.random.default_rng(0)
    weights = jax.jit(NET.init)(jax.random.key(3))
    weights = jax.tree.map(lambda a: np.float32(a + rng.normal(0, 0.1, a.shape)), weights)
    images = np.float32(rng.normal(size=(4, 8, 8, 3)))
    probs = np.float32(rng.dirichlet(np.ones(5), (1, 6)))
    return weights, images, probs, np.float32(rng.normal(size=(4, 4)))


def value_and_gradients(network, weights, images, probs, direction):
    def projected(weights, images, probs):
        logits = network(weights, images, probs)
        return (logits * direction).sum(), logits

    gradients = jax.value_and_grad(projected, (0, 1, 2), has_aux=True)
    (_, logits), grads = jax.jit(gradients)(weights, images, probs)
    return logits, grads


def assert_close(found, expected, scale=2e-4):
    paths, _ = jax.tree_util.tree_flatten_with_path(expected)
    for f, (path, e) in zip(jax.tree.leaves(found), paths, strict=True):
        atol = scale * max(np.abs(e).max(), 1e-3)
        np.testing.assert_allclose(f, e, atol=atol, err_msg=jax.tree_util.keystr(path))


@pytest.mark.whole
def test_values_and_gradients_are_those_of_the_plain_network(problem):
    expected = value_and_gradients(plain_network, *problem)
    for net in (NET, NET._replace(remat=True)):
        found = value_and_gradients(lambda *args, net=net: net.apply(*args)[0], *problem)
        assert_close(found, expected)


@pytest.mark.whole
def test_one_operation_an_edge_equals_its_one_hot_probabilities(problem):
    """The gradients are those of weights, images and scales. They are 0 for weights of operations not chosen."""
    weights, images, _, direction = problem

    def one_hot(weights, images, scales, operations):
        probs = jax.nn.one_hot(operations, 5) * scales[..., None]
        return (NET.apply(weights, images, probs)[0] * direction).sum()

    def sampled(weights, images, scales, operations):
        net = SampledNasBench201(NET)
        return (net.apply(weights, images, Drawn(operations, scales))[0] * direction).sum()

    programs = [jax.jit(jax.value_and_grad(f, (0, 1, 2))) for f in (sampled, one_hot)]
    scales = np.float32([[1.0, 0.5, 2.0, 1.5, 1.0, 0.7]])
    for operations in ([[3, 1, 2, 0, 4, 3]], [[1, 3, 4, 2, 0, 1]]):
        found, expected = (f(weights, images, scales, jnp.array(operations)) for f in programs)
        assert_close(found, expected)
        unchosen = np.array(operations[0]) != 3
        gradient = found[1][0]["stages"][0]["nor_conv_3x3"][0]
        assert not np.any(gradient[unchosen]) and np.any(gradient[~unchosen])


def plain_drawn_cell(params, x, factors, drawn, all_scalars):
    """Computes a cell as AutoDL-Projects' `forward_gdas` does, or without the scalars of operations not drawn."""
    nodes = [x]
    for k in range(1, 4):
        node = 0.0
        for i in range(k):
            edge = NAS_BENCH_201.edges.index((i, k))
            for o, name in enumerate(NAS_BENCH_201.operations):
                if o == drawn[edge]:
                    node += factors[edge, o] * plain_operation(name, params, edge, nodes[i])
                elif all_scalars:
                    node += factors[edge, o]
        nodes.append(node)
    return nodes[-1]


@pytest.mark.parametrize("all_scalars", [False, True])
def test_a_draw_has_the_gradient_of_its_plain_form(problem, all_scalars):
    weights, images, probs, _ = problem
    cell = jax.tree.map(lambda a: a[0], weights["stages"][0])
    x, key, temperature = images[..., :2], jax.random.key(4), 2.0
    direction = np.random.default_rng(1).normal(size=x.shape)

    def plain(probs):
        noisy = jnp.log(probs) + jax.random.gumbel(key, probs.shape)
        soft = jax.nn.softmax(noisy / temperature)
        drawn = noisy.argmax(-1)
        factors = jax.nn.one_hot(drawn, 5) - lax.stop_gradient(soft) + soft
        y = plain_drawn_cell(cell, x, factors, np.asarray(lax.stop_gradient(drawn)), all_scalars)
        return (direction * y).sum()

    def found(probs):
        choices = relaxation.draw(probs, key, temperature)
        y = nas_bench_201_cell.chosen_cell(cell, x, choices, all_scalars=all_scalars)
        return (direction * y).sum()

    (value, gradient), (plain_value, plain_gradient) = (
        jax.value_and_grad(f)(probs[0]) for f in (found, plain)
    )
    np.testing.assert_allclose(value, plain_value, rtol=1e-5)
    np.testing.assert_allclose(gradient, plain_gradient, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("all_scalars", [False, True])
def test_a_config_chooses_the_scalars_that_a_draw_adds(all_scalars):
    config = load_config("search_nas_bench_201", "gumbel,smoke")
    config.gumbel.all_scalars = all_scalars
    net = build.make_net(config, num_classes=4, image_channels=3)
    assert isinstance(net, NasBench201Supernet) and net.all_scalars == all_scalars


def test_the_cells_of_a_stage_follow_each_other(problem):
    _, images, probs, _ = problem
    net = NET._replace(cells=3)
    weights = jax.jit(net.init)(jax.random.key(5))
    stage = weights["stages"][0]
    _, endpoints = jax.jit(net.apply)(weights, images, probs)
    x = endpoints["stem"]
    for number in range(3):
        cell = jax.tree.map(lambda a, n=number: a[n], stage)
        x = nas_bench_201_cell.mixed_cell(cell, x, probs[0])
    np.testing.assert_allclose(endpoints["stage_0"], x, atol=1e-4)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_the_gradients_lower_for_accelerators(platform):
    weights = jax.eval_shape(NET.init, jax.random.key(0))
    images, probs = jnp.zeros((2, 8, 8, 3)), jnp.full((1, 6, 5), 1 / 5)

    def loss(weights, images, probs):
        return jnp.square(NET.apply(weights, images, probs)[0]).sum()

    gradient = jax.jit(jax.grad(loss, (0, 2)))
    program = jax.export.export(gradient, platforms=[platform])(
        weights, images, probs
    ).mlir_module()
    # The library computes each convolution and both gradients: 3 in a cell, 2 in a block, and the stem without the
    # gradient of images. The pools add more.
    convolutions = program.count("stablehlo.convolution")
    assert convolutions >= 3 * 3 * 3 + 3 * 2 * 2 + 2, convolutions


@pytest.mark.parametrize("name", NAS_BENCH_201.operations)
def test_one_hot_probabilities_give_the_chosen_operation(problem, name):
    weights, images, _, _ = problem
    images = images[..., :2]
    cell = jax.tree.map(lambda a: a[0], weights["stages"][0])
    o = NAS_BENCH_201.operations.index(name)
    probs = jax.nn.one_hot(jnp.full(6, o), 5)
    found = nas_bench_201_cell.mixed_cell(cell, images, probs)
    nodes = [images]
    for k in range(1, 4):
        edges = [NAS_BENCH_201.edges.index((i, k)) for i in range(k)]
        contributions = [
            plain_operation(name, cell, e, x) for e, x in zip(edges, nodes, strict=True)
        ]
        nodes.append(sum(contributions))
    np.testing.assert_allclose(found, nodes[-1], atol=1e-4)


def test_the_network_around_the_cells_has_the_benchmarks_size():
    """The benchmark's network has 1.531546 M parameters with 3x3 convolutions and affine normalization on all edges."""
    net = NasBench201Supernet(cells=5, channels=16, num_classes=10)
    weights = jax.eval_shape(net.init, jax.random.key(0))
    for cells in weights["stages"]:
        del cells["nor_conv_1x1"]
    affine = 5 * 6 * 2 * (16 + 32 + 64)
    assert sum(leaf.size for leaf in jax.tree.leaves(weights)) + affine == 1_531_546


def test_shapes_and_types():
    net = NET._replace(dtype=jnp.bfloat16)
    weights = jax.eval_shape(net.init, jax.random.key(0))
    images, probs = jnp.zeros((2, 16, 16, 3)), jnp.full((1, 6, 5), 1 / 5)
    logits, endpoints = jax.eval_shape(net.apply, weights, images, probs)
    assert logits.shape == (2, 4) and logits.dtype == jnp.float32
    assert {x.dtype for x in endpoints.values()} == {jnp.dtype(jnp.bfloat16)}
    assert {name: x.shape for name, x in endpoints.items()} == {
        "stem": (2, 16, 16, 2),
        "stage_0": (2, 16, 16, 2),
        "stage_1": (2, 8, 8, 4),
        "stage_2": (2, 4, 4, 8),
    }


def test_the_space_without_none_is_the_whole_space_with_none_at_probability_0(problem):
    weights, images, *_ = problem
    net = NET._replace(space=NO_NONE)
    probs = np.float32(np.random.default_rng(1).dirichlet(np.ones(4), (1, 6)))
    with_none = np.concatenate([np.zeros((1, 6, 1), np.float32), probs], -1)
    expected = NET.apply(weights, images, with_none)[0]
    np.testing.assert_array_equal(net.apply(weights, images, probs)[0], expected)
    drawn = np.array([[0, 1, 2, 3, 2, 1]], np.int32)
    one = SampledNasBench201(net).apply(weights, images, Drawn(drawn, np.ones((1, 6), np.float32)))
    one_hot = np.eye(4, dtype=np.float32)[drawn]
    np.testing.assert_allclose(one[0], net.apply(weights, images, one_hot)[0], rtol=1e-4, atol=1e-5)
