"""Compares the searches of small data by the cells that they find, beside random cells of the same size.

  python experiments/trials_study.py                       the digits: about an hour on two CPU cores
  python experiments/trials_study.py --images=photographs  2,000 photographs of CIFAR-10 (--data_dir): about two hours
  python experiments/trials_study.py --images=tiny         10,000 photographs of CIFAR-10: hours on a core
  python experiments/trials_study.py --images=wide         the same photographs, other seeds, many short trainings
  python experiments/trials_study.py --images=again        the search by evolution of wide, ten other seeds
  python experiments/trials_study.py --scale=smoke         does it run?
  python experiments/trials_study.py --table_only          the finished trainings

The plan, which was written before the first search:

Question. Does a search that rates cells by trainings find better cells than chance, and than a search by the gradient?

Searches. DIGITS and PHOTOGRAPHS name them: each has its defaults, and seeds 0 to 4. On photographs the graph embedding
has a classifier for each edge, its best form where the truth is known. The choice of a cell sees 1,442
digits, or 2,000 photographs at 16x16 pixels as a user's `search_folder` does. No choice sees the test's images.

Trainings. Each cell found is trained by the recipe of `train_digits.py` or `train_folder.py` on these images, with
three training seeds. The network has 3 cells and 2 channels (photographs: 4): in so small a network cells differ. One
program trains all cells. Photographs are trained for 40 epochs, not 97, to save time. The test's images (355 digits,
10,000 photographs) are read once a training, at the end.

Random cells. Each cell found has two random cells beside it. Their networks have at most 5 % more or fewer
parameters. They are the first such cells of random:0, random:1 and so on that no other cell found has taken.

Statistics. A cell's accuracy is its mean over the training seeds. The table has means and sample standard deviations
over cells. A search is compared with the random cells beside its own cells. The difference is told in points, with a
standard error of both means, and in standard deviations of all random cells. No search is left out.

A search is followed by the trainings of its cells. The searches of a seed follow one another, and any beginning of
the results is balanced. A command that was stopped goes on where it stopped.

TINY was added after the results of DIGITS and PHOTOGRAPHS, and before its own first search. On 2,000 photographs a
rating's error hid the differences of cells. TINY has 10,000 photographs, of which 5,000 rate, and AdamW, the recipe's
optimizer by now. Its searches by trainings have the numbers of the digits: 27 cells, and rungs of 3, 9 and 27 epochs.
Cells are trained for 25 epochs. Evolution comes first, because evolution beside chance is the question. The
cells by evolution are compared with random cells after five searches, and not before.

The searches with mutation were added before their first run, to TINY and to DIGITS, when mutation had helped on
NAS-Bench-201 (`edges_study.py`). On the digits all other searches had been compared. The first cell found with mutation
was as large as no random cell. Since then a cell takes the nearest of 5,000 random cells where none is within 5 %.

WIDE was added after the five searches of TINY by evolution, and before its own first search. TINY's evolution was not
shown to be better than chance. Therefore 19 of its cells were rated anew from scratch, by whole schedules
of 3, 6, 12 and 27 epochs, with one or two seeds. The ratings correlate with the test accuracies by 0.57 to 0.74 after 3
epochs and 0.77 to 0.84 after 6. After 12 epochs the correlations are 0.63 to 0.79, and 0.77 after 27. So 6 epochs tell
as much of a cell as 27. TINY's searches lack other cells, not longer trainings: 18 of their 27 cells are relatives.
WIDE rates 36 cells after 6 epochs. One search draws all at random, the other draws 18 and evolves 18. The seeds 5 to 9
and the random cells from random:5000 on are new. The question is whether these searches together, n = 10, find better
cells than chance. Which of the two finds better cells comes second.

AGAIN was added after WIDE and before its own first search. WIDE's ten searches gained 0.72 ± 0.38 points (p = 0.07),
and its five by evolution 1.11 ± 0.57. AGAIN repeats the search by evolution, by now the default of `search_folder`.
Its ten seeds and its random cells are new. AGAIN is judged by itself, after its tenth search.
"""

import argparse
import functools
import itertools
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from nge_jax.devices.parallel import in_32_bits
from nge_jax.networks.any_cell import as_arrays
from nge_jax.settings.checks import check_complete
from nge_jax.settings.configs import differ, load_config
from nge_jax.settings.flags import refusals
from nge_jax.space import genotype
from nge_jax.space.genotype import Genotype
from nge_jax.study.candidates import find_alike, parameter_counter
from nge_jax.study.trainer import right_answers, train_epochs
from nge_jax.train import build as train_build
from nge_jax.train import images as training_images
from nge_jax.train.plan import Training
from nge_jax.trials.programs import Leg, Programs, make_programs
from nge_jax.workdir import artifacts, json_lines
from paper import cifar10, runs, tables
from paper.runs import Run


