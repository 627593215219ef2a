"""Operations that the schedules compute from their description, in spaces of other operations and numbers of nodes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.cost import supernet_part_costs
from nge_jax.space import genotype
from nge_jax.space.parts.operation import Operation, map_shapes
from nge_jax.space.parts.package import OPERATIONS
from nge_jax.space.spaces import ALL_SKIP, DARTS, DILATED, S2, S3, SEPARABLE
from nge_jax.supernet import cell
from nge_jax.supernet.layouts import channels_last, images_last
from nge_jax.supernet.model import make_supernet
from nge_jax.supernet.sampled import Drawn, mix_chosen
from nge_jax.supernet.schedules import described, reference
from nge_jax.supernet.schedules.schedule import SCHEDULES
from tests.helpers.cells import mixed_cell, mixed_cell_by

# Three inner nodes, and operations in another order than the paper's, with and without weights.
OWN = DARTS._replace(
    num_nodes=5,
    operations=("conv_1x1", "dil_conv_3x3", "none", "squeeze_excite", "skip_connect"),
)
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def problem(space, reduction):
    keys = jax.random.split(jax.random.key(7), 5)
    params = cell.init_mixed_cell(keys[0], (3, 5), 4, reduction, False, space=space)
    before = tuple(
        jax.random.normal(key, (3, 5, 5, n)) for key, n in zip(keys[1:], (3, 5), strict=False)
    )
    probs = jax.nn.softmax(2 * jax.random.normal(keys[3], space.shape[1:]))
    size = 3 if reduction else 5
    shape = 3, size, size, 4 * len(space.inner_nodes)
    return params, before, probs, jax.random.normal(keys[4], shape)


def value_and_gradients(compute, direction, *arguments):
    def projected(*arguments):
        return (compute(*arguments) * direction).sum()

    numbers = tuple(range(len(arguments)))
    return jit(jax.value_and_grad(projected, numbers))(*arguments)


def assert_close(found, expected):
    scale = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(expected[1]))
    for (path, e), f in zip(
        jax.tree_util.tree_leaves_with_path(expected), jax.tree.leaves(found), strict=True
    ):
        np.testing.assert_allclose(
            f, e, atol=2e-5 * scale, rtol=1e-4, err_msg=jax.tree_util.keystr(path)
        )


CASES = [(OWN, True)]
WHOLE = [(OWN, False), (S2, True), (S2, False), (S3, True)]


@pytest.mark.parametrize(
    "space, reduction",
    [*CASES, *(pytest.param(*case, marks=pytest.mark.whole) for case in WHOLE)],
)
def test_every_schedule_and_the_sampled_cell_equal_the_reference(space, reduction):
    params, before, probs, direction = problem(space, reduction)

    def by(schedule):
        compute = functools.partial(mixed_cell_by, schedule, reduction=reduction, space=space)
        return value_and_gradients(compute, direction, params, before, probs)

    expected = by("reference")
    for schedule in SCHEDULES.keys() - {"reference"}:
        assert_close(by(schedule), expected)
    operations = jnp.arange(len(space.edges)) % len(space.operations)
    one_hot = jax.nn.one_hot(operations, len(space.operations))
    mixed = functools.partial(
        mixed_cell_by, "reference", choices=one_hot, reduction=reduction, space=space
    )
    layout = functools.partial(
        mixed_cell,
        choices=Drawn(operations, jnp.ones(len(space.edges))),
        layout=images_last,
        mix_edges=functools.partial(mix_chosen, layout=images_last),
        reduction=reduction,
        space=space,
    )
    drawn = value_and_gradients(layout, direction, params, before)
    assert_close(drawn, value_and_gradients(mixed, direction, params, before))


def as_described(name, weights):
    """Names a stacked edge's weights of one of the paper's operations as the description does."""
    if name == "skip_connect" and name in weights:
        even, odd = weights[name]
        return {"even": even, "odd": odd}
    return weights.get(name, {})


@pytest.mark.parametrize("stride", [1, 2])
def test_the_papers_operations_are_what_their_descriptions_say(stride):
    params = cell.init_mixed_cell(jax.random.key(0), (4, 4), 4, stride == 2, False)
    edges = params["reducing_edges" if stride == 2 else "edges"]
    edge = jax.tree.map(lambda a: a[0], edges)
    x = jax.random.normal(jax.random.key(1), (2, 7, 7, 4))
    for name in DARTS.operations:
        weights = as_described(name, edge)
        shapes = jax.tree.map(jnp.shape, weights)
        assert shapes == OPERATIONS[name].parameters(4, stride), name
        found = described.operation(name, weights, x, stride, None)
        expected = reference.operation(name, edge, x, stride)
        np.testing.assert_allclose(found, expected, atol=2e-5, err_msg=name)


def test_the_package_operations_as_written():
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 8)).astype(np.float32)
    weights = cell._init_described(
        jax.random.key(0), 1, OPERATIONS["squeeze_excite"].parameters(8, 1)
    )
    weights = jax.tree.map(lambda a: np.asarray(a)[0], weights)
    hidden = np.maximum(x.mean((1, 2)) @ weights["squeeze"] + weights["squeeze_bias"], 0)
    gate = 1 / (1 + np.exp(-(hidden @ weights["excite"] + weights["excite_bias"])))
    y = x * gate[:, None, None]
    expected = (y - y.mean((0, 1, 2))) / np.sqrt(y.var((0, 1, 2)) + 1e-5)
    found = described.operation("squeeze_excite", weights, jnp.asarray(x), 1, None)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    strided = described.operation("squeeze_excite", weights, jnp.asarray(x), 2, None)
    y = y[:, ::2, ::2]
    expected = (y - y.mean((0, 1, 2))) / np.sqrt(y.var((0, 1, 2)) + 1e-5)
    np.testing.assert_allclose(strided, expected, atol=1e-5)
    assert not np.asarray(described.operation("none", {}, jnp.asarray(x), 2, None)).any()
    double = Operation("double", lambda weights, x, layer: 2 * layer.every(x))  # without a module
    found = described.operation(double, {}, jnp.asarray(x), 2, None)
    np.testing.assert_array_equal(found, 2 * x[:, ::2, ::2])


def test_the_sizes_of_a_supernet_with_described_operations():
    space = DARTS._replace(operations=("conv_1x1", "squeeze_excite"))
    parts = supernet_part_costs(make_supernet(1, 8, 10, space=space), (8, 8, 3))
    channels, edges = 16, 14  # the only cell reduces: 8 positions become 16 of 4 x 4
    each = channels**2 * 16 + 2 * channels * (channels // 4)
    inputs = 2 * (3 * 8 * 2) * channels * 64
    assert parts["cell_0"].multiply_adds == inputs + edges * each
    squeeze = 2 * channels * channels // 4 + channels // 4 + channels
    assert parts["cell_0"].parameters == 2 * 48 * channels + edges * (channels**2 + squeeze)


def test_a_cell_of_another_space_has_choices_of_that_space():
    net = make_supernet(3, 4, 10, space=OWN)
    chosen = net.choices(genotype.random_genotype(0, OWN))
    assert chosen.shape == (2, 9) and net.example_probs().shape == (2, 9, 5)
    assert not {*SEPARABLE, *DILATED} & {*cell._init_edges(jax.random.key(0), 1, 4, 1, S3)} - {
        "sep_conv_3x3"
    }
    assert channels_last is SCHEDULES["together"].layout


@pytest.mark.parametrize("stride", [1, 2])
def test_an_edge_of_all_skip_is_the_papers_edge_beside_a_skip_connection(stride):
    keys = iter(jax.random.split(jax.random.key(0), 60))

    def weights(name):
        shapes = OPERATIONS[name].parameters(4, stride)
        return map_shapes(lambda _, shape: jax.random.normal(next(keys), shape), shapes)

    x, p = jax.random.normal(next(keys), (2, 6, 6, 4)), jax.nn.softmax(jnp.arange(7.0))
    one = functools.partial(described.operation, stride=stride, axis_name=None)
    edge = {name: weights(name) for name in DARTS.operations}
    skip = weights("skip_connect")  # the same one beside each operation
    both = {f"{name}_and_skip": {"operation": w, "skip": skip} for name, w in edge.items()}
    for name, w in both.items():
        assert {*OPERATIONS[name].parameters(4, stride)} == {k for k, tree in w.items() if tree}
    found = described.mixed(both, x, p, stride, None, ALL_SKIP, channels_last)
    expected = one("skip_connect", skip, x) + sum(
        weight * one(name, edge[name], x) for name, weight in zip(DARTS.operations, p, strict=True)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)
