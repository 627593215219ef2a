"""Makes the parts of a search from a program's arguments, which may be traced; see `plan.Makers`.

The arrays of an edge model may learn at different rates (`embedding.rate`, `start` and `residual`). `part_of` is the
part of the embedding's rate that the array at a path in the tree of parameters has.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import optax

from nge_jax import optim
from nge_jax.embedding.model import (
    FREE,
    PAPER,
    START,
    EdgeModel,
    Form,
)
from nge_jax.embedding.movement import matched_part
from nge_jax.errors import InputError
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.search.parts.outside import make_logits_model
from nge_jax.search.relaxations import rule as rules
from nge_jax.search.relaxations.rule import RelaxationRule
from nge_jax.search.steps import relaxation
from nge_jax.search.steps.arguments import ProgramArguments
from nge_jax.search.steps.relaxation import Relaxation
from nge_jax.settings.key import Values
from nge_jax.space import skips
from nge_jax.space.budget.costs import KINDS
from nge_jax.space.parts import parametric
from nge_jax.space.spaces import Space
from nge_jax.strategies import evolution, limits, reinforce
from nge_jax.strategies.base import Strategy
from nge_jax.strategies.random_search import random_search
from nge_jax.supernet.net import Net

PartOf = Callable[[Any], float]
# Parts of the embedding's rate by the names of edge models; empty: each model has the whole rate.
Parts = Mapping[str, float]


def match_rates(
    names: Sequence[str],
    make: Callable[[bool, Form, str], EdgeModel],
    form: Form,
    several: Sequence[str] = (),
) -> Parts:
    """Computes the part of the rate at which each edge model moves logits as far as free logits move.

    Free logits beside a model have a rate of their own, so that they are left out here.

    Args:
      names: the names of the edge models.
      make: `(betas, form, name) -> EdgeModel`.
      form: the form of the edge models.
      several: the names in `search.edge_models`.

    Raises:
      InputError: an edge model from outside has no logits.
    """
    form = form._replace(residual=PAPER.residual)
    make_plain = functools.partial(make, False, form)
    make_alone = functools.partial(make_logits_model, make_plain, several)
    return {name: matched_part(make_alone(name)) for name in names}


def make_part_of(parts: Parts, form: Form, name: str) -> PartOf | None:
    """Makes `part_of`; None where all arrays have the embedding's rate.

    Args:
      parts: see `Parts`.
      form: the form of the edge models.
      name: the name of the edge model; any other text for the parameters of several models (`ModelSlots`).
    """
    if not parts and form.start == PAPER.start:
        return None
    return functools.partial(_part_of, parts, name)


def _part_of(parts: Parts, name: str, path: Sequence[Any]) -> float:
    keys = {key.key for key in path if isinstance(key, jax.tree_util.DictKey)}
    if START in keys:
        return 0.0
    if FREE in keys or not parts:
        return 1.0
    return parts[name] if name in parts else next(p for model, p in parts.items() if model in keys)


def _with_parts(
    optimizer: optax.GradientTransformation, part_of: PartOf | None
) -> optax.GradientTransformation:
    return optimizer if part_of is None else optim.scale_rates(optimizer, part_of)


def find_terms(values: Values) -> dict[str, Any]:
    """Returns the keys, with their values, whose terms of the embedding's loss are computed from probabilities.

    Args:
      values: a config's, by whole names of keys.
    """
    names = ["search.entropy_weight", *(f"limits.{kind.name}" for kind in KINDS)]
    # Several weights take the place of the one.
    names += ["search.cost_weights" if values.get("search.cost_weights") else "search.cost_weight"]
    return {name: values[name] for name in names if values.get(name)}


def make_relaxation(
    name: str,
    net: Net,
    rule: Callable[[dict[str, Any]], RelaxationRule] | None,
    terms: Mapping[str, Any],
    arguments: ProgramArguments,
) -> Relaxation:
    """Makes a relaxation of the supernet `net`.

    Args:
      name: the name, as the config has it.
      rule: makes the relaxation from its numbers, for relaxations that see logits.
      terms: the result of `find_terms`.
      arguments: the program's arguments.

    Raises:
      InputError: P has no probabilities, and the config has a term that needs them.
    """
    relaxed = _make_alone(name, net, rule, arguments)
    if not relaxed.is_distribution:
        _check_no_terms(terms, name)
    if arguments.skip_rates is not None:
        skip = net.space.operations.index(skips.SKIP)
        relaxed = relaxation.with_skip_dropout(relaxed, arguments.skip_rates, skip)
    if arguments.mutation_rates is not None:
        allowed = parametric.mask(net.space)
        relaxed = relaxation.with_mutation(relaxed, arguments.mutation_rates, allowed)
    if arguments.correlation is not None:
        relaxed = relaxation.with_correlation(relaxed, arguments.correlation)
    if arguments.entropy_weights is not None:
        relaxed = relaxation.with_entropy(relaxed, arguments.entropy_weights)
    if arguments.costs is not None:
        relaxed = relaxation.with_limits(relaxed, arguments.costs, net.space)
    if arguments.price is not None:
        relaxed = relaxation.with_price(relaxed, arguments.price, net.space)
    return relaxed


def _make_alone(
    name: str,
    net: Net,
    rule: Callable[[dict[str, Any]], RelaxationRule] | None,
    arguments: ProgramArguments,
) -> Relaxation:
    """Makes a relaxation without what other keys add to it; the arguments are those of `make_relaxation`."""
    if rule is not None:
        assert arguments.relaxation is not None and arguments.progress is not None
        return rules.make_relaxation(rule(arguments.relaxation), net, arguments.progress)
    if name == "gumbel":
        assert arguments.temperatures is not None, "the relaxation gumbel has temperatures"
        return relaxation.gumbel(net.sampled(), arguments.temperatures, net.space)
    return relaxation.partial(net) if name == "partial" else relaxation.softmax(net)


def _check_no_terms(terms: Mapping[str, Any], name: str) -> None:
    """Refuses terms of the loss that need probabilities; `name`: the relaxation, whose P has none."""
    for key, value in terms.items():
        several = isinstance(value, tuple | list)
        found, expected = (tuple(value), ()) if several else (value, 0)
        raise InputError(
            f"config.{key}: found {found}, expected {expected} with the relaxation {name}, whose P has no probabilities"
        )


def _make_adam(arguments: ProgramArguments, part_of: PartOf | None) -> optax.GradientTransformation:
    """Makes the optimizer of a strategy's edge model."""
    return _with_parts(optax.adam(arguments.embedding["learning_rate"]), part_of)