class Images(NamedTuple):
    """The images of a study, and what searches and trains on them.

    Attributes:
      name: the ending of the configs' names, `search_NAME` and `train_NAME`.
      searches: words of the search's config and keys, by name. The searches follow one another, seed by seed.
      network: keys of the network that is trained.
      per_class: the first photographs of each class of CIFAR-10; 0: the images are no photographs.
      later: searches that come after all others. All seeds of a search come before the next search.
      seeds: the seeds of each search.
      drawn: the seeds of random cells, among which those of a cell's size are looked for.
    """

    name: str
    searches: Mapping[str, tuple[str, Mapping[str, Any]]]
    network: Mapping[str, Any]
    per_class: int = 0
    later: Mapping[str, tuple[str, Mapping[str, Any]]] = {}
    seeds: Sequence[int] = range(5)
    drawn: Sequence[int] = range(5000)


EVOLUTION = "trained, evolution"
MUTATION = {"search.edge_mutation": 0.1}
DIGITS = Images(
    "digits",
    {
        EVOLUTION: ("trained", {}),
        "trained, random": ("random,trained", {}),
        "gradient, nge": ("gradient", {}),
        "gradient, alpha": ("gradient", {"search.edge_model": "alpha"}),
    },
    {"network.cells": 3, "network.channels": 2},
    later={
        "gradient, alpha, mutation": ("gradient", {"search.edge_model": "alpha"} | MUTATION),
        "gradient, nge, mutation": ("gradient", MUTATION),
    },
)
# The form that makes no constant cells on NAS-Bench-201 (`edges_study.py`).
PER_EDGE = {
    "search.edge_model": "nge",
    "embedding.classifier": "per_edge",
    "embedding.rate": "matched",
    "embedding.decay": "decoupled",
    "embedding.start": "uniform",
}
# The lengths that `search_folder` chose then.
RUNGS = {"trained.cells": 27, "trained.rungs": (2, 6, 18)}
SMALL_POPULATION = {"evolution.population": 9}
PHOTOGRAPHS = Images(
    "folder",
    {
        EVOLUTION: ("trained", RUNGS | SMALL_POPULATION),
        "gradient, alpha": ("gradient", {}),
        "gradient, nge per edge": ("gradient", PER_EDGE),
    },
    {"network.cells": 3, "network.channels": 4, "train.epochs": 40},
    per_class=200,
)
LONG = {"trained.cells": 27, "trained.rungs": (3, 9, 27)}
TINY = Images(
    "folder",
    {EVOLUTION: ("trained", LONG | SMALL_POPULATION)},
    {"network.cells": 3, "network.channels": 4, "train.epochs": 25},
    per_class=1000,
    later={
        "gradient, alpha": ("gradient", {}),
        "gradient, alpha, mutation": ("gradient", MUTATION),
        "gradient, nge per edge, mutation": ("gradient", PER_EDGE | MUTATION),
        "trained, random": ("random,trained", LONG),
    },
)
SHORT = {"trained.cells": 36, "trained.rungs": (6,)}
WIDE = Images(
    "folder",
    {
        EVOLUTION: ("trained", SHORT | {"evolution.population": 18}),
        "trained, random": ("random,trained", SHORT),
    },
    TINY.network,
    TINY.per_class,
    seeds=range(5, 10),
    drawn=range(5000, 10_000),
)
AGAIN = WIDE._replace(
    searches={EVOLUTION: WIDE.searches[EVOLUTION]},
    seeds=range(10, 20),
    drawn=range(10_000, 15_000),
)
SETS = {
    "digits": DIGITS,
    "photographs": PHOTOGRAPHS,
    "tiny": TINY,
    "wide": WIDE,
    "again": AGAIN,
}
PIXELS = 16  # a side
TRAINING_SEEDS = 0, 1, 2
RANDOM_CELLS = 2  # for each cell found
TOLERANCE = 0.05  # as a fraction of the parameters
TRAININGS, PHOTOGRAPHS_FILE = "trainings.jsonl", "photographs.npz"
SMOKE_SEEDS, SMOKE_NETWORK = (0,), {"train.epochs": 1, "train.warmup_epochs": 0}


