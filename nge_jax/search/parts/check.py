"""Tries parts from outside on a few numbers before a search computes anything: shapes, sums, gradients.

Each check raises an InputError of one line, which begins with `where`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nge_jax.embedding.model import EdgeModel
from nge_jax.errors import InputError, prefixed
from nge_jax.search.parts.outside import key_of_model
from nge_jax.search.plan import Makers
from nge_jax.search.steps.arguments import ProgramArguments
from nge_jax.search.steps.relaxation import Relaxation
from nge_jax.settings.parts.named import Parts
from nge_jax.space import architecture
from nge_jax.space.mixture import Mixture
from nge_jax.space.parts.functions import returned
from nge_jax.space.parts.modules import blamed
from nge_jax.space.spaces import Space
from nge_jax.strategies.base import Strategy
from nge_jax.supernet.sampled import Drawn

SUM_ERROR = 1e-3  # a float32 row of P may be off by this


def check_outside(
    parts: Parts, search: Any, makers: Makers, arguments: ProgramArguments, space: Space
) -> None:
    """Tries the parts from outside that a search uses.

    Args:
      parts: the parts, by reference.
      search: the config's group `search`.
      makers: the makers of the search's parts.
      arguments: the programs' arguments.
      space: the space that is searched.

    Raises:
      InputError: a part does what it should not.
    """
    betas = search.relaxation == "partial"
    for name in dict.fromkeys((search.edge_model, *search.edge_models)):
        if name in parts:
            where = f"config.{key_of_model(name, search.edge_models)}: {name}"
            with blamed(where, parts[name].file):
                check_edge_model(makers.edge_model(name), space, where, betas=betas)
    if search.relaxation in parts:
        where = f"config.search.relaxation: {search.relaxation}"
        with blamed(where, file := parts[search.relaxation].file):
            check_relaxation(makers.relaxation, arguments, space, where, file)
    if search.strategy in parts and makers.strategy is not None:
        where = f"config.search.strategy: {search.strategy}"
        with blamed(where, parts[search.strategy].file):
            check_strategy(makers.strategy(arguments), space, where)


def check_edge_model(model: EdgeModel, space: Space, where: str, *, betas: bool = False) -> None:
    """Tries an edge model: the parameters, P or the logits that stand for P, and the gradient.

    Args:
      model: the edge model.
      space: the space of the cells.
      where: the beginning of a refusal.
      betas: whether the search needs the weights of edges, too.
    """
    params = model.init(jax.random.key(0))
    if not jax.tree.leaves(params):
        raise InputError(f"{where}: init: found no arrays, expected a tree of float32 arrays")
    for leaf in jax.tree.leaves(params):
        if jnp.asarray(leaf).dtype != jnp.float32:
            found = jnp.asarray(leaf).dtype
            raise InputError(f"{where}: init: found an array of {found}, expected float32")
    probs = model.probs(params)
    if isinstance(probs, Mixture) != betas:
        expected = "a Mixture of P and betas" if betas else "P alone"
        raise InputError(f"{where}: probs: found {type(probs).__name__}, expected {expected}")
    probs = probs.probs if isinstance(probs, Mixture) else probs
    _check_array(probs, space.shape, f"{where}: probs")
    if model.probs is not model.logits:
        _check_rows(probs, f"{where}: probs")
    if model.logits is not None:
        logits = model.logits(params)
        _check_array(logits, space.shape, f"{where}: logits")
        if model.probs is not model.logits and not np.allclose(
            jax.nn.softmax(logits), probs, atol=SUM_ERROR
        ):
            raise InputError(
                f"{where}: logits: found others, expected the logits whose softmax is P"
            )

    def loss(params):
        found = model.probs(params)
        return _weighted(found.probs if isinstance(found, Mixture) else found)

    _check_gradient(jax.grad(loss)(params), f"{where}: probs")


def check_relaxation(
    make: Callable[[ProgramArguments], Relaxation],
    arguments: ProgramArguments,
    space: Space,
    where: str,
    file: str = "",
) -> None:
    """Tries a relaxation that sees logits, in the first and in the last epoch.

    Args:
      make: makes the relaxation from the programs' arguments, which are traced here as in a program.
      arguments: the programs' arguments.
      space: the space of the cells.
      where: the beginning of a refusal.
      file: the file of the relaxation.
    """
    loss = functools.partial(_relaxation_loss, make, space, where)
    evaluate = jax.jit(jax.value_and_grad(loss, has_aux=True))
    logits = jax.random.normal(jax.random.key(1), space.shape)
    line = arguments.progress
    assert line is not None, "a relaxation from outside knows the progress"
    for step in (0, max(line.epochs * line.steps - 1, 0)):
        (_, (probs, choices, penalty)), grads = evaluate(
            logits, jax.random.key(2), jnp.int32(step), arguments
        )
        _check_finite(probs, f"{where}: probs")
        if (np.asarray(probs) < 0).any():
            raise InputError(f"{where}: probs: found {np.min(probs):.3g}, expected 0 or more")
        if make(arguments).is_distribution:
            _check_rows(
                probs, f"{where}: probs", "RelaxationRule.is_distribution=False allows other rows"
            )
        for leaf in jax.tree.leaves((choices, penalty)):
            _check_finite(leaf, f"{where}: mix or penalty")
        _check_gradient(grads, f"{where}: mix")
    with blamed(f"{where}: record", file), prefixed(f"{where}: record: "):
        recorded = make(arguments).record(1)
    if not all(isinstance(name, str) and np.isfinite(value) for name, value in recorded.items()):
        raise InputError(f"{where}: record: found {recorded}, expected finite numbers by name")


def _relaxation_loss(make, space, where, logits, key, step, arguments):
    """Sums what a relaxation computes, as a program traces it, and checks the shapes."""
    relaxed = make(arguments)
    probs = relaxed.probs(logits)
    _check_shape(probs, space.shape, f"{where}: probs")
    choices = relaxed.mix(logits, key, step)
    penalty = jnp.float32(0) if relaxed.penalty is None else relaxed.penalty(logits, step)
    if jnp.shape(penalty) != ():
        found = f"found the shape {jnp.shape(penalty)}, expected a number"
        raise InputError(f"{where}: penalty: {found}")
    _check_choices(choices, space, f"{where}: mix")
    scales = choices.scales if isinstance(choices, Drawn) else choices
    return _weighted(scales) + penalty, (probs, choices, penalty)


def check_strategy(strategy: Strategy, space: Space, where: str) -> None:
    """Tries a strategy: one cell is asked for, and the reward is told.

    Args:
      strategy: the strategy.
      space: the space of the cells.
      where: the beginning of a refusal.
    """
    if strategy.batch_size != 1:
        found = f"found {strategy.batch_size}, expected 1: the supernet rates one cell a step"
        raise InputError(f"{where}: batch_size: {found}")
    state = jax.jit(strategy.init)(jax.random.key(0))
    asked = jax.jit(strategy.ask)(state, jax.random.key(1))
    shape = (1, *space.shape[:2])
    if asked.shape != shape or not jnp.issubdtype(asked.dtype, jnp.integer):
        found = f"found {asked.dtype} {asked.shape}, expected int32 {shape}"
        raise InputError(f"{where}: ask: {found}")
    cell, operations = np.asarray(asked[0]), len(space.operations)
    if cell.min() < architecture.ABSENT or cell.max() >= operations:
        found = f"found operations {cell.min()} to {cell.max()}, expected -1 (absent) to {operations - 1}"
        raise InputError(f"{where}: ask: {found}")
    for node in space.inner_nodes:
        kept = int((cell[:, [*space.incoming(node)]] != architecture.ABSENT).sum(1).min())
        expected = space.kept(node)
        if kept != expected:
            raise InputError(
                f"{where}: ask: found {kept} edges into node {node}, expected {expected}"
            )
    told = jax.eval_shape(strategy.tell, state, asked, jnp.zeros(1))
    before = jax.eval_shape(lambda: state)
    if (jax.tree.structure(told), *map(_kind, jax.tree.leaves(told))) != (
        jax.tree.structure(before),
        *map(_kind, jax.tree.leaves(before)),
    ):
        raise InputError(f"{where}: tell: found a state of other arrays, expected those of init")
    probs = strategy.probs(strategy.tell(state, asked, jnp.full(1, 0.5)))
    _check_array(probs, space.shape, f"{where}: probs")
    _check_rows(probs, f"{where}: probs")


def _kind(leaf: Any) -> tuple[tuple[int, ...], str]:
    return leaf.shape, str(leaf.dtype)


def _check_choices(choices: Any, space: Space, where: str) -> None:
    if not isinstance(choices, Drawn):
        _check_shape(choices, space.shape, where)
        return
    _check_shape(choices.scales, space.shape[:2], f"{where}: scales")
    if choices.operations.shape != space.shape[:2] or choices.operations.dtype != jnp.int32:
        found = f"found {choices.operations.dtype} {choices.operations.shape}"
        raise InputError(f"{where}: operations: {found}, expected int32 {space.shape[:2]}")


def _check_array(array: Any, shape: Sequence[int], where: str) -> None:
    _check_shape(array, shape, where)
    _check_finite(array, where)


def _check_shape(array: Any, shape: Sequence[int], where: str) -> None:
    """Refuses another shape or type; the array may be traced."""
    if not hasattr(array, "shape") or tuple(array.shape) != tuple(shape):
        raise InputError(f"{where}: {returned(array)}, expected the shape {tuple(shape)}")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise InputError(f"{where}: found {array.dtype}, expected float32: no gradient reaches it")


def _check_finite(array: Any, where: str) -> None:
    if not np.isfinite(np.asarray(array, np.float64)).all():
        raise InputError(f"{where}: found NaN or infinity, expected finite numbers")


def _check_rows(probs: Any, where: str, advice: str = "") -> None:
    sums = np.asarray(probs, np.float64).sum(-1)
    if np.abs(sums - 1).max() > SUM_ERROR:
        found = f"found rows that sum to {sums.min():.3g} to {sums.max():.3g}, expected 1"
        raise InputError(f"{where}: {found}" + f" ({advice})" * bool(advice))


def _check_gradient(grads: Any, where: str) -> None:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(grads)]
    if not all(np.isfinite(leaf).all() for leaf in leaves):
        raise InputError(f"{where}: found a gradient with NaN or infinity, expected finite numbers")
    if not any(leaf.any() for leaf in leaves):
        raise InputError(
            f"{where}: found a gradient of 0, expected one that reaches the parameters"
        )


def _weighted(array: jax.Array) -> jax.Array:
    """Sums an array with random weights, so that no symmetry cancels a gradient."""
    weights = jax.random.normal(jax.random.key(3), array.shape)
    return (weights * array).sum()
