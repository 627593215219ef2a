"""The files of a workdir: their names, and functions that write and read them and refuse missing or broken files."""

import json
import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nge_jax import errors, files
from nge_jax.errors import InputError
from nge_jax.space import cell, genotype
from nge_jax.space.mixture import Mixture
from nge_jax.space.parts.loading import is_operation
from nge_jax.space.parts.reference import short_name
from nge_jax.space.spaces import DARTS, SPACES, Space

CONFIG, ENVIRONMENT, CHECKPOINTS = "config.json", "environment.json", "checkpoints"
TIME = "%Y-%m-%dT%H:%M:%S%z"  # the format of times in environment.json
# Checkpoints that commands name by a word. Others are named by the number of a step.
NEWEST, BEST = "newest", "best"
METRICS = "metrics.jsonl"
# The values of the training that rates the cells of a search, and the folders of kept trainings and of a found cell's
# network. A study leaves such a network, too.
RECIPE, TRIALS, NETWORK = "recipe.json", "trials", "network"
DATASET = "dataset.json"
GENOTYPE = "genotype.json"
# The user's own operations of a trained network, each with a hash of the file.
OPERATIONS = "operations.json"
# P after each epoch of a search, and the cells that a strategy has evaluated.
ARCHITECTURE, HISTORY = "architecture.npz", "history.npz"
# The accuracies of the cell found, if a table has them.
ACCURACIES = "accuracies.json"
# The results of several searches in one workdir; each search has a folder, see `Member`.
SEEDS = "seeds.json"
# The accuracies of the cell found and of random cells in a search's weights.
RANDOM_CELLS = "random_cells.json"
# The cells of a search that no smaller or equal cell beats.
PARETO = "pareto.json"
# The limits of a search, and the network that they hold for.
LIMITS = "limits.json"
# The milliseconds of a search's cell, by a table and measured.
LATENCY = "latency.json"
# The sizes and accuracies of the cells of several searches that pay for parameters, and of random cells.
FRONT = "front.json"
# The sizes of the trained network, or of networks of the cell found.
SIZES = "sizes.json"
# The weights of a network that was exported to be loaded again, and networks that were exported for other programs.
WEIGHTS = "weights.npz"
FOR_OTHERS = ("*.stablehlo", "*.onnx", "saved_model")
# The confusion matrix of a training's test.
CONFUSION = "confusion.json"
# The finished trainings of a study, its result, the trainings that fit into its time, and the folders of its searches.
TRAININGS, STUDY, STUDY_LENGTH, SEARCHES = (
    "trainings.jsonl",
    "study.json",
    "length.json",
    "search-*",
)
# The images of a test that were taken for another class, by the network's confidence.
MISTAKES = "mistakes.npz"
# Pictures of the run's end for TensorBoard. The file is written as a whole, and TensorBoard reads it after all others.
EVENT_PICTURES = "events.out.tfevents.9999999999.pictures"
EVENT_EXAMPLES = "events.out.tfevents.9999999999.examples"
# Pictures of a segmentation's test, beside the report.
EXAMPLES = "examples"
# The HTML report is the last file that any task writes.
REPORT_MARKDOWN, REPORT = "report.md", "report.html"

# Folders of networks that come with the program, by the names that commands accept.
PRETRAINED = {"digits:pretrained": Path(__file__).parents[1] / "pretrained" / "digits"}

Size = tuple[str, int, int]  # a network's name, parameters, and multiply-adds for one image
SIZE_FIELDS = ("name", "parameters", "multiply_adds")
EpochRows = list[dict[str, Any]]  # a row for each epoch


class SearchHistory(NamedTuple):
    """The arrays in history.npz of a search that has ended, see `write_history`."""

    architectures: np.ndarray
    rewards: np.ndarray
    candidates: np.ndarray
    accuracies: np.ndarray

    def reward(self, cell: np.ndarray) -> float | None:
        """Returns the cell's largest reward; None if the cell was never evaluated."""
        rewards = self.rewards[(self.architectures == cell).all((1, 2))]
        return rewards.max() if len(rewards) else None


def find_run(name: str | Path) -> Path:
    """Returns the folder of a run, or of the network in PRETRAINED with this name; "~" expands.

    Raises:
      InputError: no home folder is known, or the folder holds a network for other programs alone.
    """
    try:
        path = PRETRAINED.get(str(name), Path(name).expanduser())
    except RuntimeError as error:
        raise InputError(f"{name}: no home folder is known ({error})") from error
    check_for_this_program(path)
    return path


