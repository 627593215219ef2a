"""Operations of derived networks that are computed from their description: sizes, atrous forms, any cell, export."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.cost import model_cost
from nge_jax.networks import layers
from nge_jax.networks.any_cell import as_arrays
from nge_jax.networks.cell import FixedCell
from nge_jax.networks.described import DescribedOperation
from nge_jax.networks.network import cifar_network
from nge_jax.networks.weights_of_any_cell import from_derived, to_derived
from nge_jax.space.genotype import Genotype
from nge_jax.space.parts.package import OPERATIONS
from nge_jax.space.spaces import DARTS
from nge_jax.space.stack import CellSpec

TRAINING = functools.partial(layers.BatchNorm, use_running_average=False, momentum=0.9)
OWN = DARTS._replace(
    num_nodes=4, operations=("conv_7x1_1x7", "skip_connect", "none", "squeeze_excite", "noise")
)
PAIRS = (("conv_7x1_1x7", 0), ("squeeze_excite", 1), ("none", 1), ("conv_7x1_1x7", 2))
CELL = Genotype(PAIRS, (2, 3), PAIRS, (2, 3))
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


OTHERS = (
    "conv_1x1",
    "conv_3x1_1x3",
    "conv_7x1_1x7",
    "sep_conv_7x7",
    "squeeze_excite",
    "noise",
    "none",
)


@pytest.mark.parametrize("name", OTHERS)
def test_an_operation_normalizes_with_the_statistics_of_the_network(name):
    x = jax.random.normal(jax.random.key(0), (2, 7, 7, 4))
    build = layers.builder(name)
    module = build(4, 2, TRAINING, None, "own")
    if not isinstance(module, DescribedOperation):
        assert not np.asarray(module(x)).any() and name == "none"
        return
    variables = module.init(jax.random.key(1), x)
    y, moved = module.apply(variables, x, mutable=["batch_stats"])
    assert y.shape == (2, 4, 4, 4)
    evaluated = module.clone(norm=functools.partial(TRAINING, use_running_average=True))
    assert ("batch_stats" in moved) == (name != "noise")
    if name != "noise":
        assert np.abs(y - evaluated.apply(variables, x)).max() > 0.1


def test_an_atrous_operation_has_the_strided_ones_features_on_every_second_pixel():
    inputs = [jax.random.normal(jax.random.key(n), (2, 9, 9, 4)) for n in range(2)]
    norm = functools.partial(TRAINING, use_running_average=True)
    pairs = tuple((name, i) for i in (0, 1) for name in ("conv_7x1_1x7", "conv_1x1"))
    own = Genotype(pairs, (2, 3), pairs, (2, 3))
    strided, atrous = (
        FixedCell(own, CellSpec(4, True, False, spacing), norm)
        for spacing in ((1, 1, 1), (1, 1, 2))
    )
    variables = strided.init(jax.random.key(2), *inputs)
    expected, found = (jit(cell.apply)(variables, *inputs) for cell in (strided, atrous))
    assert found.shape[1:3] == (9, 9)
    np.testing.assert_allclose(found[:, ::2, ::2], expected, atol=1e-5)


def test_a_network_of_any_cell_learns_as_the_derived_network_does():
    derived = cifar_network(CELL, cells=3, channels=4, classes=3)
    any_cell = cifar_network(as_arrays(CELL, OWN), cells=3, channels=4, classes=3, space=OWN)
    images = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
    variables = derived.init(jax.random.key(1), images, train=True)

    def gradients(model, variables):
        def loss(params):
            everything = variables | {"params": params}
            logits = model.apply(everything, images, train=True, mutable=["batch_stats"])[0][0]
            return (logits * jnp.arange(3.0)).sum()

        return jit(jax.value_and_grad(loss))(variables["params"])

    converted = from_derived(CELL, derived.plan, variables, OWN)
    (loss, g_derived), (same, g_any) = gradients(derived, variables), gradients(any_cell, converted)
    np.testing.assert_allclose(loss, same, rtol=1e-4)
    back = to_derived(CELL, derived.plan, {"params": g_any}, OWN)["params"]
    largest = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(g_derived))
    for (path, e), f in zip(
        jax.tree_util.tree_leaves_with_path(g_derived), jax.tree.leaves(back), strict=True
    ):
        np.testing.assert_allclose(f, e, atol=1e-4 * largest, err_msg=jax.tree_util.keystr(path))


def test_the_multiply_adds_of_a_network_count_what_operations_compute():
    def cost(*names):
        pairs = tuple((name, i) for i, name in enumerate(names))
        own = Genotype(pairs, (2,), pairs, (2,))
        return model_cost(cifar_network(own, cells=2, channels=4, classes=3), (8, 8, 3))

    # The first cell reduces from 8x8 to 4x4 with 8 channels, and the second has 4x4 and 16 channels, 2x2 behind.
    less, more = cost("max_pool_3x3", "max_pool_3x3"), cost("conv_1x1", "squeeze_excite")
    gates = sum(2 * c * (c // 4) for c in (8, 16))
    assert more.multiply_adds - less.multiply_adds == 8**2 * 16 + 16**2 * 4 + gates
    parameters = sum(c * c + 2 * c + 2 * c * (c // 4) + c // 4 + c + 2 * c for c in (8, 16))
    assert more.parameters - less.parameters == parameters


def test_equal_cells_in_a_run_count_each():
    pairs = (("conv_1x1", 0), ("conv_1x1", 1))
    own = Genotype(pairs, (2,), pairs, (2,))
    short, long = (
        model_cost(cifar_network(own, cells=n, channels=4, classes=3), (8, 8, 3)) for n in (9, 12)
    )
    assert long.multiply_adds > short.multiply_adds
    assert OPERATIONS["conv_1x1"].parameters(4, 1) == {"kernel": (4, 4)}
