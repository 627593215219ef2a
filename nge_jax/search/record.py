"""What a search records of each epoch: its row of metrics, the table that shows it, and warnings."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from nge_jax.embedding import entropy
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.runtime.progress import Columns
from nge_jax.search.gradient_steps import SearchState
from nge_jax.space import architecture, genotype
from nge_jax.space.genotype import CELL_TYPES, OPERATIONS
from nge_jax.strategies.base import History, Strategy

COLUMNS = (
    ("epoch", "{epoch}"),
    ("train loss", "{weight_loss:.4f}"),
    ("accuracy", "{weight_accuracy:.2%}"),
    ("valid loss", "{embedding_loss:.4f}"),
    ("accuracy", "{embedding_accuracy:.2%}"),
    ("H normal", "{entropy_normal:.4f}"),
    ("H reduction", "{entropy_reduction:.4f}"),
    ("skips n/r", "{skip_connect_normal}/{skip_connect_reduction}"),
    ("images/s", "{images_per_second:.1f}"),
    ("seconds", "{seconds:.1f}"),
)
BEST_SO_FAR = ("best so far", "{best_reward:.2%}")


def make_columns(strategy: Strategy | None) -> Columns:
    """Returns the table of epochs; a strategy that asks for cells has one more column than the gradient (None)."""
    return COLUMNS if strategy is None else (*COLUMNS, BEST_SO_FAR)


def epoch_metrics(
    state: SearchState, epoch: int, learning_rate: float, history: History | None
) -> dict[str, Any]:
    """Returns the epoch's row: both halves' loss and accuracy, P's entropy, operations of the cell that leads now.

    Args:
      state: at the end of the epoch.
      epoch: counted from 1.
      learning_rate: of the weights, in the epoch's last step.
      history: what a strategy that asks for cells has evaluated; the cell with the largest reward leads. None: the
        search is by the gradient, and the cell is derived from P.
    """
    row = {}
    for group, sums in jax.device_get(state.sums).items():
        name = {WEIGHTS: "weight", EMBEDDING: "embedding"}[group]
        row[f"{name}_loss"] = float(sums.loss / sums.count)
        row[f"{name}_accuracy"] = float(sums.correct / sums.count)
    row["learning_rate"] = learning_rate
    probs = np.asarray(state.history)[epoch]
    leader = genotype.derive(probs)
    if history is not None:
        best = history.rewards.argmax()
        leader = architecture.to_genotype(np.asarray(history.architectures[best]))
        row |= {"queries": len(history.rewards), "best_reward": float(history.rewards[best])}
    for cell_type, value in zip(CELL_TYPES, entropy(probs), strict=True):
        row[f"entropy_{cell_type}"] = float(value)
        counts = genotype.operation_counts(leader, cell_type)
        row |= {f"{name}_{cell_type}": n for name, n in counts.items()}
    return row


def skip_warnings(row: dict[str, Any]) -> Iterator[str]:
    """Yields a line for each cell type that skip connections are taking over, the known failure of such searches."""
    for cell_type in CELL_TYPES:
        edges = sum(row[f"{name}_{cell_type}"] for name in OPERATIONS)
        skips = row[f"skip_connect_{cell_type}"]
        if 2 * skips >= edges:
            yield f"warning: skip_connect takes {skips} of {edges} edges of the {cell_type} cell now"
