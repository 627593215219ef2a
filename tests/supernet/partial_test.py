"""Partially connected cells: values and gradients of all schedules equal those of PC-DARTS's form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from nge_jax.space.genotype import EDGES, OPERATIONS
from nge_jax.space.mixture import Mixture
from nge_jax.space.spaces import DARTS
from nge_jax.supernet import cell, partial
from nge_jax.supernet import edge as supernet_edge
from nge_jax.supernet.model import make_supernet
from nge_jax.supernet.schedules import reference
from nge_jax.supernet.schedules.schedule import SCHEDULES
from tests.helpers.cells import mixed_cell_by

SHARE, CHANNELS, BEFORE = 4, 8, (3, 5)


def problem(reduction):
    """Returns a cell's parameters, its inputs, a mixture, and a direction to project the output on."""
    keys = jax.random.split(jax.random.key(0), 6)
    params = cell.init_mixed_cell(keys[0], BEFORE, CHANNELS, reduction, not reduction, SHARE)
    size = 8 if reduction else 16
    before = (
        jax.random.normal(keys[1], (3, size, size, BEFORE[0])),
        jax.random.normal(keys[2], (3, 8, 8, BEFORE[1])),
    )
    mixture = Mixture(
        probs=jax.nn.softmax(2 * jax.random.normal(keys[3], (14, 7))),
        betas=jax.random.uniform(keys[4], (14,)),
    )
    size = 4 if reduction else 8
    return params, before, mixture, jax.random.normal(keys[5], (3, size, size, 4 * CHANNELS))


def written_cell(params, before, mixture, reduction):
    """Computes the cell as PC-DARTS's model_search.py does: nodes are whole, and each edge shuffles its channels."""
    nodes = [cell.preprocess(params[f"preprocess_{n}"], x, None) for n, x in enumerate(before)]
    groups = supernet_edge.edge_groups(DARTS, reduction)
    kinds = {1 + (name == supernet_edge.REDUCING): (name, s) for name, s in groups.items()}
    for k in range(2, 6):
        total = 0.0
        for i in range(k):
            stride = 2 if reduction and i < 2 else 1
            name, sources = kinds[stride]
            number = supernet_edge.edges_from(sources).index((i, k))
            edge = jax.tree.map(lambda a, number=number: a[number], params[name])
            p, beta = (a[EDGES.index((i, k))] for a in mixture)
            total += beta * written_edge(edge, nodes[i], p, stride)
        nodes.append(total)
    return jnp.concatenate(nodes[2:], -1)


def written_edge(edge, x, p, stride):
    count = CHANNELS // SHARE
    mixed = sum(
        p[o] * reference.operation(name, edge, x[..., :count], stride)
        for o, name in enumerate(OPERATIONS)
    )
    rest = x[..., count:]
    if stride == 2:
        rest = lax.reduce_window(rest, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    y = jnp.concatenate([mixed, rest], -1)
    # channel_shuffle: view(groups, channels per group), transpose, view.
    order = np.arange(CHANNELS).reshape(SHARE, count).T.reshape(-1)
    return y[..., order]


@pytest.mark.whole
@pytest.mark.parametrize("reduction", [False, True])
def test_every_schedule_equals_the_edges_as_written(reduction):
    """The gradients are those of weights, inputs, probabilities and edge weights."""
    params, before, mixture, direction = problem(reduction)

    def value_and_gradients(compute):
        def projected(params, before, mixture):
            return (compute(params, before, mixture) * direction).sum()

        return jax.jit(jax.value_and_grad(projected, (0, 1, 2)))(params, before, mixture)

    expected = value_and_gradients(lambda *args: written_cell(*args, reduction))
    for name in SCHEDULES:
        found = value_and_gradients(
            lambda *args, schedule=name: mixed_cell_by(
                schedule, *args, reduction=reduction, share=SHARE
            )
        )
        for (path, e), f in zip(
            jax.tree_util.tree_leaves_with_path(expected), jax.tree.leaves(found), strict=True
        ):
            where = f"{name} {jax.tree_util.keystr(path)}"
            scale = np.abs(e).max()
            np.testing.assert_allclose(f, e, atol=5e-5 * scale, rtol=1e-4, err_msg=where)
            assert scale > 0, where


@pytest.mark.whole
def test_a_gradient_does_not_depend_on_which_others_are_asked_for():
    params, before, mixture, direction = problem(reduction=True)

    def projected(params, mixture):
        out = mixed_cell_by("loop", params, before, mixture, reduction=True, share=SHARE)
        return (out * direction).sum()

    together = jax.jit(jax.grad(projected, (0, 1)))(params, mixture)
    for number in (0, 1):
        alone = jax.jit(jax.grad(projected, number))(params, mixture)
        for f, e in zip(jax.tree.leaves(alone), jax.tree.leaves(together[number]), strict=True):
            np.testing.assert_allclose(f, e, atol=1e-5 * np.abs(e).max())


def test_a_shuffle_takes_from_each_group_in_turn():
    x = jnp.arange(12.0)[None]
    shuffled = partial.shuffle(x, 4)[0].astype(int).tolist()
    assert shuffled == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]
    np.testing.assert_array_equal(partial.join(partial.divide(x, 3)), x)


@pytest.mark.parametrize("size", [4, 5])
def test_what_passes_an_edge_of_stride_2_is_the_largest_of_its_window(size):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, size, size, 3)), jnp.float32)
    expected = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME")
    np.testing.assert_array_equal(partial.max_pool_2x2(x), expected)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_bfloat16_activations_leave_float32_logits(schedule):
    net = make_supernet(
        2, CHANNELS, 7, schedule=schedule, dtype=jnp.bfloat16, share=SHARE, remat=True
    )
    weights = jax.eval_shape(net.init, jax.random.key(0))
    mixture = Mixture(jnp.full((2, 14, 7), 1 / 7), jnp.full((2, 14), 1 / 3))
    logits, endpoints = jax.eval_shape(net.apply, weights, jnp.zeros((2, 8, 8, 3)), mixture)
    assert logits.dtype == jnp.float32 and logits.shape == (2, 7)
    assert {x.dtype for x in endpoints.values()} == {jnp.dtype(jnp.bfloat16)}
    assert endpoints["cell_1"].shape == (2, 2, 2, 4 * 4 * CHANNELS)


def test_the_papers_supernet_with_a_quarter_of_the_channels_is_that_much_smaller():
    net = make_supernet(8, 16, 10)
    whole, quarter = (
        jax.eval_shape(n.init, jax.random.key(0)) for n in (net, net._replace(share=4))
    )
    edges = whole["cells"][0]["edges"]["sep_conv_3x3"]["first"]["pointwise"].shape
    assert edges == (14, 16, 16)
    edges = quarter["cells"][0]["edges"]["sep_conv_3x3"]["first"]["pointwise"].shape
    assert edges == (14, 4, 4)
    preprocess = (tree["cells"][0]["preprocess_0"].shape for tree in (whole, quarter))
    assert len(set(preprocess)) == 1
