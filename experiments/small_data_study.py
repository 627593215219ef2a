"""Chooses the defaults of `train_folder` by trainings on few images.

  python experiments/small_data_study.py --data_dir=DIR                about 80 minutes on a CPU core
  python experiments/small_data_study.py --data_dir=DIR --scale=smoke  does it run?
  python experiments/small_data_study.py --table_only                  the finished trainings

DIR is TFDS's folder with imagenette/320px-v2 and cifar10. The plan, which was written before the first training:

Question. Which of the keys for small data should `train_folder` turn on?

Images. SETS names them: 400 photographs of imagenette at two sides, and 2,000 images of CIFAR-10 as an .npz file. A
part of the images is held out by the seed, 100 and 1,000 images. The conditions of a seed share these images, the first
weights and the order. The test split has 200 photographs, and 2,000 images of CIFAR-10.

Conditions. `default` is `train_folder:sgd`, which was `train_folder` before this study. CONDITIONS names one change
each. AdamW has two rates, because the rate of SGD says nothing about the rate of AdamW. `train.patience` is no
condition: all trainings of a set have the same epochs. The network has 3 cells of DARTS_V2 and 8 channels, so that a
training takes a minute.

Choice. The accuracy after the last epoch, on the images held out, decides alone. A change is compared with `default` by
differences of the same set and seed. A change helps if the mean of all differences is above their standard error, and
if no set loses more than LARGEST_LOSS points on average. Of two values of one key the better one may help.
`together` has all changes that help, if there are two or more. The chosen condition is the one of the largest mean
difference, among those that help and `together`. `train_folder` takes its keys if that mean is above two standard
errors. Otherwise nothing changes.

Test. Each training reads the test split once, at its end. The table shows the test's accuracies when the last training
has ended. They choose no condition.

Confirmation. This stage was added after the 63 trainings of CONDITIONS. On the images held out AdamW at 0.003 had
gained 1.6 standard errors, and the rule left the question open. The chosen condition and `default` are trained once
more with other seeds, CONFIRMING. There is one comparison, and the test's images decide it, because they chose nothing.
`train_folder` takes the keys if the mean of the new differences is above two standard errors. No set may lose more than
LARGEST_LOSS points on average.

Limits. Nine differences tell a gain of a few points from none. They tell no gain of one point. The trainings are short,
so that a change that needs many epochs is underrated. The chosen condition is the best of several, and the gain on the
images held out is therefore too high. The gain on the test is not.

The trainings go seed by seed, and any beginning of the results is balanced. A command that was stopped goes on where it
stopped. Each finished training is a line of OUT/results.jsonl.
"""

import argparse
import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nge_jax.settings.flags import refusals
from nge_jax.workdir import artifacts, json_lines
from paper import cifar10, runs, tables
from paper.runs import Run

SIDES = {"photographs_32": 32, "photographs_96": 96}
PHOTOGRAPHS, NPZ = "imagenette/320px-v2", "cifar10_npz"
SETS = {
    name: {"data.image_size": side, "data.validation": 100, "train.epochs": 60}
    for name, side in SIDES.items()
} | {NPZ: {"data.validation": 1000, "train.epochs": 20}}
NPZ_IMAGES = 2000  # for the training, and for the test
DEFAULT, TOGETHER = "default", "together"
ADAMW = {"weights.optimizer": "adamw", "weights.weight_decay": 0.05}
CONDITIONS: dict[str, dict[str, int | float | str]] = {
    DEFAULT: {},
    "trivial_augment": {"data.trivial_augment": True},
    "mixup": {"train.mixup": 0.2},
    "cutmix": {"train.cutmix": 1.0},
    "ema": {"weights.ema": 0.999},
    "adamw_0.001": ADAMW | {"weights.learning_rate": 0.001},
    "adamw_0.003": ADAMW | {"weights.learning_rate": 0.003},
}
SEEDS, CONFIRMING = (0, 1, 2), (3, 4, 5)
NETWORK = {"genotype": "DARTS_V2", "network.cells": 3, "network.channels": 8}
LARGEST_LOSS = 2.0  # points
RESULTS = "results.jsonl"
# The smoke's choice has one seed, and no standard error; all changes are therefore taken together.
SMOKE = {"train.epochs": 1, "train.warmup_epochs": 0, "network.cells": 2, "network.channels": 4}

Rows = Sequence[Mapping[str, Any]]


class Training(NamedTuple):
    """A training of the study, as a line of the results tells it.

    Attributes:
      data: a name in SETS.
      condition: a name in CONDITIONS, or TOGETHER.
      keys: of the condition.
      seed: of first weights, order, augmentation and of the images held out.
    """

    data: str
    condition: str
    keys: dict[str, int | float | str]
    seed: int


