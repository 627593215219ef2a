"""The trainings of a study: as many as fit into its time, a line of trainings.jsonl after each.

The first of them is the training of the first cell found with the first seed. The study leaves its network.
"""

import itertools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nge_jax.console import banner
from nge_jax.console.progress import Column, table_header, table_row, waiting
from nge_jax.console.waiting import duration, say
from nge_jax.networks.any_cell import GenotypeArrays, as_arrays
from nge_jax.networks.plain import PlainNetwork
from nge_jax.space import genotype
from nge_jax.space.genotype import Genotype
from nge_jax.study import budget
from nge_jax.study.budget import Fit
from nge_jax.study.candidates import (
    TOLERANCES,
    find_others,
    list_cells,
    make_plain,
    mean_parameters,
    plain_training,
)
from nge_jax.study.plan import FOUND, PLAIN, PUBLISHED, PUBLISHED_CELL, RANDOM, Candidate, Study
from nge_jax.study.result import pack, search_seconds
from nge_jax.study.trainer import Trainer
from nge_jax.text.digits import three_digits
from nge_jax.trials.programs import make_programs
from nge_jax.trials.result import write_network
from nge_jax.workdir import artifacts, json_lines
from nge_jax.workdir.removal import remove_network

COLUMNS = (
    Column("training", "{number}/{total}", 8),
    Column("network", "{title}", 26),
    Column("parameters", "{parameters:,}", 10),
    Column("seed", "{training_seed}", 4),
    Column("test\nacc.", "{accuracy:.2%}", 7),
    Column("time\n(s)", "{seconds:.1f}", 7),
)
# These fields tell a training from others. The cell is one, because a search may be made again.
KEY = ("kind", "name", "search", "genotype", "training_seed", "epochs")

Line = dict[str, Any]


def train_all(study: Study, found: Mapping[int, Genotype], path: Path, began: float) -> None:
    """Trains every network with every training seed, except for those that have been trained.

    Args:
      study: the plan.
      found: the cells found, by the seeds of the searches.
      path: the workdir.
      began: the monotonic time of the command's start.
    """
    trainer = _make_trainer(study)
    others, _ = find_others(study.training, plain=study.settings.plain)
    length = _choose_length(study, trainer, found, path, began, len(others))
    candidates, tolerance = list_cells(
        found, study.training, length.random_cells, published=PUBLISHED in others
    )
    if tolerance > TOLERANCES[0]:
        banner.show(
            f"random cells: too few have a cost within {TOLERANCES[0]:.0%} of the cells found; taken within "
            f"{tolerance:.0%}"
        )
    trainers = {candidate.kind: trainer for candidate in candidates}
    if PLAIN in others:
        network, plain = make_plain(study.training, mean_parameters(candidates))
        candidates.append(plain)
        trainers[PLAIN] = _make_trainer(study, network)
    trainers = {kind: _shortened(t, study, length.epochs) for kind, t in trainers.items()}
    # After each seed all networks have been trained alike.
    wanted = list(itertools.product(range(length.training_seeds), candidates))
    done = {_key(line) for line in json_lines.read(path / artifacts.TRAININGS)}
    missing = [
        (seed, candidate)
        for seed, candidate in wanted
        if _key(_describe(candidate, seed, length.epochs)) not in done
    ]
    _train(missing, wanted, trainers, path)


def _train(
    missing: Sequence[tuple[int, Candidate]],
    wanted: Sequence[tuple[int, Candidate]],
    trainers: Mapping[str, Trainer],
    path: Path,
) -> None:
    """Makes the missing ones of the wanted trainings, and shows a row after each."""
    compiled, total = set(), len(wanted)
    for place, (seed, candidate) in enumerate(missing):
        trainer, title = trainers[candidate.kind], _title(candidate)
        if id(trainer.programs) not in compiled:
            network = "the plain network" if candidate.kind == PLAIN else "any cell"
            with waiting(f"compiling the programs that train {network}"):
                trainer.compile(_arrays(candidate))
            compiled.add(id(trainer.programs))
        is_first = (seed, candidate) == wanted[0]
        line = _train_one(trainer, candidate, seed, path / artifacts.NETWORK if is_first else None)
        json_lines.append(path / artifacts.TRAININGS, line)
        if not place:
            left = len(missing) - 1
            say(f"\nabout {duration(left * line['seconds'])} for {left} more trainings")
            say(table_header(COLUMNS))
        number = total - len(missing) + place + 1
        say(table_row(COLUMNS, line | {"number": number, "total": total, "title": title}))
        if line["diverged"]:
            end = "; the study leaves no network" * is_first
            banner.show(
                f"{title}, seed {seed}: the training has diverged, and counts as it ended{end}"
            )


