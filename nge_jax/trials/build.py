"""Makes the plan of a search by trials from the plan of a search, before any array."""

from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from nge_jax.data import user_images
from nge_jax.data.small import ArrayDataset
from nge_jax.data.source import resident
from nge_jax.data.spec import SMALL
from nge_jax.errors import InputError, prefixed
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.search import build as search_build
from nge_jax.search.plan import Search
from nge_jax.settings import checks, configs
from nge_jax.settings.checks import check_complete
from nge_jax.settings.configs import differ, flatten, load_config
from nge_jax.space import genotype
from nge_jax.train import build as train_build
from nge_jax.train import images as training_images
from nge_jax.trials.ledger import Halving
from nge_jax.trials.plan import Rating, Trials

# The keys of a search that its cells' trainings share, where the training has them.
SHARED = (
    "seed",
    *(
        f"data.{key}"
        for key in (
            "name", "dir", "image_size", "channels", "mean", "std", "test_fraction", "split_seed", "skip_damaged",
            "device_budget_gb",
        )
    ),
    *(f"network.{key}" for key in ("cells", "channels", "dtype", "stem")),
)  # fmt: skip


# The search keeps its own limits, and the rungs decide how long a cell is trained.
DECIDED = ("limits.", *(f"train.{key}" for key in ("patience",)))


def build(search: Search) -> Trials:
    """Makes the plan.

    Args:
      search: the plan of a search whose `choice.trials` says how cells are trained.

    Raises:
      InputError: the training's config is refused, or the search has more steps than are counted.
    """
    limits, strategy = search.choice.trials, search.strategy
    assert limits is not None and strategy is not None, "the checks refuse the gradient"
    halving = Halving(limits.cells, limits.rungs, search.choice.candidates, limits.seeds)
    rating = _make_rating(search, halving)
    return Trials(search, strategy, halving, limits.minutes, rating, search.settings["run"]["ray"])


def rebuild(settings: Mapping[str, Any], data: ArrayDataset) -> Trials:
    """Makes a plan again where another process trains its cells.

    Args:
      settings: the values of the search's config, as its plan records them.
      data: the images of the search.
    """
    changes = {
        # Training a cell takes neither, and both may be values that Python gave to the search.
        "search.strategy": "random",
        "search.edge_model": "nge",
        # The table of latencies lies on the machine that asks for cells.
        "limits.milliseconds": 0.0,
        "limits.latency_table": "",
    }
    config = ConfigDict(settings)
    differ(config, changes)
    return build(search_build.build(config, data))


def _make_rating(search: Search, halving: Halving) -> Rating:
    """Makes the training that rates a cell, at each rung's length."""
    images = len(search.halves[WEIGHTS])
    recipes = [make_recipe(search.settings, images, rung) for rung in halving.rungs]
    last = recipes[-1]
    source = resident(
        _without_test(search.images.data),
        search.images.data.labels,
        kind=SMALL if search.images.spec is None else search.images.spec.kind,
        seed=search.seed,
        validation=0,
        batch_size=last.train.batch_size,
        numbered=training_images.read_settings(last).alternate_flip,
        halves=(search.halves[WEIGHTS], search.halves[EMBEDDING]),
    )
    training = train_build.build(last, source, genotype.random_genotype(0, search.space))
    steps = int(training.arguments.steps_per_epoch)
    longest = -(-halving.epochs(halving.cells) // halving.cells)
    checks.check_steps("trained.cells", halving.cells, longest * steps)
    arguments = tuple(train_build.make_arguments(recipe, steps) for recipe in recipes)
    return Rating(training, arguments, configs.to_values(last))


def _without_test(data: ArrayDataset) -> ArrayDataset:
    """Leaves out the test's images, because a search does not see them, and images that validate elsewhere."""
    return data._replace(
        validation_images=None,
        validation_labels=None,
        test_images=data.train_images[:0],
        test_labels=data.train_labels[:0],
    )


def make_recipe(settings: Mapping[str, Any], images: int, epochs: int) -> ConfigDict:
    """Makes the config of a cell's training: the search's train_config at the search's size and another length.

    Args:
      settings: the search's values as a workdir records them, nested.
      images: the images that train a cell.
      epochs: the length.

    Raises:
      InputError: there is no such config, or it is no training's, or its values are refused.
    """
    flat: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) else v for key, v in flatten(settings).items()
    }
    name = flat["search.train_config"]
    recipe = load_config(name).unlock()
    if recipe.get("task") != "train":
        raise InputError(
            f"config.search.train_config: found {name}, expected the config of a training"
        )
    known = flatten(recipe.to_dict())
    differ(recipe, {key: flat[key] for key in SHARED if key in known and key in flat})
    images = int(flat["search.images_per_epoch"]) or images
    size = recipe.train.batch_size or user_images.batch_size(images, recipe.train.accumulate)
    longer = epochs / (recipe.train.epochs or epochs)
    changes = {
        "data.validation": 0,
        **{name: 0 for name in known if name.startswith(DECIDED)},
        "train.images_per_epoch": images,
        "train.batch_size": min(size, images),
        "train.epochs": epochs,
        "train.warmup_epochs": min(round(longer * recipe.train.warmup_epochs), epochs - 1),
    }
    differ(recipe, changes)
    with prefixed(f"config.search.train_config: {name}: "):
        check_complete(recipe, "train")
        train_build.check(recipe, jax.device_count())
    return recipe
