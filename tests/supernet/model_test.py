"""The supernet's size, shapes and data types."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.cost import supernet_part_costs
from nge_jax.supernet.model import make_supernet
from nge_jax.supernet.schedules.schedule import SCHEDULES


def test_the_papers_supernet_has_1930618_parameters():
    net = make_supernet(cells=8, channels=16, num_classes=10)
    weights = jax.eval_shape(net.init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(weights)) == 1_930_618


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_shapes_of_logits_and_endpoints(schedule):
    net = make_supernet(cells=3, channels=4, num_classes=7, schedule=schedule)
    weights = jax.eval_shape(net.init, jax.random.key(0))
    images, probs = jnp.zeros((2, 16, 16, 3)), jnp.full((2, 14, 7), 1 / 7)
    logits, endpoints = jax.eval_shape(net.apply, weights, images, probs)
    assert logits.shape == (2, 7) and logits.dtype == jnp.float32
    shapes = {name: x.shape for name, x in endpoints.items()}
    assert shapes == {
        "stem": (2, 16, 16, 12),
        "cell_0": (2, 16, 16, 16),
        "cell_1": (2, 8, 8, 32),
        "cell_2": (2, 4, 4, 64),
    }


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_large_images_pass_through_three_strides_first_and_any_size_fits(schedule):
    net = make_supernet(3, 4, 7, large_stem=True, schedule=schedule)
    weights = jax.eval_shape(net.init, jax.random.key(0))
    probs = jnp.full((2, 14, 7), 1 / 7)
    for size, sizes in ((224, (28, 28, 14, 7)), (99, (13, 13, 7, 4))):
        _, endpoints = jax.eval_shape(net.apply, weights, jnp.zeros((2, size, size, 3)), probs)
        names = ("stem", "cell_0", "cell_1", "cell_2")
        assert tuple(endpoints[name].shape[1] for name in names) == sizes
        assert endpoints["stem"].shape[-1] == 4
    parts = supernet_part_costs(net, (224, 224, 3))
    # 3x3 kernels, 3 -> 2 -> 4 -> 4 channels, at 112x112, 56x56 and 28x28 positions. BN has two numbers a channel.
    kernels = 54 * 112**2 + 72 * 56**2 + 144 * 28**2
    assert parts["stem"] == (54 + 72 + 144 + 2 * (2 + 4 + 4), kernels)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_bfloat16_activations_leave_float32_logits(schedule):
    net = make_supernet(cells=1, channels=4, num_classes=7, schedule=schedule, dtype=jnp.bfloat16)
    weights = jax.eval_shape(net.init, jax.random.key(0))
    images, probs = jnp.zeros((2, 16, 16, 3)), jnp.full((2, 14, 7), 1 / 7)
    logits, endpoints = jax.eval_shape(net.apply, weights, images, probs)
    assert logits.dtype == jnp.float32
    assert {x.dtype for x in endpoints.values()} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.whole
@pytest.mark.parametrize("schedule", ["loop", "together"])
def test_computing_a_cell_again_gives_the_same_gradients(schedule):
    plain = make_supernet(cells=1, channels=2, num_classes=3, schedule=schedule)
    again = plain._replace(remat=True)
    weights = plain.init(jax.random.key(0))
    images = jax.random.normal(jax.random.key(1), (2, 8, 8, 3))
    probs = jax.nn.softmax(jax.random.normal(jax.random.key(2), (2, 14, 7)))

    def gradients(net):
        def loss(weights, probs):
            return jnp.square(net.apply(weights, images, probs)[0]).sum()

        return jax.jit(jax.grad(loss, argnums=(0, 1)))(weights, probs)

    expected, found = map(gradients, (plain, again))
    assert any(np.any(leaf) for leaf in jax.tree.leaves(expected[1]))
    for a, b in zip(*map(jax.tree.leaves, (expected, found)), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)
