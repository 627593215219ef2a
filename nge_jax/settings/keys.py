"""The values that a config's numbers and names may have: the checks and docs/keys.md come from these tables.

A limit is either what the program can compute with, or beyond all use: a value past it is a slip of the keyboard, which
would else take the memory or the night. This module imports no jax.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from nge_jax.errors import InputError
from nge_jax.settings.choices import (
    ADJACENCIES,
    ALTERNATIONS,
    CLASS_WEIGHTS,
    DECAYS,
    DTYPES,
    EDGE_MODELS,
    RELAXATIONS,
    STEMS,
    STRATEGIES,
)
from nge_jax.space.spaces import SPACES

FLOAT = 3.4e38  # below the largest of float32
COUNT = 2**31 - 1  # of int32, in which steps are counted


class Limits(NamedTuple):
    """What a number may be, or each of several.

    Attributes:
      kind: int or float; a float may be given as an integer.
      least, most: both allowed; or, with `above` and `below`, just not.
      length: how many there are, fewest and most; None for a single number.
      multiple: what it is a multiple of.
    """

    kind: type
    least: float
    most: float
    above: bool = False
    below: bool = False
    length: tuple[int, int] | None = None
    multiple: int = 1

    def allow(self, value: Any) -> bool:
        """Whether a single number is within the limits."""
        if isinstance(value, bool) or not isinstance(value, int | self.kind):
            return False
        if isinstance(value, float) and not math.isfinite(value):
            return False
        low = value > self.least if self.above else value >= self.least
        high = value < self.most if self.below else value <= self.most
        return low and high and (self.multiple == 1 or value % self.multiple == 0)

    def describe(self, value: Any = None) -> str:
        """Says what is expected; of a single finite number only the side that it misses."""
        low = f"more than {self.least:,}" if self.above else f"{self.least:,} or more"
        high = f"less than {self.most:,}" if self.below else f"at most {self.most:,}"
        words = f"{low} and {high}"
        is_number = isinstance(value, int | float) and abs(value) < math.inf
        if self.length is None and is_number and not self.below:
            words = high if value > self.least else low
        if self.multiple > 1:
            words = f"a multiple of {self.multiple}, {words}"
        if self.length is not None:
            fewest, most = self.length
            count = str(fewest) if fewest == most else f"{fewest} to {most}"
            kind = "integers" if self.kind is int else "numbers"
            words = f"{count} {kind}, each {words}"
        return words


SEED = 2**32 - 1  # NumPy's and jax's
RATE = Limits(float, 0, FLOAT)
FRACTION = Limits(float, 0, 1, below=True)
PART = Limits(float, 0, 1, above=True, below=True)

# Of every task that has the key.
COMMON = {
    "seed": Limits(int, 0, SEED),
    "data.class_fraction": Limits(float, 0, 1, above=True),
    "data.crop": Limits(int, 1, 4097),
    "data.cutout": Limits(int, 0, 4096),
    "data.device_budget_gb": Limits(float, 0, 1e6),
    "data.image_size": Limits(int, 32, 4096, multiple=32),
    "data.jitter": Limits(float, 0, FLOAT, length=(4, 4)),
    "data.pad": Limits(int, 0, 4096),
    "data.split_seed": Limits(int, 0, SEED),
    "data.test_fraction": PART,
    "data.test_size": Limits(int, 1, 8193),
    "data.train_fraction": PART,
    "data.validation": Limits(int, 0, COUNT),
    "embedding.b1": FRACTION,
    "embedding.b2": FRACTION,
    "embedding.learning_rate": RATE,
    "embedding.weight_decay": RATE,
    "evolution.entropy_weight": RATE,
    "evolution.learning_rate": RATE,
    "evolution.memory": Limits(int, 1, 1_000_000),
    "evolution.population": Limits(int, 1, 100_000),
    "evolution.proposals": Limits(int, 1, 10_000),
    "evolution.rank_scale": Limits(float, 0, FLOAT, above=True),
    "evolution.tournament": Limits(int, 1, 100_000),
    "evolution.train_steps": Limits(int, 0, 10_000),
    "final.batches": Limits(int, 1, 1_000_000),
    "final.candidates": Limits(int, 1, 10_000),
    "gumbel.first_temperature": Limits(float, 0, FLOAT, above=True),
    "gumbel.last_temperature": Limits(float, 0, FLOAT, above=True),
    "network.cells": Limits(int, 1, 200),
    "network.channels": Limits(int, 1, 4096),
    "network.dropout": FRACTION,
    "network.output_stride": Limits(int, 1, 32),  # of three, see segment.build
    "network.rates": Limits(int, 1, 1024, length=(1, 16)),
    "network.width": Limits(int, 1, 8192),
    "partial.share": Limits(int, 2, 2048),
    "reinforce.baseline_decay": FRACTION,
    "reinforce.entropy_weight": RATE,
    "reinforce.learning_rate": RATE,
    "run.checkpoint_every_steps": Limits(int, 1, COUNT),
    "run.eval_batch_size": Limits(int, 1, 65_536),
    "run.keep_checkpoints": Limits(int, 1, 100_000),
    "run.pictures": Limits(int, 0, 1000),
    "run.random_cells": Limits(int, 0, 1000),
    "run.skip_nonfinite": Limits(int, 0, COUNT),
    "run.steps_per_dispatch": Limits(int, 1, COUNT),
    "search.batch_size": Limits(int, 1, 1_048_576),
    "search.entropy_weight": RATE,
    "search.epochs": Limits(int, 1, 100_000),
    "search.images_per_epoch": Limits(int, 0, COUNT),
    "search.max_skips": Limits(int, 0, 8),  # a cell's edges
    "search.order": Limits(int, 1, 2),
    "search.seeds": Limits(int, 0, SEED, length=(0, 64)),
    "search.skip_dropout": FRACTION,
    "search.stop_on_skips": Limits(int, 0, 8),
    "search.warmup": FRACTION,
    "train.accumulate": Limits(int, 1, 65_536),
    "train.auxiliary_weight": RATE,
    "train.batch_size": Limits(int, 1, 1_048_576),
    "train.drop_path": FRACTION,
    "train.epochs": Limits(int, 1, 1_000_000),
    "train.images_per_epoch": Limits(int, 0, COUNT),
    "train.label_smoothing": FRACTION,
    "train.steps": Limits(int, 1, COUNT),
    "train.warmup_epochs": Limits(int, 0, 1_000_000),
    "weights.clip_norm": Limits(float, 0, FLOAT, above=True),
    "weights.learning_rate": RATE,
    "weights.momentum": FRACTION,
    "weights.power": Limits(float, 0, 100),
    "weights.weight_decay": RATE,
}
# Of one task, where it differs.
OF_TASK = {
    "search": {"network.channels": Limits(int, 2, 4096, multiple=2)},
    "segment": {"network.channels": Limits(int, 2, 4096)},  # the stem begins with half
    "train": {},
}
# Of configs that leave a choice to the user's own images: 0 leaves it open.
OPEN = {
    "data.image_size": Limits(int, 0, 4096),
    "data.channels": Limits(int, 0, 3),
    "search.batch_size": Limits(int, 0, 1_048_576),
    "search.epochs": Limits(int, 0, 100_000),
    "train.batch_size": Limits(int, 0, 1_048_576),
    "train.epochs": Limits(int, 0, 1_000_000),
}
# Keys (or groups of them) that do not change a result: a run may be resumed with other values.
HARMLESS = ("data.dir", "data.devkit", "data.table", "run.")
# The names of which a key holds one, or several.
CHOICES = {
    "network.dtype": DTYPES,
    "network.stem": STEMS,
    "search.adjacency": ADJACENCIES,
    "search.alternation": ALTERNATIONS,
    "search.edge_model": EDGE_MODELS,
    "search.edge_models": EDGE_MODELS,
    "search.relaxation": RELAXATIONS,
    "search.space": tuple(SPACES),
    "search.strategy": STRATEGIES,
    "train.class_weights": CLASS_WEIGHTS,
    "train.decay": DECAYS,
}
JITTER_HUE = 0.5  # the last of data.jitter's, in turns


def limits(task: str, values: Collection[str] = ()) -> dict[str, Limits]:
    """Returns the limits of a task's keys, and of some that other tasks have; `values`: the keys of a config."""
    return COMMON | OF_TASK[task] | (OPEN if "data.device_budget_gb" in values else {})


