"""The settings of a study, a row each: `nge study CONFIG study.seeds=5`. No config has these keys. No jax.

An argument `recipe.KEY=VALUE` sets a key of the config that trains the cells. Any other KEY=VALUE is of the search.
"""

import shutil
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

from nge_jax.errors import InputError
from nge_jax.settings.configs import near_keys
from nge_jax.settings.key import Key, Limits, describe_type

GROUP, RECIPE = "study.", "recipe."
BOOLEANS = {"true": True, "false": False}

KEYS = (
    Key("study.seeds", 1, Limits(int, 1, 64), "",
        "Searches. The first has the config's seed, and each other search the next seed."),
    Key("study.training_seeds", 3, Limits(int, 1, 64), "", "Trainings of each network, each with another seed."),
    Key("study.random_cells", 5, Limits(int, 2, 64), "",
        "Random cells of the same cost for each cell found. Their parameters differ by 5 % at most, if such exist."),
    Key("study.minutes", 0.0, Limits(float, 0, 1e6), "",
        "Minutes of the whole study. First random cells and training seeds are fewer, then epochs, until it fits. A "
        "search with search.evaluator=trained gets 40 % of the time. 0: no limit."),
    Key("study.plain", True, None, "", "Also trains a plain network of the same cost: a ResNet of basic blocks."),
)  # fmt: skip


class Settings(NamedTuple):
    """The values of KEYS, by their names."""

    seeds: int
    training_seeds: int
    random_cells: int
    minutes: float
    plain: bool


class Arguments(NamedTuple):
    """The arguments KEY=VALUE of the command, divided by whose keys they set.

    Attributes:
      study: the settings of the study.
      recipe: "train.epochs=3" ... for the config that trains the cells.
      search: "seed=1" ... for the config that searches.
    """

    study: Settings
    recipe: tuple[str, ...]
    search: tuple[str, ...]


def divide(arguments: Sequence[str]) -> Arguments:
    """Divides the arguments KEY=VALUE, and reads the settings of the study.

    Raises:
      InputError: names a key of the study that is unknown, or has a value that is not allowed.
    """
    groups = {GROUP: [], RECIPE: [], "": []}
    for argument in arguments:
        prefix = next(prefix for prefix in groups if argument.startswith(prefix))
        groups[prefix].append(argument.removeprefix(RECIPE))
    keys = {key.name: key for key in KEYS}
    values = {name: key.default for name, key in keys.items()}
    for argument in groups[GROUP]:
        name, _, text = argument.partition("=")
        if name not in keys:
            raise InputError(f"config.{name}: no such key of a study{near_keys(name, keys)}")
        values[name] = _parse(keys[name], text)
        keys[name].check(values[name])
    settings = Settings(**{name.removeprefix(GROUP): value for name, value in values.items()})
    return Arguments(settings, tuple(groups[RECIPE]), tuple(groups[""]))


def _parse(key: Key, text: str) -> Any:
    """Reads a value of the key's type."""
    parse = BOOLEANS.__getitem__ if isinstance(key.default, bool) else type(key.default)
    try:
        return parse(text.lower())
    except (KeyError, ValueError):
        kind = describe_type(key.default)
        raise InputError(f"config.{key.name}: found {text!r}, expected {kind}") from None


def describe() -> str:
    """Lists the settings with their defaults and meanings, as wide as the terminal, from 80 to 100 columns."""
    width = max(80, min(100, shutil.get_terminal_size().columns))
    lines = []
    for key in KEYS:
        first, *others = textwrap.wrap(key.about, width - 28)
        lines += [
            f"  {key.name + '=' + str(key.default):24}  {first}",
            *(f"{'':28}{o}" for o in others),
        ]
    return "\n".join(lines)
