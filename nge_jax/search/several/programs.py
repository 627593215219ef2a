"""The programs of several searches: the phases of one search, mapped over all searches."""

import functools
from typing import Any

from nge_jax.devices import parallel
from nge_jax.devices.parallel import Batches
from nge_jax.embedding.model import EdgeModel
from nge_jax.runtime.loop import Phase, Program
from nge_jax.search import phases
from nge_jax.search.phases import PhaseMaker
from nge_jax.search.plan import Search
from nge_jax.search.several import mapping


def make_phases(
    search: Search,
    steps: dict[str, int],
    models: dict[str, EdgeModel],
    *,
    weights: bool,
    one_by_one: bool,
    model_by_model: bool,
) -> tuple[Phase, ...]:
    """Makes the phases of an epoch of several searches.

    Args:
      search: the plan that the searches share.
      steps: the steps of each group in an epoch.
      models: the searches' edge models by their names; empty if the searches differ only by seed.
      weights: whether the searches differ in the weight that they pay for parameters.
      one_by_one: see `mapping.map_phase`.
      model_by_model: whether a program has a separate part for each edge model, see `mapping.model_by_model`. Each
        search then ends bit for bit as alone.
    """
    options = {"one_by_one": one_by_one, "model_by_model": model_by_model, "weights": weights}
    make_program = functools.partial(_make_program, models=models, **options)
    return phases.make_phases(search, steps, make_program)


def _make_program(
    make: PhaseMaker,
    search: Search,
    axes: Any,
    *,
    models: dict[str, EdgeModel],
    weights: bool,
    one_by_one: bool,
    model_by_model: bool,
) -> Program:
    def with_model(model):
        return parallel.with_arguments(functools.partial(make, search._replace(edge_model=model)))

    def with_slots(arguments):
        model = mapping.choose_model(models, arguments.edge_model)
        return make(search._replace(edge_model=model), arguments)

    searches = _over_searches(axes)
    if models and make is not phases.only_weights:
        if model_by_model:
            by_model = {name: with_model(model) for name, model in models.items()}
            phase = mapping.model_by_model(by_model, searches)
            return parallel.on_all_devices(phase, axes)
        phase = parallel.with_arguments(with_slots)
    else:
        phase = with_model(search.edge_model)
    arguments = mapping.arguments_axes(models=bool(models), weights=weights)
    phase = mapping.map_phase(phase, searches, one_by_one=one_by_one, arguments=arguments)
    return parallel.on_all_devices(phase, axes)


def _over_searches(axes: Any) -> Any:
    """Returns `in_axes` over searches from `in_axes` over devices: P and the indices have an axis of searches."""
    if isinstance(axes, Batches):
        return mapping.BATCHES_AXES
    return tuple(0 if part is None else mapping.BATCHES_AXES for part in axes)