def check_for_this_program(folder: Path) -> None:
    """Refuses a folder whose network was exported for other programs alone; any other path is accepted.

    Raises:
      InputError: names the exported files.
    """
    if not os.path.isdir(folder):  # false for a name too long for a path, where pathlib raises
        return
    if any((folder / name).exists() for name in (CHECKPOINTS, ENVIRONMENT, GENOTYPE, WEIGHTS)):
        return
    found = sorted(path.name for pattern in FOR_OTHERS for path in folder.glob(pattern))
    if found:
        graph = next((name for name in found if name.endswith(".onnx")), "")
        advice = f"; nge eval and nge latency take {folder / graph}" if graph else ""
        raise InputError(
            f"{folder}: found {', '.join(found)}, a network for other programs, expected a run's workdir or an export "
            f"with --formats=npz{advice}"
        )


FOLDER = str.maketrans(" :", "--")  # characters of a name that a folder's name has not


class Member(NamedTuple):
    """One of several searches in one workdir.

    Attributes:
      seed: the seed of the search.
      edge_model: the edge model of the search; "" if all searches have the config's edge model.
      cost_weight: the weight of the expected parameters; None if all searches have the config's weight.
    """

    seed: int
    edge_model: str = ""
    cost_weight: float | None = None

    def __str__(self) -> str:
        group = self.group if self.cost_weight is None else f"cost {self.group}"
        return f"{group} seed {self.seed}".lstrip()

    @property
    def group(self) -> str:
        """The name of the searches that differ by their seeds alone: "alpha", "0.01", or "" if all do."""
        return self.edge_model if self.cost_weight is None else f"{self.cost_weight:.12g}"

    @property
    def folder(self) -> str:
        """The name of the search's folder in the workdir: "seed-0", "alpha-seed-0" or "cost-0.01-seed-0"."""
        return str(self._replace(edge_model=short_name(self.edge_model))).translate(FOLDER)


def members(search: Mapping[str, Any], seed: int) -> list[Member]:
    """Lists the searches that a config makes in one workdir; the list is empty for a single search.

    Args:
      search: the config's group `search`.
      seed: the config's seed, which all searches have if `search` has no seeds.
    """
    seeds, models, weights = (search.get(key, ()) for key in AXES)
    if not seeds and not models and not weights:
        return []
    return [
        Member(int(s), model, weight)
        for model in models or ("",)
        for weight in [*map(float, weights)] or (None,)
        for s in seeds or (seed,)
    ]


def describe(several: Sequence[Member]) -> str:
    """Names searches in a sentence, such as "seeds 0, 3" or "alpha seed 0, nge seed 0"."""
    if any(member.group for member in several):
        return ", ".join(map(str, several))
    return f"seed{'s' * (len(several) > 1)} {', '.join(str(member.seed) for member in several)}"


def read_members(workdir: Path) -> list[Member]:
    """Reads which searches have folders in a workdir; the list is empty for a single run.

    Raises:
      InputError: the workdir's config is no JSON object, or has something else as seeds, names of edge models or
        weights.
    """
    config = read_json(workdir / CONFIG)
    search = config["search"] if isinstance(config.get("search"), dict) else {}
    for key, (fits, expected) in AXES.items():
        values = search.get(key, [])
        if not isinstance(values, list) or not all(map(fits, values)):
            found = f"found {values!r} as search.{key}"
            raise InputError(f"{workdir / CONFIG}: {found}, expected {expected}")
    several = search.get("edge_models") or search.get("cost_weights")
    if several and not is_count(config.get("seed")):
        raise InputError(
            f"{workdir / CONFIG}: found {config.get('seed')!r} as seed, expected a number"
        )
    return members(search, config.get("seed", 0))


def is_by_trainings(values: Mapping[str, Any]) -> bool:
    """Tells whether a config's values, nested, are of a search that rates cells by trainings."""
    search = values.get("search")
    is_search = values.get("task") == "search" and "study" not in values
    return is_search and isinstance(search, Mapping) and search.get("evaluator") == "trained"


def is_study(values: Mapping[str, Any]) -> bool:
    """Tells whether a config's values, nested, are of a study."""
    return values.get("task") == "search" and "study" in values


def is_checkpoint(name: str) -> bool:
    """Tells whether a command may name a checkpoint so: NEWEST, BEST or a step."""
    return name in (NEWEST, BEST) or (name.isascii() and name.isdigit() and len(name) < 20)


def is_exported(folder: Path) -> bool:
    """Tells whether a folder is no workdir, but holds the weights of an exported network."""
    return (folder / WEIGHTS).is_file() and not (folder / CHECKPOINTS).is_dir()


