"""The result of a search by trials: the cell found, and the files that the search leaves beside the report."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from nge_jax import files
from nge_jax.data import spec as dataset_spec
from nge_jax.devices import distributed
from nge_jax.networks.weights_of_any_cell import to_derived
from nge_jax.report.pareto.front import undominated
from nge_jax.space import architecture, genotype
from nge_jax.space.genotype import Genotype
from nge_jax.space.spaces import DARTS, Space
from nge_jax.train.plan import Training
from nge_jax.train.step import TrainState, averaged, variables_of
from nge_jax.trials import ledger as trial_ledger
from nge_jax.trials import state as trial_state
from nge_jax.trials.ledger import Ledger
from nge_jax.trials.plan import Trials
from nge_jax.trials.state import State
from nge_jax.workdir import artifacts, recorded


class TrialsResult(NamedTuple):
    """The result of a search by trials.

    Attributes:
      genotype: the cells found.
      accuracies: the accuracies of the cell found on the validation half, one for each training seed.
      probabilities: the strategy's P after the last cell, [2, 14, 7].
      workdir: the folder that holds all other results.
    """

    genotype: Genotype
    accuracies: tuple[float, ...]
    probabilities: np.ndarray
    workdir: Path


def conclude(plan: Trials, state: State, path: Path) -> TrialsResult:
    """Chooses the cell with the best mean over the seeds, and writes all results except the report."""
    state = jax.device_get(state)
    ledger, strategy = state.ledger, plan.strategy
    trials, accuracies = trial_ledger.final_accuracies(ledger, plan.halving)
    found = int(accuracies.mean(1).argmax())
    cell = architecture.to_genotype(ledger.cells[trials[found]], plan.search.space)
    first = strategy.probs(strategy.init(plan.keys().ask))
    probabilities = np.asarray(strategy.probs(state.searcher))
    if distributed.is_first():
        write_history(plan, ledger, path)
        artifacts.write_json(path / artifacts.PARETO, pareto_set(plan, ledger))
        artifacts.write_architecture(path, np.stack([first, probabilities]), plan.search.space)
        kept = trial_state.place(path, trials[found], len(plan.halving.rungs) - 1)
        trial = trial_state.kept(kept, state.trial)
        training, space = plan.rating.training, plan.search.space
        write_network(training, cell, trial, path / artifacts.NETWORK, space)
        files.write_atomically(path / artifacts.GENOTYPE, cell.to_json())
        if plan.search.limits is not None:
            plan.search.limits.record_times(cell, None, path)
    return TrialsResult(cell, tuple(map(float, accuracies[found])), probabilities, path)


def pareto_set(plan: Trials, ledger: Ledger) -> dict[str, Any]:
    """Collects the cells for which no other cell is as small and as accurate, the smallest first.

    A cell's accuracy is the rating at the first rung, which all cells have. The parameters count the network that rates
    the cell.

    Returns:
      {"cell_N": {"parameters", "accuracy", "ratings", "genotype"}, ...}; N is the cell's number in the history.
    """
    count = int(ledger.count)
    parameters, ratings = ledger.parameters[:count], ledger.ratings[:count]
    cells = {}
    for n in undominated(parameters, ratings[:, 0]):
        known = ratings[n][~np.isnan(ratings[n])]
        cells[f"cell_{n}"] = {
            "parameters": int(parameters[n]),
            "accuracy": float(ratings[n, 0]),
            "ratings": dict(zip(map(str, plan.halving.rungs), map(float, known), strict=False)),
            "genotype": architecture.to_genotype(ledger.cells[n], plan.search.space)._asdict(),
        }
    return cells


def write_history(plan: Trials, ledger: Ledger, path: Path) -> None:
    """Writes history.npz: the cells and their ratings; when cells have reached the end, also the candidates."""
    halving = plan.halving
    count = int(ledger.count)
    trials, accuracies = trial_ledger.final_accuracies(ledger, halving)
    final: dict[str, Any] = {
        "rungs": np.array(halving.rungs),
        "ratings": ledger.ratings[:count],
        "predicted": ledger.predicted[:count],
        "parameters": ledger.parameters[:count],
    }
    if trials:
        final |= {
            "candidates": ledger.cells[trials],
            "accuracies": np.nanmean(accuracies, axis=1),
            "by_seed": accuracies,
        }
    cells, ratings = ledger.cells[:count], ledger.ratings[:count, 0]
    artifacts.write_history(path, cells, ratings, plan.search.space, **final)


def write_network(
    training: Training, cell: Genotype, trial: TrainState, folder: Path, space: Space = DARTS
) -> None:
    """Writes the network of a cell as it was trained here, in the form of an exported network.

    `nge predict`, `nge eval`, `nge latency` and `nge export` take the folder like the workdir of a training. The config
    comes last, and without it they refuse the folder.

    Args:
      training: the plan of the training; the plan's cell is not read.
      cell: the cell.
      trial: the state after the training, of the network of any cell.
      folder: the folder; an earlier network's files are replaced.
      space: the space of the cell.
    """
    folder.mkdir(exist_ok=True)
    variables = jax.device_get(variables_of(averaged(trial)))
    derived = to_derived(cell, training.model.plan, variables, space)
    flat = flatten_dict(jax.device_get(derived), sep="/")
    arrays: dict[str, Any] = {
        name: a for name, a in flat.items() if name.split("/")[1] != "auxiliary"
    }
    content = io.BytesIO()
    np.savez(content, **arrays)
    config = {**training.settings, "genotype": artifacts.GENOTYPE}
    files.write_atomically(folder / artifacts.WEIGHTS, content.getvalue())
    files.write_atomically(folder / artifacts.DATASET, dataset_spec.to_json(training.source.spec))
    files.write_atomically(folder / artifacts.GENOTYPE, genotype.to_json(cell))
    recorded.write_operations(folder, recorded.current_operations(cell))
    artifacts.write_json(folder / artifacts.CONFIG, config)