class Gain(NamedTuple):
    """The gain of a condition over the default, in points.

    Attributes:
      mean, error: over all pairs of trainings of the same set and seed, with the standard error.
      worst: the smallest mean of a set.
    """

    mean: float
    error: float
    worst: float

    @property
    def helps(self) -> bool:
        """Whether the condition may be chosen, see the plan."""
        return self.mean > self.error and self.worst >= -LARGEST_LOSS

    @property
    def is_shown(self) -> bool:
        """Whether `train_folder` takes the keys of a chosen condition."""
        return self.mean > 2 * self.error and self.worst >= -LARGEST_LOSS


def make_run(options: argparse.Namespace, training: Training) -> Run:
    """Makes the run of a training; its workdir tells set, condition and seed."""
    data, condition, keys, seed = training
    images = {"data.name": f"npz:{npz_file(options)}"}
    if data != NPZ:
        images = {"data.name": PHOTOGRAPHS, "data.dir": options.data_dir}
    settings = {**images, **SETS[data], **NETWORK, **keys, "seed": seed}
    if options.scale == "smoke":
        settings |= SMOKE
    workdir = options.out / "runs" / f"{data}-{condition}-{seed}"
    return Run(workdir, "configs/train_folder.py:sgd", settings)


def npz_file(options: argparse.Namespace) -> Path:
    """Returns the place of the part of CIFAR-10."""
    return options.out.absolute() / "cifar10.npz"


def first_images(labels: np.ndarray) -> slice:
    """Chooses the first images of a split."""
    del labels
    return slice(NPZ_IMAGES)


def seeds(options: argparse.Namespace) -> tuple[int, ...]:
    """Lists the seeds of each training."""
    return SEEDS[:1] if options.scale == "smoke" else SEEDS


def sets(options: argparse.Namespace) -> tuple[str, ...]:
    """Lists the names of the sets."""
    return (*SETS,)[:1] if options.scale == "smoke" else (*SETS,)


def missing(options: argparse.Namespace, rows: Rows) -> list[Training]:
    """Lists the trainings that are left: the single changes seed by seed, those together, and the confirmation."""
    places = [*itertools.product(seeds(options), sets(options))]
    singles = [
        Training(data, name, keys, seed)
        for seed, data in places
        for name, keys in CONDITIONS.items()
    ]
    left = [training for training in singles if not is_finished(training, rows)]
    if left:
        return left
    names = [*CONDITIONS][1:] if options.scale == "smoke" else helpful(rows)
    if len(names) > 1:
        keys = together(names)
        joint = [Training(data, TOGETHER, keys, seed) for seed, data in places]
        if left := [training for training in joint if not is_finished(training, rows)]:
            return left
    chosen = choose(rows)
    if options.scale == "smoke" or chosen is None or chosen[1].is_shown:
        return []
    conditions = {DEFAULT: {}, chosen[0]: CONDITIONS.get(chosen[0]) or together(names)}
    last = [
        Training(data, name, keys, seed)
        for seed, data in itertools.product(CONFIRMING, SETS)
        for name, keys in conditions.items()
    ]
    return [training for training in last if not is_finished(training, rows)]


def is_finished(training: Training, rows: Rows) -> bool:
    """Tells whether the results have this training."""
    return any(training._asdict().items() <= row.items() for row in rows)


def train(options: argparse.Namespace, training: Training) -> None:
    """Trains, and appends the result."""
    run = make_run(options, training)
    runs.complete([run])
    last = artifacts.read_metrics(run.workdir / artifacts.METRICS, ())[-1]
    wanted = ("epoch", "train_loss", "validation_accuracy", "test_accuracy")
    json_lines.append(
        options.out / RESULTS, training._asdict() | {key: last[key] for key in wanted}
    )
    print(f"{run.name}: {last['validation_accuracy']:.2%} held out", flush=True)


def gain(
    rows: Rows,
    condition: str,
    key: str = "validation_accuracy",
    chosen_seeds: Sequence[int] = SEEDS,
) -> Gain | None:
    """Compares a condition with the default; None with fewer than two pairs of trainings."""
    by_set = {}
    for data in SETS:
        ours, plain = (by_seed(rows, data, name, key) for name in (condition, DEFAULT))
        pairs = ours.keys() & plain.keys() & {*chosen_seeds}
        if pairs:
            by_set[data] = [100 * (ours[seed] - plain[seed]) for seed in sorted(pairs)]
    every = [*itertools.chain(*by_set.values())]
    if len(every) < 2:
        return None
    error = statistics.stdev(every) / len(every) ** 0.5
    return Gain(statistics.fmean(every), error, min(map(statistics.fmean, by_set.values())))


