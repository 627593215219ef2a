"""Each cell of a supernet may read P by itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.space.spaces import NO_NONE
from nge_jax.supernet.model import make_supernet
from nge_jax.supernet.nas_bench_201 import NasBench201Supernet

NETS = {
    "darts": make_supernet(3, 2, 4, schedule="loop"),
    "nas_bench_201": NasBench201Supernet(cells=1, channels=2, num_classes=4, space=NO_NONE),
}


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_a_cell_reads_its_part_of_the_probabilities(net):
    weights, key = net.init(jax.random.key(0)), jax.random.key(1)
    images = jax.random.normal(key, (4, 8, 8, 3))
    probs = jax.nn.softmax(jax.random.normal(key, net.space.shape))
    layers = probs[np.array(net.layer_types)]
    of_layers = jax.jit(net.apply_layers)
    logits, outputs = of_layers(weights, images, layers)
    np.testing.assert_allclose(logits, net.apply(weights, images, probs)[0], atol=1e-5)
    names = [name for name in outputs if name != "stem"]
    for number in range(len(layers)):
        _, others = of_layers(weights, images, layers.at[number].set(layers[number, :, ::-1]))
        changed = [not jnp.array_equal(outputs[name], others[name]) for name in names]
        assert changed == [n >= number for n in range(3)]


def test_the_cells_of_a_stage_read_their_parts_in_order():
    net = NETS["nas_bench_201"]._replace(cells=2)
    assert net.layer_types == (0,) * 6
    weights = net.init(jax.random.key(0))
    images = jax.random.normal(jax.random.key(1), (2, 4, 4, 3))
    # Cells of skip connections alone, but for one: its weights count, and no other cell's.
    skip, conv = (jnp.zeros(net.space.shape[1:]).at[:, o].set(1) for o in (0, 1))
    counts = jax.jit(jax.grad(lambda w, p: net.apply_layers(w, images, p)[0][0, 0]))
    for number in (0, 3, 5):
        layers = jnp.stack([conv if n == number else skip for n in range(6)])
        stages = counts(weights, layers)["stages"]
        used = [np.abs(s["nor_conv_1x1"]).sum((1, 2, 3)) > 0 for s in stages]
        assert np.concatenate(used).tolist() == [n == number for n in range(6)]
