"""Makes the parts of a search from a program's arguments, which may be traced; see `plan.Makers`."""

from typing import Any

import optax

from nge_jax import optim
from nge_jax.embedding import EdgeModel
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.search.steps import relaxation
from nge_jax.search.steps.arguments import ProgramArguments
from nge_jax.search.steps.relaxation import Relaxation
from nge_jax.space import skips
from nge_jax.space.spaces import DARTS
from nge_jax.strategies import evolution, reinforce
from nge_jax.strategies.base import Strategy
from nge_jax.strategies.random_search import random_search
from nge_jax.supernet.net import Net


def make_relaxation(name: str, net: Net, arguments: ProgramArguments) -> Relaxation:
    """Makes a relaxation of `net`. To add one, give it a name here and its numbers in `build.make_arguments`."""
    if name == "gumbel":
        assert arguments.temperatures is not None, "the relaxation gumbel has temperatures"
        relaxed = relaxation.gumbel(net.sampled(), arguments.temperatures)
    elif name == "partial":
        relaxed = relaxation.partial(net)
    else:
        relaxed = relaxation.softmax(net)
    if arguments.skip_rates is not None:
        skip = net.space.operations.index(skips.SKIP)
        relaxed = relaxation.with_skip_dropout(relaxed, arguments.skip_rates, skip)
    if arguments.entropy_weights is not None:
        relaxed = relaxation.with_entropy(relaxed, arguments.entropy_weights)
    return relaxed


def _make_reinforce(
    edge_model: EdgeModel, constants: dict[str, Any], arguments: ProgramArguments
) -> Strategy:
    optimizer = optax.adam(arguments.embedding["learning_rate"])
    settings = reinforce.Settings(batch_size=1, **constants)
    return reinforce.reinforce(edge_model, DARTS, optimizer, settings)


def _make_evolution(
    edge_model: EdgeModel, constants: dict[str, Any], arguments: ProgramArguments
) -> Strategy:
    optimizer = optax.adam(arguments.embedding["learning_rate"])
    settings = evolution.Settings(rank_scale=arguments.embedding["rank_scale"], **constants)
    return evolution.evolution(edge_model, DARTS, optimizer, settings)


def _make_random(
    edge_model: EdgeModel, constants: dict[str, Any], arguments: ProgramArguments
) -> Strategy:
    del edge_model, constants, arguments  # it learns nothing
    return random_search(DARTS)


# To add a strategy, give its maker here. The group of keys with its name has its numbers. A strategy asks for one cell
# a step.
STRATEGIES = {
    "reinforce": _make_reinforce,
    "evolution": _make_evolution,
    "random": _make_random,
}


def make_optimizer(
    constants: dict[str, Any] | None, arguments: ProgramArguments
) -> optim.Optimizer:
    """Makes the optimizer of both groups; `constants`: b1 and b2, None for a strategy, which trains its embedding."""
    embedding_optimizer = optax.identity()
    if constants is not None:
        b1, b2 = constants["b1"], constants["b2"]
        embedding_optimizer = optim.adam(**arguments.embedding, b1=b1, b2=b2)
    weight_optimizer = optim.sgd(arguments.rate, **arguments.weights._asdict())
    return optim.Optimizer({WEIGHTS: weight_optimizer, EMBEDDING: embedding_optimizer})