def by_seed(
    rows: Rows, data: str, condition: str, key: str = "validation_accuracy"
) -> dict[int, float]:
    """Returns the accuracies of a condition on a set, as fractions, by seed."""
    return {
        row["seed"]: row[key]
        for row in rows
        if (row["data"], row["condition"]) == (data, condition)
    }


def helpful(rows: Rows) -> list[str]:
    """Lists the single changes that help; of two with the same keys the better one."""
    best: dict[tuple[str, ...], tuple[float, str]] = {}
    for name, keys in CONDITIONS.items():
        found = None if name == DEFAULT else gain(rows, name)
        if found is not None and found.helps:
            best[(*keys,)] = max(best.get((*keys,), (found.mean, name)), (found.mean, name))
    return [name for _, name in best.values()]


def together(names: Sequence[str]) -> dict[str, int | float | str]:
    """Returns the keys of several changes."""
    return {key: value for name in names for key, value in CONDITIONS[name].items()}


def choose(rows: Rows) -> tuple[str, Gain] | None:
    """Returns the chosen condition; None if no change helps."""
    gains = {name: gain(rows, name) for name in (*helpful(rows), TOGETHER)}
    known = [(name, found) for name, found in gains.items() if found is not None]
    return max(known, key=lambda pair: pair[1].mean, default=None)


def summary(rows: Rows, *, is_whole: bool) -> str:
    """Writes the tables.

    Args:
      rows: the finished trainings.
      is_whole: whether no training is missing, so that the test's accuracies are told.
    """
    parts = [table(rows, "held out", "validation_accuracy")]
    chosen = choose(rows)
    if is_whole and chosen is None:
        parts.append("No change helps. By the plan `train_folder` takes none of the keys.\n")
    elif is_whole and chosen is not None:
        name, found = chosen
        texts = [f"Chosen: {name}, {found.mean:+.2f} ± {found.error:.2f} points."]
        new = gain(rows, name, "test_accuracy", CONFIRMING)
        if new is not None:
            points = f"{new.mean:+.2f} ± {new.error:.2f} points"
            texts.append(f"Confirmation by the test: {points}, on the worst set {new.worst:+.2f}.")
        is_shown = found.is_shown or (new is not None and new.is_shown)
        verb = "takes the keys" if is_shown else "takes none of the keys"
        parts.append(f"{' '.join(texts)} By the plan `train_folder` {verb}.\n")
    if is_whole:
        parts.append(table(rows, "test", "test_accuracy"))
    return "\n".join(parts)


def table(rows: Rows, title: str, key: str) -> str:
    """Writes a row for each condition: the accuracies of SEEDS on each set, and the gain on the images held out."""
    heads = (f"{title}, %", *SETS, "all", "gain held out, points", "helps")
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name in (*CONDITIONS, TOGETHER):
        found_by_set = [by_seed(rows, data, name, key) for data in SETS]
        values = [tables.percent([v[s] for s in SEEDS if s in v]) for v in found_by_set]
        if not any(values):
            continue
        found = None if name == DEFAULT else gain(rows, name)
        cells = [name, *map(tables.spread, values)]
        means = [statistics.fmean(v) for v in values if v]
        cells.append(tables.spread([statistics.fmean(means)]))
        if found is None:
            cells += [tables.ABSENT] * 2
        else:
            cells += [f"{found.mean:+.2f} ± {found.error:.2f}", "yes" if found.helps else "no"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(options: argparse.Namespace) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / RESULTS
    if not options.table_only:
        if NPZ in sets(options):
            cifar10.write_npz(npz_file(options), options.data_dir, first_images, first_images)
        while left := missing(options, json_lines.read(file)):
            train(options, left[0])
    rows = json_lines.read(file)
    text = summary(rows, is_whole=not missing(options, rows))
    (options.out / "table.md").write_text(text)
    print(text)


def parser() -> argparse.ArgumentParser:
    """Makes the parser of the study's flags."""
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--data_dir", default="", help="TFDS's folder; the default is TFDS's")
    flags.add_argument("--scale", choices=("smoke", "small"), default="small")
    flags.add_argument("--out", type=Path, default=Path("runs/small_data_study"), help="results")
    flags.add_argument("--table_only", action="store_true", help="only the finished trainings")
    return flags


if __name__ == "__main__":
    with refusals():
        main(parser().parse_args())
