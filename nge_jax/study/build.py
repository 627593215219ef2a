"""Makes the plan of a study from the config of a search, before any compute."""

import contextlib
import functools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from flax.traverse_util import unflatten_dict
from ml_collections import ConfigDict

from nge_jax.cost import Cost
from nge_jax.data.source import Source
from nge_jax.data.user_images import UserImages
from nge_jax.errors import InputError
from nge_jax.search import images as search_images
from nge_jax.search import runner as search_runner
from nge_jax.search.build import plan_network
from nge_jax.search.limits.limits import SearchLimits
from nge_jax.settings import configs, keys
from nge_jax.settings.checks import check_complete
from nge_jax.settings.configs import differ, flatten, load_config, read_config
from nge_jax.settings.key import USER, Values
from nge_jax.space import genotype
from nge_jax.space.budget.costs import Budget
from nge_jax.space.spaces import DARTS
from nge_jax.study.budget import SEARCH_SHARE
from nge_jax.study.candidates import DRAWN, cell_budget, count_within, limits_of
from nge_jax.study.plan import Search, Study
from nge_jax.study.settings import Settings
from nge_jax.train import build as train_build
from nge_jax.train import images as training_images
from nge_jax.train.plan import Training
from nge_jax.trials.build import SHARED

# Keys of the recipe that the study decides.
DATA = tuple(f"data.{key}" for key in ("name", "dir", "validation"))
LENGTH = tuple(f"train.{key}" for key in ("patience",))  # all cells are trained alike
LIMITS = tuple(f"limits.{name}" for name in Cost._fields)
DECIDED = ("task", "seed", "genotype", "init_from", *DATA, *LENGTH)


def build(config: ConfigDict, recipe_keys: Sequence[str], settings: Settings, name: str) -> Study:
    """Makes the plan. It opens the images, and refuses all that can be refused before a search.

    Limits of the recipe are refused by the runner, which knows whether the study has begun.

    Args:
      config: the config of a search.
      recipe_keys: "train.epochs=3" ..., set in the config that trains the cells.
      settings: the settings of the study.
      name: the config as the user named it.

    Raises:
      InputError, GenotypeError: names the key or the file.
    """
    check_complete(config, "search")
    values = flatten(config.to_dict())
    _check(values)
    with _as_recipe():
        recipe, images = _make_recipe(values, recipe_keys)
        source = training_images.open_source(training_images.read_settings(recipe), opened=images)
        free = recipe.copy_and_resolve_references()
        differ(free, dict.fromkeys(LIMITS, 0))  # they hold for cells of the study, and not for this
        training = train_build.build(free, source, genotype.random_genotype(0))
        training = training._replace(settings=configs.to_values(recipe))
    _check_test(values["data.name"], source)
    refusal = ""
    if limits_of(training):
        searched, opened = search_images.resolve(config, only_sizes=True)
        _, limits = plan_network(searched, *search_images.describe(searched, opened))
        refusal = _refuse_limits(limits, training, settings)

    def of_length(epochs: int) -> Training:
        """Returns the plan of a training of another length; the warm-up keeps its part."""
        shorter = recipe.copy_and_resolve_references()
        warmup = round(epochs / recipe.train.epochs * recipe.train.warmup_epochs)
        differ(shorter, {"train.epochs": epochs, "train.warmup_epochs": min(warmup, epochs - 1)})
        arguments = train_build.make_arguments(shorter, int(training.arguments.steps_per_epoch))
        return training._replace(arguments=arguments, settings=configs.to_values(shorter))

    return Study(
        name=name,
        recipe_name=values["search.train_config"],
        settings=settings,
        searches=_make_searches(config, settings),
        training=training,
        refusal=refusal,
        of_length=of_length,
        epochs=recipe.train.epochs,
        dispatch=recipe.run.steps_per_dispatch,
        values=_values(settings, source, *map(configs.to_values, (config, recipe))),
    )


def _refuse_limits(searched: SearchLimits | None, training: Training, settings: Settings) -> str:
    """Says which limit of the recipe a cell found may be beyond, or too many random cells are; "" for none.

    Args:
      searched: the limits of the searches.
      training: the plan of a training, with the limits of the recipe.
      settings: the settings of the study.
    """
    budget = cell_budget(training)
    if unmet := budget.unmet(DARTS):
        number, least = next(iter(unmet.items()))
        return (
            f"recipe.limits.{Cost._fields[number]}: found {budget.limits[number]:,}, expected at least {least:,}, the "
            "fewest of any cell's network"
        )
    for number, name in enumerate(Cost._fields):
        if (limit := budget.limits[number]) and not _holds_for_all(budget, number, searched):
            return (
                f"recipe.limits.{name}: found {limit}, expected limits.{name}={limit} or less, too, and no recipe.KEY "
                "that makes another network: the cells found would not keep the limit"
            )
    needed = (settings.random_cells + 1) * settings.seeds
    if (within := count_within(budget)) < needed:
        return f"recipe.limits: found {within} of {DRAWN:,} random cells within the limits, expected {needed} or more"
    return ""


