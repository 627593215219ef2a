"""Checks of a part of one's own, for its tests: `nge.testing.check_relaxation(part)` raises where the part is wrong.

A search makes the same checks before it computes anything. Here a part can also be compared with a reference.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from nge_jax.embedding.model import PAPER, EdgeModel, edge_model, model_of_nodes
from nge_jax.embedding.nodes import NODE_WIDTH
from nge_jax.errors import InputError
from nge_jax.networks.parts import check as operations
from nge_jax.optim import Cosine, SgdNumbers
from nge_jax.search.parts import check, outside
from nge_jax.search.relaxations import rule as rules
from nge_jax.search.relaxations.rule import Scores
from nge_jax.search.steps.arguments import ProgramArguments
from nge_jax.search.steps.relaxation import Line
from nge_jax.settings.parts import named
from nge_jax.settings.parts import part as parts
from nge_jax.space.parts.loading import load_operation
from nge_jax.space.parts.modules import blamed
from nge_jax.space.parts.operation import Operation
from nge_jax.space.parts.reference import Loaded, find_value
from nge_jax.space.spaces import DARTS, Space

Numbers = Mapping[str, Any]
# (logits [C, E, O] float64, random key, progress, numbers) -> what `mix` should return, by NumPy.
Reference = Callable[[np.ndarray, jax.Array, float, Numbers], np.ndarray]
# (x [C, V, 64] float64, theta, numbers) -> what `embed` should return, by NumPy.
NodesReference = Callable[[np.ndarray, Any, Numbers], np.ndarray]
# (weights, x [B, H, W, C] float64, stride) -> what `apply` should return, by NumPy.
OperationReference = Callable[[Any, np.ndarray, int], np.ndarray]


def check_relaxation(
    part: Any,
    space: Space = DARTS,
    numbers: Numbers | None = None,
    reference: Reference | None = None,
) -> None:
    """Tries a relaxation: shapes, rows that sum to 1, finite numbers, a gradient that reaches the logits.

    Args:
      part: a function (space, numbers) -> `nge.RelaxationRule`, or an `nge.Part` of the function.
      space: the space of the cells.
      numbers: values of the part's keys, by the last part of the names; the other keys have the defaults.
      reference: computes in NumPy what `mix` should return. It is compared at three times of a search.

    Raises:
      InputError: the part is wrong; the line says what was found and what was expected.
      AssertionError: the part and the reference differ.
    """
    loaded = _load(part, "relaxation")
    values = _numbers(loaded, numbers)
    make_rule = outside.find_rule(loaded.name, {loaded.name: loaded})

    def make(arguments):
        rule = make_rule(space, {}, arguments.relaxation)
        return rules.make_relaxation(rule, _NoNet(), arguments.progress)  # pyright: ignore

    with blamed(loaded.name, loaded.file):
        check.check_relaxation(make, _arguments(values), space, loaded.name, loaded.file)
    if reference is None:
        return
    rule, key = make_rule(space, {}, values), jax.random.key(4)
    logits = jax.random.normal(jax.random.key(5), space.shape)
    for progress in (0.0, 0.5, 1.0):
        found = rule.mix(Scores(rule.probs(logits), logits), key, progress)
        expected = reference(np.asarray(logits, np.float64), key, progress, values)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def check_edge_model(
    part: Any,
    space: Space = DARTS,
    numbers: Numbers | None = None,
    *,
    betas: bool = False,
    reference: NodesReference | None = None,
) -> None:
    """Tries an edge model: the parameters, rows of P that sum to 1, logits whose softmax is P, the gradient.

    Args:
      part: a function (space, numbers, head) -> `nge.EdgeModel`, or an `nge.Part` of the function.
      space, numbers: see `check_relaxation`.
      betas: whether the model is tried with weights of edges, as the relaxation `partial` needs them.
      reference: computes in NumPy what `embed` should return. It is compared for random nodes.

    Raises:
      InputError: the part is wrong; the line says what was found and what was expected.
      AssertionError: the part and the reference differ.
    """
    loaded = _load(part, "edge_model")
    values = _numbers(loaded, numbers)
    make = outside.find_edge_models({loaded.name: loaded}, {loaded.name: values}, "printed", space)
    with blamed(loaded.name, loaded.file):
        model = make(betas, PAPER, loaded.name)
        check.check_edge_model(model, space, loaded.name, betas=betas)
    if reference is None:
        return
    init, embed = _nodes_functions(loaded, space, values)
    theta = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), init(jax.random.key(4)))
    x = jax.random.normal(jax.random.key(5), (len(space.cell_types), space.num_nodes, NODE_WIDTH))
    expected = reference(np.asarray(x, np.float64), theta, values)
    np.testing.assert_allclose(embed(x, init(jax.random.key(4))), expected, rtol=1e-3, atol=1e-4)


def _nodes_functions(
    loaded: Loaded, space: Space, numbers: Numbers
) -> tuple[Callable[[jax.Array], Any], Callable[[jax.Array, Any], jax.Array]]:
    """Returns the functions `init` and `embed` that an edge model gives to its head."""
    given = []

    def head(init: Callable, embed: Callable) -> EdgeModel:
        given.append((init, embed))
        return model_of_nodes(init, embed, space)

    parts.make(loaded, "search.edge_model", space, numbers, head)
    if not given:
        raise InputError(f"{loaded.name}: found no use of head, expected one with a reference")
    return given[-1]


def check_strategy(part: Any, space: Space = DARTS, numbers: Numbers | None = None) -> None:
    """Tries a strategy: it asks for one cell of the space, learns from the reward and keeps the form of its state.

    Args:
      part: a function (space, numbers, edge model) -> `nge.Strategy`, or an `nge.Part` of the function.
      space, numbers: see `check_relaxation`.

    Raises:
      InputError: the part is wrong; the line says what was found and what was expected.
    """
    loaded = _load(part, "strategy")
    model = edge_model("alpha", space=space)
    strategy = parts.make(loaded, "search.strategy", space, _numbers(loaded, numbers), model)
    with blamed(loaded.name, loaded.file):
        check.check_strategy(strategy, space, loaded.name)


def check_operation(
    operation: Operation | str,
    channels: Sequence[int] = (16, 32),
    strides: Sequence[int] = (1, 2),
    reference: OperationReference | None = None,
) -> None:
    """Tries an operation on images [2, 8, 8, C]: the shapes of weights and result, finite numbers and gradients.

    Args:
      operation: an `nge.Operation`, or module:attribute.
      channels: the numbers of channels C that are tried.
      strides: the strides that are tried.
      reference: computes in NumPy what `apply` should return where `layer.norm` takes the mean and the variance of the
        batch, with 1e-5 added to the variance.

    Raises:
      InputError: the operation is wrong; the line says what was found and what was expected.
      AssertionError: the operation and the reference differ.
    """
    if isinstance(operation, str):
        loaded = load_operation(operation)
    else:
        found = find_value(operation, operation.apply)
        loaded = found or Loaded(operation.name, operation, "", "")
    places = [operations.Place(c, s) for s in strides for c in channels]
    operations.check_operation(loaded, places)
    if reference is None:
        return
    for place in places:
        weights, x, found = operations.computed(loaded, place)
        weights, x = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (weights, x))
        expected = reference(weights, x, place.stride)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def _arguments(numbers: dict[str, Any]) -> ProgramArguments:
    """Makes the arguments of a search of two steps."""
    nothing = SgdNumbers(momentum=0.0, weight_decay=0.0, clip_norm=1.0)
    return ProgramArguments(
        rate=Cosine(0.1, 2),
        weights=nothing,
        embedding={},
        warmup_steps=None,
        temperatures=None,
        skip_rates=None,
        entropy_weights=None,
        relaxation=numbers,
        progress=Line(0.0, 1.0, epochs=2, steps=1),
    )


class _NoNet:
    """Stands for a supernet where none computes."""

    def sampled(self) -> "_NoNet":
        return self


def _load(part: Any, key: str) -> Loaded:
    loaded = parts.from_value(part, key)
    named.check_part(f"search.{key}", loaded)
    return loaded


def _numbers(loaded: Loaded, numbers: Numbers | None) -> dict[str, Any]:
    defaults = {row.name.rpartition(".")[2]: row.default for row in parts.part_of(loaded).keys}
    if unknown := (numbers or {}).keys() - defaults.keys():
        raise InputError(
            f"{loaded.name}: numbers: found {', '.join(unknown)}, expected {[*defaults]}"
        )
    return defaults | dict(numbers or {})