def read_history(path: Path, space: Space = DARTS) -> SearchHistory:
    """Reads history.npz; raises InputError if it is missing or is not the history of a search that has ended."""
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected the history of a search")
    try:
        history = SearchHistory(**files.read_arrays(path, SearchHistory._fields))
    except (OSError, ValueError) as error:
        expected = f"expected an archive of {', '.join(SearchHistory._fields)}"
        raise InputError(f"{path}: {expected}, found {files.reason(error)}") from None
    cells = space.shape[:2]
    for names in (SearchHistory._fields[:2], SearchHistory._fields[2:]):
        several, values = (getattr(history, name) for name in names)
        if not len(values) or several.shape != (len(values), *cells):
            expected = f"expected {names[0]} [n, {cells[0]}, {cells[1]}] and {names[1]} [n]"
            raise InputError(f"{path}: {expected}, found {several.shape} and {values.shape}")
    return history


def read_json(path: Path, keys: Collection[str] = ()) -> dict[str, Any]:
    """Reads a JSON object; raises InputError if the file is missing, is no JSON object, or lacks a key."""
    return _parse(_read(path), str(path), keys)


def read_genotype(path: Path) -> genotype.Genotype:
    """Reads a genotype; raises InputError if the file is missing, GenotypeError if it holds no genotype."""
    try:
        return genotype.from_json(_read(path))
    except errors.GenotypeError as error:
        raise errors.GenotypeError(f"{path}: {error}") from None


def read_cell(path: Path) -> cell.Cell:
    """Reads a search's cell: a genotype or a cell of NAS-Bench-201. It raises the errors of `read_genotype`."""
    try:
        return cell.from_json(_read(path))
    except errors.GenotypeError as error:
        raise errors.GenotypeError(f"{path}: {error}") from None


def read_metrics(path: Path, keys: Collection[str]) -> EpochRows:
    """Reads the epochs of metrics.jsonl in order; a second line of an epoch adds to the first.

    Raises:
      InputError: names a line that is no JSON object, or an epoch that lacks one of `keys`.
    """
    epochs: dict[int, dict[str, Any]] = {}
    for number, line in enumerate(_read(path).splitlines(), 1):
        metrics = _parse(line, f"{path}, line {number}", ("epoch",))
        if not is_count(metrics["epoch"]):
            raise InputError(
                f"{path}, line {number}: found the epoch {metrics['epoch']!r}, expected a number"
            )
        epochs[metrics["epoch"]] = epochs.get(metrics["epoch"], {}) | metrics
    if not epochs:
        raise InputError(f"{path}: expected a line for each epoch, found none")
    for epoch, metrics in epochs.items():
        _check(metrics, f"{path}, epoch {epoch}", keys)
    return [epochs[epoch] for epoch in sorted(epochs)]


def read_architecture(path: Path) -> tuple[np.ndarray, Space]:
    """Reads P [epochs + 1, cell type, edge, operation] and the space of P.

    Raises:
      InputError: the file is missing or no such archive, its space is unknown, or its shapes disagree.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected what a search records")
    try:
        arrays = files.read_arrays(path, ("probs", "operations", "edges"))
        allowed = files.read_arrays(path).get("allowed")
    except (OSError, ValueError) as error:
        expected = "expected an archive of probs, operations and edges"
        raise InputError(f"{path}: {expected}, found {files.reason(error)}") from None
    probs, operations, edges = (arrays[name] for name in ("probs", "operations", "edges"))
    space = _find_space(operations.tolist(), edges.tolist(), allowed)
    if space is None:
        raise InputError(
            f"{path}: expected operations and edges of one of {', '.join(SPACES)}, or of a space of the same kind of "
            "cells, found others"
        )
    if probs.ndim != 4 or probs.shape[1:] != space.shape or not len(probs):
        raise InputError(
            f"{path}: expected probs of shape [epochs + 1, {space.shape}], found {probs.shape}"
        )
    return probs, space


def _find_space(operations: Any, edges: Any, allowed: np.ndarray | None) -> Space | None:
    """Returns the space with these operations and edges, shipped or not; None where no search has such a space."""
    for space in SPACES.values():
        same = operations == [*space.operations] and edges == [*map(list, space.edges)]
        if same and bool(space.allowed) == (allowed is not None):
            return space
    space = DARTS._replace(
        operations=tuple(map(str, operations)), num_nodes=1 + max(map(max, edges))
    )
    if edges != [*map(list, space.edges)] or not all(map(is_operation, space.operations)):
        return None
    if allowed is None:
        return space
    if allowed.shape != space.shape:
        return None
    names = np.array(space.operations)
    return space._replace(
        allowed=tuple(tuple(tuple(names[e].tolist()) for e in cell) for cell in allowed)
    )


def read_betas(path: Path, probs: np.ndarray) -> np.ndarray | None:
    """Reads the edges' weights [epochs + 1, cell type, edge] beside `probs`, which `read_architecture` reads.

    Returns None for a search without weights of edges.

    Raises:
      InputError: the file is damaged, or the weights have another shape.
    """
    try:
        betas = files.read_arrays(path).get("betas")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected an archive, found {files.reason(error)}") from None
    if betas is not None and betas.shape != probs.shape[:-1]:
        raise InputError(f"{path}: expected betas of shape {probs.shape[:-1]}, found {betas.shape}")
    return betas


def write_sizes(workdir: Path, sizes: Iterable[Size]) -> None:
    """Writes the sizes of networks as sizes.json in the workdir; the first is the run's network."""
    networks = [dict(zip(SIZE_FIELDS, size, strict=True)) for size in sizes]
    write_json(workdir / SIZES, {"networks": networks})