def _holds_for_all(budget: Budget, number: int, searched: SearchLimits | None) -> bool:
    """Tells whether every cell that the search may find is within a limit of the recipe."""
    limit, costs = budget.limits[number], budget.costs
    if costs.most(DARTS)[number] <= limit:
        return True
    if searched is None:
        return False
    same = searched.budget.costs
    return any(
        0 < most <= limit
        and same.base[place] == costs.base[number]
        and np.array_equal(same.edges[place], costs.edges[number])
        for place, most in enumerate(searched.budget.limits)
    )


def _make_searches(config: ConfigDict, settings: Settings) -> tuple[Search, ...]:
    """Makes the searches, which differ by their seeds; one whose length may be chosen gets its part of the time."""
    searches, is_timed = [], config.search.evaluator == "trained" and settings.minutes > 0
    for seed in range(config.seed, config.seed + settings.seeds):
        search = config.copy_and_resolve_references()
        differ(search, {"seed": seed})
        if is_timed:
            share = SEARCH_SHARE * settings.minutes / settings.seeds
            minutes = min(share, search.trained.minutes or share)
            differ(search, {"trained.minutes": minutes})
        searches.append(Search(seed, functools.partial(search_runner.run, search)))
    return tuple(searches)


def _values(settings: Settings, source: Source, search: Values, recipe: Values) -> dict[str, Any]:
    """Returns the values by which a later start recognizes the study.

    The recipe's values are those that change a result. The search's values have the data, and a key that is younger
    than the study may be missing.
    """
    recipe = flatten(recipe)
    younger = keys.younger(recipe)
    recorded = {
        name: value
        for name, value in recipe.items()
        if name not in DECIDED and (name not in younger or value != younger[name])
        if keys.changes_result("train", name)
    }
    own = {"study": settings._asdict(), "images": dict(source.examples)}
    return {**search, **own, "recipe": unflatten_dict(recorded, sep=".")}


def _check(values: Values) -> None:
    """Refuses searches that a study does not make."""
    if values["search.space"] != "darts":
        raise InputError(
            f"config.search.space: found {values['search.space']!r}, expected 'darts': only its cells are trained"
        )
    for key in ("search.seeds", "search.edge_models", "search.cost_weights"):
        if values[key]:
            raise InputError(
                f"config.{key}: found {values[key]}, expected (); study.seeds=3 makes three searches"
            )


def _check_test(name: str, source: Source) -> None:
    """Refuses a data set without held-out images."""
    if not source.examples.get("test"):
        raise InputError(
            f"config.data.name: {name} has no test images, expected some: a folder DIR/test beside DIR/train, or "
            "data.test_fraction=0.2 of a folder without splits"
        )


@contextlib.contextmanager
def _as_recipe() -> Iterator[None]:
    """Gives refused keys of the training's config, which the search has not, the name by which the user sets them."""
    try:
        yield
    except InputError as error:
        key = re.match(r"config\.([\w.]+)", str(error))
        if key is None or key[1].startswith("search.") or key[1] in SHARED:
            raise
        raise InputError(str(error).replace("config.", "recipe.", 1)) from error


def _make_recipe(values: Values, given: Sequence[str]) -> tuple[ConfigDict, UserImages | None]:
    """Makes the config that trains the cells, in some searches by trainings with the search's network.

    Returns:
      The config without open values, and a user's own images where they had to be opened.
    """
    set_here = [argument.partition("=")[0] for argument in given]
    for key in set_here:
        if key in DECIDED:
            raise InputError(f"recipe.{key}: found a value, expected none: the study decides it")
    name = values["search.train_config"]
    if load_config(name).get("task") != "train":
        raise InputError(
            f"config.search.train_config: found {name}, expected the config of a training"
        )
    recipe = read_config(name, [f"--config.{argument}" for argument in given]).unlock()
    # A user wants the network of the recipe. Other images compare cells, in a network so small that cells differ.
    small = values["search.evaluator"] == "trained" and keys.kind_of_data(values) != USER
    known = flatten(recipe.to_dict())
    shared = [key for key in SHARED if small or not key.startswith("network.")]
    changes = {"data.validation": 0, "train.patience": 0} | {
        k: values[k] for k in shared if k in values
    }
    # The search keeps its own limits; DARTS_V2 and others may be beyond them.
    changes |= {key: 0 for key in known if key.startswith("limits.")}
    differ(recipe, {k: v for k, v in changes.items() if k in known and k not in set_here})
    check_complete(recipe, "train")
    recipe, images = training_images.resolve(recipe)
    train_build.check(recipe, jax.device_count())
    return recipe, images