def left_open(values: Mapping[str, Any]) -> list[str]:
    """Lists the keys, joined by dots, that a config of a user's own images leaves to them: as 0."""
    return [key for key in OPEN if key in values and not values[key]]


def is_numeric(value: Any) -> bool:
    """Whether a value is a number, or several, and so needs an entry."""
    if isinstance(value, tuple | list):
        return bool(value) and all(map(is_numeric, value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def check(task: str, values: Mapping[str, Any]) -> None:
    """Refuses numbers that are out of their limits, and names that are none of the known ones.

    Args:
      task: of the config.
      values: its values, by keys joined by dots, with every key that the task has (see `config.check_keys`).

    Raises:
      InputError: names the key, what was found and what was expected.
    """
    for key, limit in limits(task, values).items():
        if key not in values:
            continue
        value = values[key]
        if limit.length is None:
            good = limit.allow(value)
        else:
            fewest, most = limit.length
            good = isinstance(value, tuple | list) and fewest <= len(value) <= most
            good = good and all(map(limit.allow, value))
        if not good:
            raise InputError(
                f"config.{key}: found {_brief(value)}, expected {limit.describe(value)}"
            )
    if values.get("data.jitter", (0,))[-1] > JITTER_HUE:
        raise InputError(
            f"config.data.jitter: found {values['data.jitter'][-1]} as the strength of hue, "
            f"expected at most {JITTER_HUE} turns"
        )
    for key, names in CHOICES.items():
        if key in values:
            _check_choice(key, values[key], names)


def _check_choice(key: str, value: Any, names: Collection[str]) -> None:
    for name in value if isinstance(value, tuple | list) else (value,):
        if name not in names:
            raise InputError(
                f"config.{key}: found {_brief(name)}, expected one of {', '.join(names)}"
            )


def table() -> str:
    """Returns the table of docs/keys.md."""
    lines = ["| key | type | least | most | how many |", "|---|---|---|---|---|"]
    rows = {(key, ""): limit for key, limit in COMMON.items()}
    rows |= {(key, f" ({task})"): limit for task in OF_TASK for key, limit in OF_TASK[task].items()}
    rows |= {(key, " (0: by the data)"): limit for key, limit in OPEN.items()}
    for (key, task), limit in sorted(rows.items(), key=lambda row: row[0]):
        kind = "integer" if limit.kind is int else "number"
        kind += f", a multiple of {limit.multiple}" if limit.multiple > 1 else ""
        least = f"above {limit.least:,}" if limit.above else f"{limit.least:,}"
        most = f"below {limit.most:,}" if limit.below else f"{limit.most:,}"
        length = "1" if limit.length is None else " to ".join(map(str, dict.fromkeys(limit.length)))
        lines.append(f"| `{key}`{task} | {kind} | {least} | {most} | {length} |")
    return "\n".join(lines) + "\n"


def _brief(value):
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a huge integer"
    return text if len(text) <= 60 else f"{text[:60]}..."
