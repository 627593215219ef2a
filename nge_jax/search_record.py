"""What a search records of each epoch: its row of metrics, warnings, and P."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from nge_jax import genotype
from nge_jax.embedding import entropy
from nge_jax.genotype import CELL_TYPES, EDGES, OPERATIONS
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.search_step import SearchState

COLUMNS = {
    "epoch": ("epoch", "d"),
    "weight_loss": ("train loss", ".4f"),
    "weight_accuracy": ("accuracy", ".2%"),
    "embedding_loss": ("valid loss", ".4f"),
    "embedding_accuracy": ("accuracy", ".2%"),
    "entropy_normal": ("H normal", ".4f"),
    "entropy_reduction": ("H reduction", ".4f"),
    "skips": ("skips n/r", ""),
    "images_per_second": ("images/s", ".1f"),
    "seconds": ("seconds", ".1f"),
}


def epoch_metrics(state: SearchState, epoch: int, learning_rate: float) -> dict[str, Any]:
    """The epoch's row: both halves' loss and accuracy, P's entropy, operations of the cell it gives now."""
    row = {}
    for group, sums in jax.device_get(state.sums).items():
        name = {WEIGHTS: "weight", EMBEDDING: "embedding"}[group]
        row[f"{name}_loss"] = float(sums.loss / sums.count)
        row[f"{name}_accuracy"] = float(sums.correct / sums.count)
    row["learning_rate"] = learning_rate
    probs = np.asarray(state.history[epoch])
    found = genotype.derive(probs)
    counts = {}
    for cell_type, value in zip(CELL_TYPES, entropy(probs), strict=True):
        row[f"entropy_{cell_type}"] = float(value)
        counts[cell_type] = genotype.operation_counts(found, cell_type)
        row |= {f"{name}_{cell_type}": n for name, n in counts[cell_type].items()}
    row["skips"] = "/".join(str(counts[cell_type]["skip_connect"]) for cell_type in CELL_TYPES)
    return row


def skip_warnings(row: dict[str, Any]) -> Iterator[str]:
    """A line for each cell type that skip connections are taking over, the known failure of such searches."""
    for cell_type in CELL_TYPES:
        edges = sum(row[f"{name}_{cell_type}"] for name in OPERATIONS)
        skips = row[f"skip_connect_{cell_type}"]
        if 2 * skips >= edges:
            yield f"warning: skip_connect takes {skips} of {edges} edges of the {cell_type} cell now"


def write_architecture(path: Path, state: SearchState, epoch: int) -> None:
    """P before the search and after each epoch up to `epoch`, as architecture.npz in the workdir."""
    arrays = {
        "probs": np.asarray(state.history[: epoch + 1]),
        "operations": np.array(OPERATIONS),
        "edges": np.array(EDGES),
    }
    new = path / "architecture.new.npz"
    np.savez(new, **arrays)
    new.replace(path / "architecture.npz")
