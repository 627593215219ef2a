"""Functions as ONNX graphs: networks of every kind against their own logits, computed by another runtime."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.data.spec import DatasetSpec
from nge_jax.export import onnx_graph
from nge_jax.networks.deeplab import deeplab_network
from nge_jax.networks.network import cifar_network, imagenet_network
from nge_jax.space import genotype
from nge_jax.space.genotype import Genotype
from nge_jax.train import trained

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")


def run(model, images):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(["y"], {"x": images})[0]


def convert(function, shape, dtype=jnp.float32):
    return onnx_graph.convert(function, shape, dtype, names=("x", "y"))


def random_variables(network, shape):
    """Weights and statistics of all kinds of sizes, without a compilation."""
    shapes = jax.eval_shape(
        lambda: network.init(jax.random.key(0), jnp.zeros((1, *shape)), train=True)
    )
    random = np.random.RandomState(0)
    draw = {
        "params": lambda leaf: random.normal(0, 0.3, leaf.shape),
        "batch_stats": lambda leaf: random.uniform(0.5, 2, leaf.shape),
    }
    return {
        name: jax.tree.map(lambda leaf, draw=draw: draw(leaf).astype(np.float32), shapes[name])
        for name, draw in draw.items()
    }


CIFAR = cifar_network(genotype.load("DARTS_V2"), cells=3, channels=4, classes=3)
IMAGENET = imagenet_network(genotype.load("PC_DARTS_cifar"), cells=4, channels=4, classes=7)
DEEPLAB = deeplab_network(genotype.load("PDARTS"), cells=3, channels=4, width=8, rates=(2,))


@pytest.mark.whole
@pytest.mark.parametrize(
    "network, shape",
    [(CIFAR, (9, 9, 1)), (IMAGENET, (64, 64, 3)), (DEEPLAB, (33, 33, 3))],
    ids=["cifar", "imagenet", "deeplab"],
)
def test_a_network_gives_the_same_logits(network, shape):
    variables = random_variables(network, shape)
    spec = DatasetSpec("any", shape, (0.5,) * shape[-1], (0.2,) * shape[-1], ("a", "b"))

    def logits(images):
        return trained.logits(network, spec, variables, images)

    model = convert(logits, shape, jnp.uint8)
    images = np.random.RandomState(1).randint(0, 256, (3, *shape)).astype(np.uint8)
    expected = np.asarray(jax.jit(logits)(images))
    scale = np.abs(expected).max()
    assert scale > 1e-3
    for count in (3, 1):
        np.testing.assert_allclose(run(model, images[:count]), expected[:count], atol=1e-4 * scale)


@pytest.mark.parametrize("function", [
    lambda x: jax.nn.relu(x[:, ::2, 1:] - 0.5) ** 2,
    lambda x: jnp.pad(x, ((0, 0), (1, 2), (0, 0), (0, 0)), constant_values=3.0).max((1, 2)),
    lambda x: jnp.einsum("nhwc,hk,wj->nkjc", x, jnp.ones((4, 3)), jnp.ones((5, 2))),
    lambda x: jax.lax.scan(lambda c, w: (jnp.tanh(c * w), None), x, jnp.arange(1.0, 4.0))[0],
    lambda x: jax.lax.reshape(x, (x.shape[0], 10, 4), dimensions=(0, 3, 2, 1)),
    lambda x: jnp.where(x > 0.2, x, -x).sum((1, 3)),
    lambda x: jnp.broadcast_to(x.mean((1, 2), keepdims=True), x.shape) + x.reshape(x.shape[0], 4, 5, 2),
    lambda x: jax.lax.platform_dependent(x, cpu=lambda x: jnp.sort(x), default=lambda x: x * 2) / 2,
    lambda x: jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 3, 3, 1), (1, 2, 2, 1), "SAME"),
])  # fmt: skip
def test_operations_one_by_one(function):
    x = np.random.RandomState(0).normal(size=(3, 4, 5, 2)).astype(np.float32)
    sorts = "sort" in str(jax.make_jaxpr(function)(x))
    expected = x if sorts else function(x)
    np.testing.assert_allclose(run(convert(function, x.shape[1:]), x), expected, atol=1e-5)


def test_an_operation_that_is_not_known_is_refused():
    with pytest.raises(onnx_graph.NotConvertible, match="the operation sort has no form in ONNX"):
        convert(lambda x: jnp.sort(x), (3,))


def test_described_operations_are_exported_where_their_steps_are_known():
    shape = (8, 8, 3)

    def function(*names):
        pairs = tuple((name, i % 2) for i, name in enumerate(names))
        concat = tuple(range(2, 2 + len(names) // 2))
        cell = Genotype(pairs, concat, pairs, concat)
        network = cifar_network(cell, cells=2, channels=4, classes=3)
        variables = random_variables(network, shape)
        return lambda images: network.apply(variables, images, train=False)[0]

    own = function("conv_7x1_1x7", "squeeze_excite", "conv_1x1", "none")
    images = np.random.RandomState(1).normal(size=(3, *shape)).astype(np.float32)
    found = run(convert(own, shape), images)
    np.testing.assert_allclose(found, own(images), rtol=1e-3, atol=1e-4)
    with pytest.raises(onnx_graph.NotConvertible, match="has no form in ONNX here"):
        convert(function("noise", "conv_1x1"), shape)
