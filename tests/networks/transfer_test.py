"""The transfer of a backbone from a classifier's checkpoint to a segmentation network, whole or not at all."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nge_jax.errors import InputError
from nge_jax.networks import transfer as network_transfer
from nge_jax.networks.deeplab import deeplab_network
from nge_jax.networks.network import imagenet_network
from nge_jax.space.genotype import Genotype

CELL = Genotype(
    (("sep_conv_3x3", 0), ("max_pool_3x3", 1)), (2,),
    (("skip_connect", 0), ("dil_conv_3x3", 1)), (2,),
)  # fmt: skip
SIZES = {"cells": 3, "channels": 2}


def fresh_variables(**sizes):
    """Returns the shapes of the segmentation network's variables, without compiling their initialization."""
    model = deeplab_network(CELL, width=4, **SIZES | sizes)
    init = partial(model.init, train=False)
    shapes = jax.eval_shape(init, jax.random.key(1), jnp.zeros((1, 33, 33, 3)))
    random = np.random.RandomState(1)
    return jax.tree.map(lambda a: random.standard_normal(a.shape).astype(a.dtype), shapes)


@pytest.fixture(scope="module")
def saved():
    """Returns the variables of a classifier, as a training saves them."""
    model = imagenet_network(CELL, classes=5, auxiliary=True, **SIZES)

    def init():  # the auxiliary head needs images of this size; their values are not computed with
        return model.init(jax.random.key(0), jnp.zeros((1, 224, 224, 3)), train=True)

    random = np.random.RandomState(0)
    return jax.tree.map(
        lambda a: random.standard_normal(a.shape).astype(a.dtype), jax.eval_shape(init)
    )


def test_the_backbone_is_restored_and_the_heads_are_not(saved):
    before = fresh_variables()
    after, transfer = network_transfer.restore_backbone(before, saved, "somewhere")
    for collection in ("params", "batch_stats"):
        for module in ("stem", "cells"):
            jax.tree.map(
                np.testing.assert_array_equal,
                after[collection][module],
                saved[collection][module],
            )
        head = after[collection]["head"], before[collection]["head"]
        jax.tree.map(np.testing.assert_array_equal, *head)
        assert after[collection].keys() == before[collection].keys()
    paths = {path.split("/")[1] for path in transfer.restored}
    assert paths == {"stem", "cells"}
    assert {path.split("/")[1] for path in transfer.left} == {"auxiliary", "classifier"}
    assert {path.split("/")[1] for path in transfer.fresh} == {"head"}
    both = (transfer.restored, transfer.fresh)
    assert sum(len(part) for part in both) == len(jax.tree.leaves(before))
    backbone = sum(
        leaf.size
        for collection in saved.values()
        for module in ("stem", "cells")
        for leaf in jax.tree.leaves(collection[module])
    )
    assert str(transfer).startswith(f"restored {backbone:,} numbers (cells, stem); left behind ")
    assert str(transfer).endswith("(head)") and "(auxiliary, classifier); new" in str(transfer)


@pytest.mark.parametrize("sizes, message", [
    ({"channels": 4}, r"do not fit, such as .*/cells/.*: found float32\[.*\], expected float32\["),
    ({"cells": 4}, r"do not fit, such as .*: found .*, expected "),
    ({"cells": 2}, r"do not fit, such as .*: found .*, expected nothing"),
])  # fmt: skip
def test_another_backbone_is_refused(saved, sizes, message):
    with pytest.raises(InputError, match=message) as error:
        network_transfer.restore_backbone(fresh_variables(**sizes), saved, "somewhere")
    assert "somewhere" in str(error.value) and "\n" not in str(error.value)