class Cell(NamedTuple):
    """A cell of the study.

    Attributes:
      search: the name of the search that found it, or beside whose cell it stands.
      seed: the seed of that search.
      name: "found", or the name of a random cell.
      genotype: the cell.
    """

    search: str
    seed: int
    name: str
    genotype: Genotype


def search_runs(options: argparse.Namespace) -> list[tuple[str, Run]]:
    """Lists the searches with their names, in the order of the study."""
    size = ",smoke" if options.scale == "smoke" else ""
    images = SETS[options.images]
    order = [(seed, name) for seed in seeds(options) for name in images.searches]
    order += [(seed, name) for name in images.later for seed in seeds(options)]
    searches = {**images.searches, **images.later}
    return [
        (
            name,
            Run(
                options.out / f"{name.replace(', ', '-')}-{seed}",
                f"configs/search_{images.name}.py:{searches[name][0]}{size}",
                {"seed": seed, **searches[name][1], **data_keys(options)},
            ),
        )
        for seed, name in order
    ]


def data_keys(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the keys that name the images."""
    if options.images == "digits":
        return {}
    file = (options.out / PHOTOGRAPHS_FILE).resolve()
    return {"data.name": f"npz:{file}", "data.image_size": PIXELS}


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Chooses the first `count` images of each class, in the order of the data set."""
    classes = range(labels.max() + 1)
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in classes]))


def seeds(options: argparse.Namespace) -> Sequence[int]:
    """Lists the seeds of each search."""
    return SMOKE_SEEDS if options.scale == "smoke" else SETS[options.images].seeds


def make_training(options: argparse.Namespace, seed: int) -> Training:
    """Makes the plan of a cell's training; the plan's own cell is not read."""
    images = SETS[options.images]
    config: ConfigDict = load_config(f"train_{images.name}")
    differ(
        config,
        {**images.network, **data_keys(options), "seed": seed, "genotype": "random:0"}
        | (SMOKE_NETWORK if options.scale == "smoke" else {}),
    )
    check_complete(config, "train")
    config, _ = training_images.resolve(config)
    train_build.check(config, jax.device_count())
    source = training_images.open_source(training_images.read_settings(config))
    return train_build.build(config, source, genotype.random_genotype(0))


def make_companions(training: Training, drawn: Sequence[int]) -> Callable[[Cell], list[Cell]]:
    """Makes a function that returns a cell found and its random cells; no random cell is chosen twice.

    Args:
      training: the plan, which counts parameters.
      drawn: the seeds of the random cells.
    """
    size = parameter_counter(training)
    free = {name: size(genotype.load(name)) for name in map("random:{}".format, drawn)}

    def beside(cell: Cell) -> list[Cell]:
        wanted = size(cell.genotype)
        (names,) = find_alike({"": wanted}, free.items(), RANDOM_CELLS, TOLERANCE).values()
        near = sorted({*free} - {*names}, key=lambda name: (abs(free[name] - wanted), name))
        names = (*names, *near[: RANDOM_CELLS - len(names)])
        for name in names:
            del free[name]
        return [cell, *(cell._replace(name=n, genotype=genotype.load(n)) for n in names)]

    return beside


