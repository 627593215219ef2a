"""What a search records of each epoch: its row of metrics, warnings, P, and the cells that it evaluated."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from nge_jax.embedding import entropy
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.search.gradient_steps import SearchState
from nge_jax.space import architecture, genotype
from nge_jax.space.genotype import CELL_TYPES, OPERATIONS
from nge_jax.strategies.base import History, Strategy

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
BEST_SO_FAR = {"best_reward": ("best so far", ".2%")}


def columns(strategy: Strategy | None) -> dict[str, tuple[str, str]]:
    """Of the table of epochs; a strategy that asks for cells has one more than the gradient (None)."""
    return COLUMNS if strategy is None else COLUMNS | BEST_SO_FAR


def epoch_metrics(
    state: SearchState, epoch: int, learning_rate: float, told: History | None
) -> dict[str, Any]:
    """The epoch's row: both halves' loss and accuracy, P's entropy, operations of the cell that leads now.

    told: what a strategy that asks for cells has evaluated; the cell with the largest reward leads. None: the
        search is by the gradient, and the cell is derived from P.
    """
    row = {}
    for group, sums in jax.device_get(state.sums).items():
        name = {WEIGHTS: "weight", EMBEDDING: "embedding"}[group]
        row[f"{name}_loss"] = float(sums.loss / sums.count)
        row[f"{name}_accuracy"] = float(sums.correct / sums.count)
    row["learning_rate"] = learning_rate
    probs = np.asarray(state.history[epoch])
    found = genotype.derive(probs)
    if told is not None:
        best = told.rewards.argmax()
        found = architecture.to_genotype(told.architectures[best])
        row |= {"queries": len(told.rewards), "best_reward": float(told.rewards[best])}
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
