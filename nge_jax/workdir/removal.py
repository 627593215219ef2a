"""The files that a run writes, and their removal where another run takes the workdir."""

import contextlib
import fnmatch
import shutil
from collections.abc import Sequence
from pathlib import Path

from nge_jax.errors import InputError
from nge_jax.files import half_written
from nge_jax.workdir.artifacts import (
    ACCURACIES,
    ARCHITECTURE,
    CHECKPOINTS,
    CONFIG,
    CONFUSION,
    DATASET,
    FRONT,
    GENOTYPE,
    HISTORY,
    LATENCY,
    LIMITS,
    METRICS,
    MISTAKES,
    NETWORK,
    OPERATIONS,
    PARETO,
    RANDOM_CELLS,
    RECIPE,
    REPORT,
    REPORT_MARKDOWN,
    SEEDS,
    SIZES,
    STUDY,
    STUDY_LENGTH,
    TRAININGS,
    TRIALS,
    WEIGHTS,
    is_by_trainings,
    is_study,
    read_json,
)

# Everything a run writes besides its config, its environment and its checkpoints.
RESULTS = (
    METRICS,
    "events.out.tfevents.*",
    DATASET,
    LIMITS,
    LATENCY,
    FRONT,
    PARETO,
    "front.png",
    "front.svg",
    "front_narrow.svg",
    "pareto.png",
    "pareto.svg",
    "pareto_narrow.svg",
    GENOTYPE,
    OPERATIONS,
    ACCURACIES,
    RANDOM_CELLS,
    SEEDS,
    CONFUSION,
    "confusion.png",
    "confusion.svg",
    MISTAKES,
    "mistakes.png",
    "mistakes.svg",
    "mistakes_narrow.svg",
    ARCHITECTURE,
    "architecture.new.npz",
    HISTORY,
    "history.new.npz",
    "rewards.png",
    "rewards.svg",
    "rewards_narrow.svg",
    "ratings.png",
    "ratings.svg",
    "ratings_narrow.svg",
    "cell_*.png",
    "cell_*.svg",
    "probabilities_*.png",
    "probabilities_*.svg",
    "curves.png",
    "curves.svg",
    "curves_narrow.svg",
    "heat.png",
    "heat.svg",
    "heat_narrow.svg",
    "operations.png",
    "operations.svg",
    "operations_narrow.svg",
    "examples.png",
    "examples.svg",
    SIZES,
    TRAININGS,
    STUDY,
    STUDY_LENGTH,
    "accuracy_by_size.png",
    "accuracy_by_size.svg",
    "accuracy_by_size_narrow.svg",
    REPORT_MARKDOWN,
    REPORT,
)
# Further results of a search by trainings. Other runs' workdirs may have a user's own files of these names.
BY_TRAININGS = (RECIPE, f"{TRIALS}/[0-9]*.npz")
# The network of a found cell, which a search by trainings and a study leave. Without a config the rest is no network.
OF_NETWORK = (CONFIG, WEIGHTS, DATASET, GENOTYPE, OPERATIONS)


def remove_results(path: Path) -> None:
    """Removes the results of the run in a workdir, the files in RESULTS and the checkpoints.

    Where the record says that the run was a search by trainings, the files in BY_TRAININGS are results, too. The
    network of the cell found is a result of such a search and of a study.
    """
    # Checkpoints are removed first. If a kill interrupts this, the remaining files start from the beginning.
    checkpoints = path / CHECKPOINTS
    if not checkpoints.is_dir():
        _remove(checkpoints)
    for entry in checkpoints.glob("[0-9]*"):
        _remove(entry)
    for entry in path.iterdir():  # finds dead links, too, unlike `glob`
        # A killed process may have left a half-written file, see `half_written`.
        name = entry.name.removesuffix(half_written(Path("-")).name[1:])
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in RESULTS):
            _remove(entry)
    with contextlib.suppress(InputError):  # nothing says that the folders are this program's
        values = read_json(path / CONFIG)
        if is_by_trainings(values):
            _remove_files(path, BY_TRAININGS)
            _remove_empty(path / TRIALS)
        if is_by_trainings(values) or is_study(values):
            remove_network(path / NETWORK)


def remove_network(folder: Path) -> None:
    """Removes the network of a found cell, and the folder if it is empty then."""
    _remove_files(folder, OF_NETWORK)
    _remove_empty(folder)


def _remove_files(folder: Path, patterns: Sequence[str]) -> None:
    """Removes the files that the patterns name, whole or half-written."""
    for pattern in patterns:
        for name in (pattern, half_written(Path(pattern))):
            for entry in folder.glob(str(name)):
                _remove(entry)


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # a user has put files there, or the folder is absent
        folder.rmdir()


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)
