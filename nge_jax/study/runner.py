"""Runs a study: searches, trains the cells found, random cells and others alike, and compares them.

The searches have the folders search-SEED of the workdir. Each finished training is a line of trainings.jsonl. The same
command goes on after the last finished line, and a killed search goes on as every search. The first training leaves its
network in the folder network.
"""

import gc
import time
from collections.abc import Callable
from pathlib import Path

import jax

from nge_jax.console import banner
from nge_jax.console.progress import waiting
from nge_jax.console.waiting import say
from nge_jax.cost import Cost
from nge_jax.devices import distributed
from nge_jax.devices.parallel import in_32_bits
from nge_jax.errors import InputError
from nge_jax.report.parts import following
from nge_jax.runtime import loop
from nge_jax.space.genotype import Genotype
from nge_jax.study.budget import count_trainings
from nge_jax.study.build import build as build
from nge_jax.study.candidates import find_beyond, find_others, limits_of
from nge_jax.study.plan import PLAIN, PUBLISHED, PUBLISHED_CELL, Study
from nge_jax.study.report import (
    NOTE,
    describe_network,
    has_network,
    report,
    to_table,
    to_text,
)
from nge_jax.study.result import StudyResult, read_result
from nge_jax.study.trainings import train_all
from nge_jax.text.digits import plain_digits
from nge_jax.workdir import artifacts, json_lines, lock
from nge_jax.workdir import folder as workdir

TO_STOP = "to stop: Ctrl-C; the same command goes on, and loses one training at most"


@in_32_bits
def run(path: str | Path, make_plan: Callable[[], Study]) -> StudyResult:
    """Runs a study in the workdir `path`, or goes on there, and writes the report.

    Args:
      path: the workdir.
      make_plan: opens the images and makes the plan: `functools.partial(build, ...)`, see `build.build`.

    Raises:
      InputError, GenotypeError: the config, the data or the workdir is refused, before any compute.
      Preempted: the process was asked to stop during a search, which has saved a checkpoint.
    """
    path, began = workdir.expand(path), time.monotonic()
    if not distributed.is_alone():
        raise InputError("nge study: found several processes, expected one")
    with lock.held(path):
        banner.show(banner.device())
        with waiting("reading the data"):
            study = make_plan()
        banner.show_notes(study.training.source.notes)
        _check(study, path)
        study = _as_begun(study, path)
        workdir.prepare(path, study.values, overwrite=False)
        banner.show(*_describe(study))
        found = _search(study, path)
        train_all(study, found, path, began)
        loop.finish(path, report)
    result = read_result(path)
    say(f"\n{to_text(to_table(result.rows))}")
    banner.show(NOTE)
    say("")
    banner.show(f"{result.difference.sentence()}.")
    if has_network(path):
        say("")
        banner.show(*describe_network(result))
        for line in following.lines(str(path), network=artifacts.NETWORK):
            say(line)
    return result


def _check(study: Study, path: Path) -> None:
    """Refuses a workdir that holds another study, or something else."""
    workdir.check_place(path)
    if differences := workdir.list_differences(path, study.values):
        raise InputError(
            f"--workdir: {path} holds another study or run ({'; '.join(differences)}); "
            f"{workdir.way_on(path, study.values)}, or choose another --workdir"
        )


def _as_begun(study: Study, path: Path) -> Study:
    """Takes the limits off the recipe of a study that began when a study did not keep them.

    Such a study has trained networks beyond the limits, or its limits are refused now. It goes on as it began.

    Raises:
      InputError: the study is new, and its limits are refused.
    """
    limits = limits_of(study.training)
    lines = json_lines.read(path / artifacts.TRAININGS) if limits else []
    trained = [Cost(*(line.get(name, 0) for name in Cost._fields)) for line in lines]
    if not study.refusal and not any(find_beyond(size, limits) for size in trained):
        return study
    if not workdir.recorded_values(path):
        raise InputError(study.refusal)
    banner.show(
        "recipe.limits: this study began when a study did not keep limits, and goes on without them"
    )
    settings = study.training.settings
    free = {**settings, "limits": dict.fromkeys(settings["limits"], 0)}
    return study._replace(training=study.training._replace(settings=free))


def _describe(study: Study) -> list[str]:
    """Returns lines that say what will be done."""
    settings, source, lines = study.settings, study.training.source, []
    if not any(note.startswith("data: ") for note in source.notes):
        counts = {"to train": source.examples["train"], "to test": source.examples["test"]}
        labels, shape = source.spec.labels, source.spec.shape
        lines.append(banner.data(study.training.data_name, labels, shape, counts))
    plan, searches = study.training.model.plan, len(study.searches)
    others, left_out = find_others(study.training, plain=settings.plain)
    total = count_trainings(searches, settings.random_cells, len(others), settings.training_seeds)
    names = {PUBLISHED: f"of {PUBLISHED_CELL}", PLAIN: "of a plain network"}
    beside = f", {' and '.join(names[kind] for kind in others)}" if others else ""
    seeds = ", ".join(str(search.seed) for search in study.searches)
    lines += [
        f"study: {searches} search{'es' * (searches > 1)} by {study.name}, seed{'s' * (searches > 1)} {seeds}",
        f"trainings: {total}, each of {study.epochs:,} epoch{'s' * (study.epochs > 1)} by {study.recipe_name}; "
        f"{settings.training_seeds} of each cell found, of {settings.random_cells} random cells of its cost{beside}",
        *left_out,
        f"networks: {len(plan)} cells that begin with {plan[0].channels // (1 + plan[0].reduction)} channels; one "
        "program trains any cell",
        "the test images are read once for each training, at its end",
    ]
    if settings.minutes:
        lines.append(
            f"time: {plain_digits(settings.minutes)} minutes, into which the trainings are fitted"
        )
    return [*lines, TO_STOP]


def _search(study: Study, path: Path) -> dict[int, Genotype]:
    """Runs the searches that have not ended; returns the cells found, by seed."""
    found = {}
    for search in study.searches:
        folder = path / search.folder
        if not (folder / artifacts.REPORT).exists():
            say("")
            banner.show(banner.opening("search", folder))
            search.run(folder)
            # The next search, or the trainings, need the memory of these programs.
            jax.clear_caches()
            gc.collect()
        found[search.seed] = artifacts.read_genotype(folder / artifacts.GENOTYPE)
    return found
