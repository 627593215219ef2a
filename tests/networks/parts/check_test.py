"""Operations of one's own: a mistake is refused in one line that names the line of the file, before compiling."""

import jax.numpy as jnp
import pytest

import nge_jax as nge
from nge_jax.errors import InputError
from nge_jax.networks.parts import check
from nge_jax.networks.parts.check import Place
from nge_jax.space.parts import loading, outside
from nge_jax.space.parts.package import OPERATIONS
from nge_jax.space.parts.reference import Loaded
from nge_jax.space.spaces import DARTS
from nge_jax.space.stack import cell_plan
from nge_jax.testing import check_operation
from tests.helpers.modules import forget_modules

MINE = """
import jax.numpy as jnp
import nge_jax as nge

def conv(layer, x, weights, stride=None):
    return layer.norm(layer.conv(layer.relu(x), weights["kernel"], stride or layer.stride))

def none(weights, x, layer):
    conv(layer, x, weights)

def kernel(channels, stride):
    return {"kernel": (3, 3, channels)}

APPLIED = {
    "good": lambda w, x, layer: conv(layer, x, w),
    "none": none,
    "stride": lambda w, x, layer: conv(layer, x, w, 1),
    "attribute": lambda w, x, layer: layer.convolve(x, w["kernel"]),
    "key": lambda w, x, layer: layer.conv(x, w["kernal"], layer.stride),
    "channels": lambda w, x, layer: layer.join(conv(layer, x, w), conv(layer, x, w)),
    "mean": lambda w, x, layer: conv(layer, x, w).mean((1, 2)),
    "bool": lambda w, x, layer: conv(layer, x, w) > 0,
    "nan": lambda w, x, layer: jnp.sqrt(-1 - conv(layer, x, w) ** 2),
    "root": lambda w, x, layer: jnp.sqrt(0 * conv(layer, x, w)),
    "few": lambda w, x: x,
    "name": lambda w, x, layer: layer.sigmiod(conv(layer, x, w)),
    "list": lambda w, x, layer: layer.join([x, conv(layer, x, w)]),
    "unread": lambda w, x, layer: (w["kernel"].sum(), layer.avg_pool(x))[1],
}
SHAPES = {
    "shapes_few": lambda channels: {"kernel": (3, 3, channels)},
    "shapes_none": lambda channels, stride: None,
    "shapes_size": lambda channels, stride: {"kernel": channels},
}
named = {name: nge.Operation(name, apply, kernel) for name, apply in APPLIED.items()}
named |= {name: nge.Operation(name, APPLIED["good"], shapes) for name, shapes in SHAPES.items()}
globals().update(named)
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "_FOUND", {})
    yield
    forget_modules(tmp_path)


MESSAGES = {
    "none": "apply with stride 1: mine.py, line 8: returned None, expected the shape (2, 8, 8, 4)",
    "stride": "apply with stride 2: mine.py, line 17: found the shape (2, 8, 8, 4), expected the shape (2, 4, 4, 4)",
    "attribute": "apply with stride 1: mine.py, line 18: AttributeError: 'Layer' object has no attribute 'convolve', "
    "did you mean conv?",
    "key": "apply with stride 1: mine.py, line 19: KeyError: 'kernal': `parameters` gives kernel",
    "channels": "apply with stride 1: mine.py, line 20: found the shape (2, 8, 8, 8), expected the shape (2, 8, 8, 4)",
    "mean": "apply with stride 1: mine.py, line 21: found the shape (2, 4), expected the shape (2, 8, 8, 4)",
    "bool": "apply with stride 1: mine.py, line 22: found bool, expected float32",
    "nan": "apply with stride 1: mine.py, line 23: found NaN or infinity for normal numbers, expected finite numbers",
    "root": "apply with stride 1: mine.py, line 24: found NaN or infinity in the gradient of x for normal numbers",
    "few": "apply: mine.py, line 25: found the arguments (w, x), expected (weights, x, layer)",
    "name": "apply with stride 1: mine.py, line 26: AttributeError: 'Layer' object has no attribute 'sigmiod', did you "
    "mean sigmoid?",
    "list": "apply with stride 1: mine.py, line 27: TypeError: ",
    "unread": "apply with stride 1: mine.py, line 28: reads no kernel, expected a result that depends on each weight",
    "shapes_few": "parameters: mine.py, line 31: found the arguments (channels), expected (channels, stride)",
    "shapes_none": "parameters with stride 1: mine.py, line 32: returned None, expected a dict of shapes",
    "shapes_size": "parameters with stride 1: mine.py, line 33: kernel: found 4, expected a shape such as",
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_mistake_is_refused_in_one_line_that_names_the_operation_and_the_place(name):
    space = DARTS._replace(operations=("skip_connect", f"mine:{name}"))
    with pytest.raises(InputError) as refused:
        check.check_space(space, cell_plan(2, 2))
    message = str(refused.value)
    assert message.startswith(f"operation mine:{name}: {MESSAGES[name]}")
    assert "\n" not in message
    assert name != "list" or ", in layer.join(*parts" in message


def test_good_operations_pass_at_every_place():
    space = DARTS._replace(operations=("skip_connect", "mine:good"))
    check.check_space(space, cell_plan(6, 2))
    places = [Place(4, 1), Place(4, 2), Place(4, 2, (1, 2)), Place(4, 1, (2, 2))]
    check.check_operation(Loaded("mine", OPERATIONS["squeeze_excite"], "", ""), places)


def test_a_network_tries_its_operations_where_they_stand():
    """A normal cell has no stride of 2, so that a network without the operation elsewhere is good."""
    pairs = (("mine:stride", 0), ("skip_connect", 1)) * 4
    others = (("skip_connect", 0), ("skip_connect", 1)) * 4
    cells = nge.Genotype(pairs, (2, 3, 4, 5), others, (2, 3, 4, 5))
    check.check_cells(cells, cell_plan(3, 2))
    with pytest.raises(InputError, match="^operation mine:stride: apply with stride 2: mine.py"):
        check.check_cells(cells._replace(reduce=pairs), cell_plan(3, 2))


def test_a_network_of_a_cell_found_takes_weights_that_nothing_reads():
    pairs = (("mine:unread", 0), ("skip_connect", 1)) * 4
    check.check_cells(nge.Genotype(pairs, (2, 3, 4, 5), pairs, (2, 3, 4, 5)), cell_plan(3, 2))


def test_testing_tries_a_value_or_a_reference():
    check_operation("mine:good")
    with pytest.raises(
        InputError, match="^operation double: .*check_test.py, line .*found the shape"
    ):
        check_operation(nge.Operation("double", lambda w, x, layer: jnp.concatenate([x, x], -1)))


def test_a_network_names_the_line_too_where_an_operation_fails_for_its_sizes_alone():
    x = jnp.zeros((1, 2, 2, 4))
    with pytest.raises(
        InputError, match="^operation mine:none: apply with stride 1: mine.py, line 8"
    ):
        outside.apply("mine:none", {"kernel": jnp.zeros((3, 3, 4))}, x, check.Layer(1, lambda x: x))