def _train_one(trainer: Trainer, candidate: Candidate, seed: int, folder: Path | None) -> Line:
    """Trains and tests a network; returns the line of the training.

    Args:
      trainer: trains networks of the candidate's kind.
      candidate: the network.
      seed: the training's.
      folder: gets the trained network, unless the training diverges; None: nothing keeps the network. The line is
        written later, so that a study that is killed between the two makes the training again.
    """
    if folder is not None:  # another training may have left a network there, of which no line tells
        remove_network(folder)
    cell, began = _arrays(candidate), time.monotonic()
    with waiting(f"training {_title(candidate)}, seed {seed}"):
        state = trainer.train(cell, seed)
        answers = trainer.answers(cell, seed, state)
    line = _describe(candidate, seed, trainer.epochs) | {
        "accuracy": float(answers.right.mean()),
        "images": len(answers.right),
        "right": pack(answers.right),
        "diverged": answers.diverged,
        "seconds": round(time.monotonic() - began, 3),
    }
    if folder is not None and not answers.diverged:
        assert candidate.genotype is not None, "the first candidate is a cell found"
        write_network(trainer.training, candidate.genotype, state, folder)
    return line


def _choose_length(
    study: Study,
    trainer: Trainer,
    found: Mapping[int, Genotype],
    path: Path,
    began: float,
    others: int,
) -> Fit:
    """Decides how many trainings there are and how long they are; an earlier start's decision holds.

    The last argument counts the networks beside the cells found and the random cells; for the others see `train_all`.
    """
    settings, file = study.settings, path / artifacts.STUDY_LENGTH
    wanted = Fit(settings.random_cells, settings.training_seeds, study.epochs)
    if not settings.minutes:
        return wanted
    if file.exists():
        return Fit(**artifacts.read_json(file, Fit._fields))
    with waiting("measuring an epoch of a training"):
        an_epoch = trainer.time_an_epoch(as_arrays(next(iter(found.values()))))
    # An earlier start may have made a part of the searches.
    spent = max(time.monotonic() - began, sum(search_seconds(path).values()))
    left = 60 * settings.minutes - spent
    chosen = budget.fit(wanted, left, an_epoch, len(found), others)
    artifacts.write_json(file, chosen._asdict())
    banner.show(
        f"{budget.describe(wanted, chosen)} ({duration(max(0, left))} left, {three_digits(an_epoch)} s an epoch)"
    )
    return chosen


def _make_trainer(study: Study, network: PlainNetwork | None = None) -> Trainer:
    """Makes the trainer of any cell, or of a network that has no cells."""
    training = study.training
    programs = make_programs(training)
    if network is not None:
        training = plain_training(training)
        programs = make_programs(training, lambda cell: network)
    return Trainer(training, programs, training.arguments, study.epochs, study.dispatch)


def _shortened(trainer: Trainer, study: Study, epochs: int) -> Trainer:
    """Returns the trainer of a training of another length."""
    if epochs == trainer.epochs:
        return trainer
    shorter = study.of_length(epochs)
    arguments = shorter.arguments
    if trainer.arguments.drop_path is None:
        arguments = arguments._replace(drop_path=None)
    training = trainer.training._replace(settings=shorter.settings)
    return trainer._replace(training=training, arguments=arguments, epochs=epochs)


def _describe(candidate: Candidate, seed: int, epochs: int) -> Line:
    """Makes the line of a training, without its result."""
    cell = None if candidate.genotype is None else json.loads(candidate.genotype.to_json())
    length = {"training_seed": seed, "epochs": epochs}
    return candidate._asdict() | {"genotype": cell} | length


def _key(line: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(json.dumps(line[field]) for field in KEY)


def _arrays(candidate: Candidate) -> GenotypeArrays:
    """Makes the program's argument; the program of a network without cells does not read it."""
    return as_arrays(candidate.genotype or genotype.load(PUBLISHED_CELL))


def _title(candidate: Candidate) -> str:
    """Names a network in a row."""
    if candidate.kind == FOUND:
        return f"found, {candidate.name}"
    if candidate.kind == RANDOM:
        return f"{candidate.name}, beside {candidate.search}"
    return candidate.name