def read_sizes(workdir: Path) -> list[Size] | None:
    """Reads sizes.json; returns None without the file, and raises InputError if it holds something else."""
    path = workdir / SIZES
    if not path.exists():
        return None
    networks = read_json(path, ("networks",))["networks"]
    try:
        return [(str(n["name"]), int(n["parameters"]), int(n["multiply_adds"])) for n in networks]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: expected networks with {', '.join(SIZE_FIELDS)}, found {error!r}"
        ) from None


def read_random_cells(workdir: Path) -> tuple[float, dict[str, float]] | None:
    """Reads random_cells.json: the accuracy of the cell found, and the accuracies of random cells by name.

    Returns None without the file.

    Raises:
      InputError: the file holds something else.
    """
    path = workdir / RANDOM_CELLS
    if not path.exists():
        return None
    values = read_json(path, ("found", "random"))
    accuracies = values["random"] if isinstance(values["random"], dict) else {}
    numbers = [values["found"], *accuracies.values()]
    if not accuracies or not all(isinstance(n, int | float) for n in numbers):
        raise InputError(
            f"{path}: expected accuracies of the cell found and of random ones, by name"
        )
    return values["found"], accuracies


def _read(path: Path) -> str:
    try:
        return files.read_text(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected what a run records") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read, {files.reason(error)}") from None


def _parse(text: str, place: str, keys: Collection[str]) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not JSON, {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{place}: expected a JSON object, found {type(value).__name__}")
    _check(value, place, keys)
    return value


def _check(value: dict[str, Any], place: str, keys: Collection[str]) -> None:
    for key in keys:
        if key not in value:
            raise InputError(f"{place}: expected the key {key}, found {', '.join(value) or 'none'}")


def is_count(value: Any) -> bool:
    """Tells whether a JSON value is a number of steps or epochs."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_name(value: Any) -> bool:
    """Tells whether a JSON value may begin a folder's name."""
    return (
        isinstance(value, str)
        and short_name(value).translate(FOLDER).replace("-", "_").isidentifier()
    )


def _is_weight(value: Any) -> bool:
    """Tells whether a JSON value is a weight of a loss."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


# The keys of `search` that list searches in one workdir: the check of a value in JSON, and what is expected.
AXES = {
    "seeds": (is_count, "numbers"),
    "edge_models": (_is_name, "names"),
    "cost_weights": (_is_weight, "numbers from 0 on"),
}


def write_architecture(workdir: Path, history: Any, space: Space) -> None:
    """Writes P [epochs + 1, C, E, O], before the search and after each epoch, as architecture.npz in the workdir.

    `history` is P, or a `Mixture` of P and betas [epochs + 1, C, E], which are written, too.
    """
    arrays = history._asdict() if isinstance(history, Mixture) else {"probs": history}
    _save_arrays(workdir / ARCHITECTURE, space, **arrays)


def write_history(
    workdir: Path,
    architectures: np.ndarray,
    rewards: np.ndarray,
    space: Space = DARTS,
    **final: np.ndarray,
) -> None:
    """Writes all cells evaluated so far and their rewards, in order, as history.npz in the workdir.

    Args:
      workdir: the run's directory.
      architectures: int32 [queries, 2, 14], ABSENT where an edge is not kept.
      rewards: float32 [queries].
      space: the space of the cells.
      final: the `candidates` [K, 2, 14] and their `accuracies` [K], at the end of a search.
    """
    _save_arrays(workdir / HISTORY, space, architectures=architectures, rewards=rewards, **final)


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    files.write_atomically(path, json.dumps(value, indent=2) + "\n")


def _save_arrays(path, space, **arrays):
    new = path.with_suffix(".new.npz")
    if space.allowed:
        arrays["allowed"] = np.array(space.mask)
    np.savez(new, operations=np.array(space.operations), edges=np.array(space.edges), **arrays)
    new.replace(path)
