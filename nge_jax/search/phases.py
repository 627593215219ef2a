"""Makes the phases of an epoch from the plan of a search: which steps run, and as which programs."""

import functools
from collections.abc import Callable
from typing import Any

from nge_jax.devices import parallel
from nge_jax.devices.parallel import BATCHES_AXES
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.runtime.loop import Phase, Program
from nge_jax.search.plan import Search
from nge_jax.search.steps import correlation, gradient, second_order, strategy
from nge_jax.search.steps.arguments import ProgramArguments

# `(search, arguments) -> phase`: makes a phase inside a program, from the program's arguments.
PhaseMaker = Callable[[Search, ProgramArguments], Callable]
# `(make, search, axes) -> program on all devices`; axes: in_axes of the batches, over devices.
ProgramMaker = Callable[[PhaseMaker, Search, Any], Program]


def one_search(make: PhaseMaker, search: Search, axes: Any) -> Program:
    """Makes the program of a phase of one search, on all devices."""
    phase = parallel.with_arguments(functools.partial(make, search))
    return parallel.on_all_devices(phase, axes)


def make_phases(
    search: Search, steps: dict[str, int], make_program: ProgramMaker = one_search
) -> tuple[Phase, ...]:
    """Makes the phases of an epoch.

    Args:
      search: the plan; its field `phases` is not read.
      steps: the steps of each group in an epoch.
      make_program: makes a program of one search, or one program of several searches.
    """
    if search.alternates:
        program = make_program(alternating, search, (BATCHES_AXES, BATCHES_AXES))
        return (Phase("weights and embedding", program, steps[WEIGHTS], updates=2),)
    weights = make_program(only_weights, search, (None, BATCHES_AXES))
    embedding = make_program(only_embedding, search, BATCHES_AXES)
    return (
        Phase(WEIGHTS, weights, steps[WEIGHTS]),
        Phase(EMBEDDING, embedding, steps[EMBEDDING]),
    )


def alternating(search: Search, arguments: ProgramArguments) -> Callable:
    """Makes the phase in which every batch of the weights follows one of the embedding."""
    maker = second_order if search.order == 2 else gradient
    return maker.make_alternating_phase(*_make_steps(search, arguments), search.edge_model)


def only_weights(search: Search, arguments: ProgramArguments) -> Callable:
    """Makes the phase that updates only the weights. The phase gets P as an argument and knows no edge model."""
    return gradient.make_weight_phase(_make_steps(search, arguments)[0])


def only_embedding(search: Search, arguments: ProgramArguments) -> Callable:
    """Makes the phase that updates only the embedding."""
    return parallel.make_phase(_make_steps(search, arguments)[1])


def _make_steps(search: Search, arguments: ProgramArguments) -> tuple[Callable, Callable]:
    """Makes the steps of the weights and of the embedding."""
    preprocessing = search.images.preprocessing
    options: dict[str, Any] = {"skip_nonfinite": search.skip_nonfinite > 0}
    optimizer = search.makers.optimizer(arguments, search.edge_model.name)
    if search.makers.strategy is not None:
        net = search.net.sampled()
        searcher = search.makers.strategy(arguments)
        return (
            strategy.make_weight_step(net, searcher, optimizer, preprocessing, **options),
            strategy.make_query_step(net, searcher, preprocessing),
        )
    relaxed = search.makers.relaxation(arguments)
    net, mix = relaxed.net, relaxed.mix
    strengths, weight_mix = relaxed.correlation, relaxed.weight_mix or mix
    differentiate = None if strengths is None else correlation.make_gradient(search.net, strengths)
    weight_step = gradient.make_weight_step(
        net, optimizer, preprocessing, weight_mix, differentiate=differentiate, **options
    )
    options["penalty"] = relaxed.penalty
    if search.order == 2:
        embedding_step = second_order.make_embedding_step(
            net, search.edge_model, optimizer, arguments.rate, preprocessing, mix, **options
        )
    else:
        embedding_step = gradient.make_embedding_step(
            net,
            search.edge_model,
            optimizer,
            preprocessing,
            mix,
            warmup_steps=arguments.warmup_steps,
            **options,
        )
    return weight_step, embedding_step
