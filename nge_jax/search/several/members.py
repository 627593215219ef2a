"""The members of several searches: the plan and the settings of each search as a search alone would have them."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nge_jax.embedding.model import OF_ALPHA, PAPER
from nge_jax.search.plan import Search
from nge_jax.search.several import mapping
from nge_jax.space.parts.reference import recorded_name, short_name
from nge_jax.workdir import artifacts
from nge_jax.workdir.artifacts import Member


def split(search: Search, members: Sequence[Member]) -> dict[Member, Search]:
    """Makes the plan of each search from the plan of all. The phases of the plans run all searches."""
    models = {name: search.makers.edge_model(name) for name in model_names(members)}
    slots = {name: mapping.choose_model(models, number) for number, name in enumerate(models)}
    plans = {}
    for member in members:
        plan = search._replace(
            seed=member.seed,
            halves=search.images.divide(member.seed),
            settings=_settings_alone(search.settings, member),
        )
        if member.cost_weight is not None:
            plan = _with_weight(plan, member.cost_weight)
        if member.edge_model:
            model = slots[member.edge_model]
            plan = plan._replace(edge_model=model, learner=model)
        plans[member] = plan
    return plans


def _with_weight(search: Search, weight: float) -> Search:
    """Makes the plan of a search that pays for parameters with this weight."""
    price = search.arguments.price
    assert price is not None, "the searches pay for parameters"
    return search._replace(arguments=search.arguments._replace(price=price._replace(weight=weight)))


def model_names(members: Iterable[Member]) -> list[str]:
    """Lists the edge models of several searches in order; empty if the searches differ only by seed."""
    return [*dict.fromkeys(member.edge_model for member in members if member.edge_model)]


def settings_of_members(settings: Mapping[str, Any], path: Path) -> dict[Path, dict[str, Any]]:
    """Returns each search's settings by the search's folder in the workdir `path`; empty for a single search."""
    members = artifacts.members(settings["search"], settings["seed"])
    return {path / member.folder: _settings_alone(settings, member) for member in members}


def _settings_alone(settings: Mapping[str, Any], member: Member) -> dict[str, Any]:
    """Returns the settings of one of several searches, as a search alone would have them."""
    alone = copy.deepcopy(dict(settings))
    alone["seed"] = member.seed
    search = alone["search"]
    others = {*map(short_name, (search["edge_model"], *search["edge_models"]))}
    search |= {key: [] for key in artifacts.AXES if key in search}
    if member.edge_model:
        search["edge_model"] = member.edge_model
    if member.cost_weight is not None:
        search["cost_weight"] = member.cost_weight
    others -= {short_name(search[key]) for key in ("relaxation", "edge_model")}
    search["sources"] = [row for row in search["sources"] if recorded_name(row) not in others]
    if member.edge_model == "alpha":
        alone["embedding"] |= {k: v for k, v in PAPER._asdict().items() if k not in OF_ALPHA}
    return alone
