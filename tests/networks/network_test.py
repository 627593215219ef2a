"""Cell plan, derived cell, runs of equal cells, drop-path, auxiliary head, the two networks."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.networks import layers
from nge_jax.networks.cell import CellStack, FixedCell, draw_path_scales
from nge_jax.networks.network import cifar_network, imagenet_network
from nge_jax.space import genotype
from nge_jax.space.genotype import Genotype
from nge_jax.space.stack import CellSpec, cell_plan

# The cells have two inner nodes with an edge between them, and the reduction's output skips one node.
CELL = Genotype(
    (("sep_conv_3x3", 0), ("skip_connect", 1), ("dil_conv_3x3", 2), ("max_pool_3x3", 0)), (3, 2),
    (("max_pool_3x3", 1), ("sep_conv_3x3", 0), ("skip_connect", 1), ("avg_pool_3x3", 2)), (3,),
)  # fmt: skip
EVALUATION = partial(nn.BatchNorm, use_running_average=True)


def images(batch=2, size=8, channels=3):
    return jax.random.normal(jax.random.key(0), (batch, size, size, channels))


# Each program runs once, and compiles much faster without optimization.
jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def initial(module, *args, **kwargs):
    return jit(partial(module.init, **kwargs))(jax.random.key(1), *args)


def apply(module, variables, *args, **kwargs):
    return jit(partial(module.apply, **kwargs))(variables, *args)


@pytest.mark.parametrize("cells, reductions", [
    (1, [0]), (2, [0, 1]), (3, [1, 2]), (4, [1, 2]), (5, [1, 3]), (8, [2, 5]), (14, [4, 9]), (20, [6, 13]),
])  # fmt: skip
def test_reductions_stand_at_a_third_and_two_thirds(cells, reductions):
    plan = cell_plan(cells, 16)
    assert [i for i, spec in enumerate(plan) if spec.reduction] == reductions
    assert [spec.reduction_prev for spec in plan[1:]] == [spec.reduction for spec in plan[:-1]]
    for i, spec in enumerate(plan):
        assert spec.channels == 16 * 2 ** sum(r <= i for r in reductions)


def test_only_the_first_cell_of_imagenet_follows_a_reduction_in_the_stem():
    assert cell_plan(14, 48, reduction_prev=True)[0] == CellSpec(48, False, True)
    assert cell_plan(14, 48)[0] == CellSpec(48, False, False)
    assert cell_plan(14, 48, reduction_prev=True)[1:] == cell_plan(14, 48)[1:]


@pytest.mark.parametrize("spec", [CellSpec(4, False, False), CellSpec(4, True, True)])
def test_a_cell_sums_two_operations_a_node_and_concatenates(spec):
    s0 = images(size=16 if spec.reduction_prev else 8, channels=12)
    s1 = images(channels=16)
    cell = FixedCell(CELL, spec, EVALUATION)
    variables = initial(cell, s0, s1)

    # The sums are written out, because a loop over edges would repeat the code under test.
    def by_hand(variables, s0, s1):
        def part(name):
            return {k: v[name] for k, v in variables.items() if name in v}

        def operate(index, source):
            name, expected_source = pairs[index]
            assert source == expected_source
            stride = 2 if spec.reduction and source < 2 else 1
            op = layers.OPS[name](4, stride, EVALUATION, None, None)
            weights = part(f"edge_{index}_{name}")
            return op.apply(weights, nodes[source]) if weights else op(nodes[source])

        pairs = CELL.reduce if spec.reduction else CELL.normal
        first = layers.FactorizedReduce if spec.reduction_prev else layers.ReluConvNorm
        nodes = {0: first(4, EVALUATION).apply(part("input_0"), s0)}
        nodes[1] = layers.ReluConvNorm(4, EVALUATION).apply(part("input_1"), s1)
        if spec.reduction:
            nodes[2] = operate(0, 1) + operate(1, 0)
            nodes[3] = operate(2, 1) + operate(3, 2)
            return nodes[3]
        nodes[2] = operate(0, 0) + operate(1, 1)
        nodes[3] = operate(2, 2) + operate(3, 0)
        return jnp.concatenate([nodes[3], nodes[2]], axis=-1)

    y = apply(cell, variables, s0, s1)
    assert y.shape == ((2, 4, 4, 4) if spec.reduction else (2, 8, 8, 8))
    np.testing.assert_allclose(y, jit(by_hand)(variables, s0, s1), atol=1e-6)


def test_a_run_of_equal_cells_is_the_cells_one_by_one():
    spec = CellSpec(4, False, False)
    # Inputs as wide as the cells' outputs make one run.
    s0, s1 = images(channels=8), images(channels=8) * 0.5
    path_scales = jax.random.uniform(jax.random.key(2), (3, 4, 2))
    stack = CellStack(CELL, (spec,) * 3, EVALUATION)
    variables = initial(stack, s0, s1, path_scales)
    endpoints = apply(stack, variables, s0, s1, path_scales)
    assert list(endpoints) == ["cell_02"]
    weights = {k: v["cells_00_02"] for k, v in variables.items()}
    cell = FixedCell(CELL, spec, EVALUATION)
    for index in range(3):
        cell_weights = jax.tree.map(lambda w, i=index: w[i], weights)
        s0, s1 = s1, apply(cell, cell_weights, s0, s1, path_scales[index])
    np.testing.assert_allclose(endpoints["cell_02"], s1, atol=1e-6)
    kernels = weights["params"]["input_0"]["Dense_0"]["kernel"]
    assert not np.array_equal(kernels[0], kernels[1])  # cells start with different weights


def test_drop_path_keeps_the_mean():
    scales = np.asarray(draw_path_scales(jax.random.key(0), CELL, 5, 1000, 0.3))
    assert scales.shape == (5, 4, 1000)
    assert set(np.unique(scales)) == {0.0, np.float32(1) / np.float32(0.7)}
    assert scales.mean() == pytest.approx(1, abs=0.02)
    assert np.all(draw_path_scales(jax.random.key(0), CELL, 5, 1000, 0.0) == 1)


def test_drop_path_scales_each_operation_of_each_sample_but_no_identity():
    spec = CellSpec(4, False, False)
    s0, s1 = images(channels=8), images(channels=8) * 0.5
    cell = FixedCell(CELL, spec, EVALUATION)
    variables = initial(cell, s0, s1)
    plain = apply(cell, variables, s0, s1)
    ones = jnp.ones((4, 2))
    np.testing.assert_array_equal(apply(cell, variables, s0, s1, ones), plain)
    dropped = apply(cell, variables, s0, s1, ones.at[:, 1].set(0))  # all paths of sample 1
    np.testing.assert_array_equal(dropped[0], plain[0])
    input_1 = {k: v["input_1"] for k, v in variables.items()}
    identity = apply(layers.ReluConvNorm(4, EVALUATION), input_1, s1)
    nothing = jnp.zeros_like(identity)
    np.testing.assert_allclose(
        dropped[1], jnp.concatenate([nothing, identity], axis=-1)[1], atol=1e-6
    )
    halved = apply(cell, variables, s0, s1, ones.at[0].set(0.5))  # the first edge alone
    expected = identity + 0.5 * (plain[..., 4:] - identity)
    np.testing.assert_allclose(halved[..., 4:], expected, atol=1e-6)


@pytest.mark.parametrize("network, size, head", [
    (partial(cifar_network, cells=3, channels=4), 32, 128 * 16 + 256 + 4 * 128 * 768 + 1536),
    (partial(imagenet_network, cells=3, channels=4), 224, 128 * 16 + 256 + 4 * 128 * 768),
])  # fmt: skip
def test_auxiliary_head_exists_in_training_only(network, size, head):
    model, x = network(CELL, classes=7, auxiliary=True), images(size=size)

    def forward(train):
        return model.init_with_output(jax.random.key(1), x, train=train)

    def count(tree):
        return sum(leaf.size for leaf in jax.tree.leaves(tree["params"]))

    (logits, endpoints), variables = jax.eval_shape(partial(forward, True))
    assert logits.shape == endpoints["aux_logits"].shape == (2, 7)
    (_, endpoints), without = jax.eval_shape(partial(forward, False))
    assert "aux_logits" not in endpoints
    assert count(variables) - count(without) == head + 768 * 7 + 7


def test_statistics_move_in_training_and_serve_in_evaluation():
    model, x = cifar_network(CELL, cells=1, channels=4), images(batch=4)
    variables = initial(model, x, train=False)
    _, moved = apply(model, variables, x, train=True, mutable=["batch_stats"])
    new, old = (v["batch_stats"]["stem"]["BatchNorm_0"] for v in (moved, variables))
    kernel = variables["params"]["stem"]["Conv_0"]["kernel"]
    numbers = ("NHWC", "HWIO", "NHWC")
    y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers)
    np.testing.assert_allclose(new["mean"], 0.1 * y.mean((0, 1, 2)), atol=1e-6)
    np.testing.assert_allclose(new["var"], 0.9 * old["var"] + 0.1 * y.var((0, 1, 2)), atol=1e-5)
    logits, _ = apply(model, variables, x, train=False)
    other_batch, _ = apply(model, variables, x.at[1:].set(9.0), train=False)
    np.testing.assert_array_equal(other_batch[0], logits[0])


def test_bfloat16_keeps_weights_statistics_and_logits_in_float32():
    model, x = cifar_network(CELL, cells=3, channels=4, dtype=jnp.bfloat16), images()
    (logits, endpoints), variables = jax.eval_shape(
        partial(model.init_with_output, train=True), jax.random.key(0), x
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert logits.dtype == jnp.float32
    assert {y.dtype for y in endpoints.values()} == {jnp.dtype("bfloat16")}


def test_the_published_cells_build():
    for name in ("DARTS_V2", "ENASNet", "SNAS_aggressive"):  # five nodes; `none`
        model = cifar_network(genotype.KNOWN[name], cells=6, channels=4, classes=5)
        forward = partial(model.init_with_output, train=False)
        (logits, _), _ = jax.eval_shape(forward, jax.random.key(0), images(size=32))
        assert logits.shape == (2, 5)