def _make_reinforce(
    edge_model: EdgeModel,
    constants: dict[str, Any],
    part_of: PartOf | None,
    space: Space,
    arguments: ProgramArguments,
) -> Strategy:
    optimizer = _make_adam(arguments, part_of)
    settings = reinforce.Settings(batch_size=1, **constants)
    strategy = reinforce.reinforce(edge_model, space, optimizer, settings)
    return limits.punish(strategy, arguments.costs, space)


def _make_evolution(
    edge_model: EdgeModel,
    constants: dict[str, Any],
    part_of: PartOf | None,
    space: Space,
    arguments: ProgramArguments,
) -> Strategy:
    optimizer = _make_adam(arguments, part_of)
    settings = evolution.Settings(rank_scale=arguments.embedding["rank_scale"], **constants)
    return evolution.evolution(edge_model, space, optimizer, settings, arguments.costs)


def _make_random(
    edge_model: EdgeModel,
    constants: dict[str, Any],
    part_of: PartOf | None,
    space: Space,
    arguments: ProgramArguments,
) -> Strategy:
    del edge_model, constants, part_of  # it learns nothing
    return random_search(space, costs=arguments.costs)


# To add a strategy, give its maker here. The group of keys with its name has its numbers. A strategy asks for one cell
# a step.
STRATEGIES = {
    "reinforce": _make_reinforce,
    "evolution": _make_evolution,
    "random": _make_random,
}


def make_optimizer(
    constants: dict[str, Any] | None,
    make_part_of: Callable[[str], PartOf | None],
    arguments: ProgramArguments,
    name: str,
) -> optim.Optimizer:
    """Makes the optimizer of both groups.

    Args:
      constants: b1, b2 and decay; None for a strategy, which trains its embedding.
      make_part_of: makes `part_of` of an edge model by its name.
      arguments: the program's arguments.
      name: the name of the edge model.
    """
    embedding_optimizer = optax.identity()
    if constants is not None:
        b1, b2, decoupled = constants["b1"], constants["b2"], constants["decay"] == "decoupled"
        adam = optim.adam(**arguments.embedding, b1=b1, b2=b2, decoupled=decoupled)
        embedding_optimizer = _with_parts(adam, make_part_of(name))
    weight_optimizer = optim.sgd(arguments.rate, **arguments.weights._asdict())
    return optim.Optimizer({WEIGHTS: weight_optimizer, EMBEDDING: embedding_optimizer})


def describe_rates(parts: Parts, rate: float) -> list[str]:
    """Returns the line that says at which rates the embeddings learn; none for `embedding.rate=absolute`."""
    if not parts:
        return []
    rates = ", ".join(f"{name} {rate * part:.3g}" for name, part in parts.items())
    return [f"rate: {rates}, by which a step moves logits as far as {rate:.3g} moves free logits"]