def train(cell: Genotype, training: Training, programs: Programs, seed: int) -> float:
    """Trains a cell from scratch; returns the accuracy on the test's images.

    Args:
      cell: the cell.
      training: the plan, which has this seed too.
      programs: the compiled programs of a plan that differs by its seed alone.
      seed: decides the first weights, the order of the images and the augmentation.
    """
    leg = Leg(as_arrays(cell), training.arguments, np.int32(seed))
    steps = int(training.arguments.steps_per_epoch)
    state = train_epochs(training, programs, leg, range(training.total_steps // steps), steps)
    return float(right_answers(training, programs, leg, state).mean())


def complete(options: argparse.Namespace) -> None:
    """Runs the missing searches and trainings."""
    if count := SETS[options.images].per_class:
        choose = functools.partial(first_of_each_class, count=count)
        file = options.out / PHOTOGRAPHS_FILE
        cifar10.write_npz(file, options.data_dir, choose, lambda labels: slice(None))
    trainings = {seed: make_training(options, seed) for seed in TRAINING_SEEDS}
    programs = make_programs(trainings[0])
    beside = make_companions(trainings[0], SETS[options.images].drawn)
    for name, run in search_runs(options):
        runs.complete([run])
        cell = genotype.load(str(run.workdir / artifacts.GENOTYPE))
        found = Cell(name, int(run.settings["seed"]), "found", cell)
        train_missing(beside(found), trainings, programs, options.out)


def train_missing(
    cells: Sequence[Cell], trainings: Mapping[int, Training], programs: Programs, out: Path
) -> None:
    """Trains the cells that have not been trained, with each training seed."""
    done = {_key(row) for row in json_lines.read(out / TRAININGS)}
    for cell, (seed, training) in itertools.product(cells, trainings.items()):
        row = {
            "search": cell.search,
            "seed": cell.seed,
            "name": cell.name,
            "genotype": json.loads(cell.genotype.to_json()),
            "training_seed": seed,
        }
        if _key(row) not in done:
            accuracy = train(cell.genotype, training, programs, seed)
            json_lines.append(out / TRAININGS, row | {"accuracy": accuracy})
            print(f"{cell.search} {cell.seed}, {cell.name}, {seed}: {accuracy:.2%}", flush=True)


def _key(row: Mapping[str, Any]) -> tuple:
    """Returns what tells a training from others; the cell is compared too, as a search may be made again."""
    return row["search"], row["seed"], row["name"], row["training_seed"], str(row["genotype"])


def accuracies(
    rows: Sequence[Mapping[str, Any]], search: str | None, *, found: bool
) -> list[float]:
    """Returns the accuracies of cells in percent, each the mean over its training seeds.

    Args:
      rows: the finished trainings.
      search: the search that found the cells, or beside whose cells they stand; None: any.
      found: the cells found, or else the random cells.
    """
    cells: dict[tuple, list[float]] = {}
    for row in rows:
        if search in (None, row["search"]) and (row["name"] == "found") == found:
            cells.setdefault(_key({**row, "training_seed": 0}), []).append(100 * row["accuracy"])
    return [statistics.fmean(values) for values in cells.values()]


def summary(rows: Sequence[Mapping[str, Any]], seconds: Mapping[str, Sequence[float]]) -> str:
    """Writes the table.

    Args:
      rows: the finished trainings.
      seconds: the seconds that the searches took, by name.
    """
    heads = (
        "search",
        "n",
        "seconds",
        "cells found, %",
        "random cells of their sizes, %",
        "difference",
    )
    texts = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    every = accuracies(rows, None, found=False)
    for name in dict.fromkeys(row["search"] for row in rows):
        found, random = (accuracies(rows, name, found=kind) for kind in (True, False))
        difference = tables.ABSENT
        if len(found) > 1 and len(random) > 1:
            points = statistics.fmean(found) - statistics.fmean(random)
            error = sum(statistics.variance(v) / len(v) for v in (found, random)) ** 0.5
            deviations = points / statistics.stdev(every)
            difference = f"{points:+.2f} ± {error:.2f} points, {deviations:+.2f} sd of random cells"
        values = (
            name,
            str(len(found)),
            tables.spread(seconds.get(name, ()), ".0f"),
            tables.spread(found),
            tables.spread(random),
            difference,
        )
        texts.append(f"| {' | '.join(values)} |")
    texts.append(
        f"| random cells, all | {len(every)} | {tables.ABSENT} | {tables.ABSENT} | {tables.spread(every)} | – |"
    )
    return "\n".join(texts) + "\n"


def search_seconds(options: argparse.Namespace) -> dict[str, list[float]]:
    """Reads how long the finished searches took; a search that was stopped is left out."""
    seconds: dict[str, list[float]] = {}
    for name, run in search_runs(options):
        if runs.is_finished(run):
            record = artifacts.read_json(
                run.workdir / artifacts.ENVIRONMENT, ("started_monotonic",)
            )
            if not record.get("resumed"):
                time = record["ended_monotonic"] - record["started_monotonic"]
                seconds.setdefault(name, []).append(time)
    return seconds


@in_32_bits
def main(options: argparse.Namespace) -> None:
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.table_only:
        complete(options)
    text = summary(json_lines.read(options.out / TRAININGS), search_seconds(options))
    (options.out / "table.md").write_text(text)
    print(text)


def parser() -> argparse.ArgumentParser:
    """Makes the parser of the study's flags."""
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--scale", choices=("smoke", "small"), default="small")
    flags.add_argument("--images", choices=tuple(SETS), default="digits")
    flags.add_argument("--data_dir", help="TFDS's folder with CIFAR-10, for the photographs")
    flags.add_argument("--out", type=Path, default=Path("runs/trials_study"), help="results")
    flags.add_argument("--table_only", action="store_true", help="only the finished trainings")
    return flags


if __name__ == "__main__":
    with refusals():
        main(parser().parse_args())
