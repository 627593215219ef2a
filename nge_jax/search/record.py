"""The record of each epoch of a search: the row of metrics, the table that shows the row, and warnings."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from nge_jax.console.progress import Column, Columns
from nge_jax.embedding.model import entropy
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.report.seeds import spread
from nge_jax.search.limits.limits import SearchLimits
from nge_jax.search.steps.correlation import LayerSums
from nge_jax.search.steps.gradient import SearchState
from nge_jax.search.steps.relaxation import Relaxation
from nge_jax.space import architecture, nas_bench_201, sharing
from nge_jax.space.cell import count_operations, derive, is_uniform
from nge_jax.space.mixture import Mixture, operation_probs, strengths
from nge_jax.space.nas_bench_201 import AccuracyTable, BenchCell
from nge_jax.space.skips import SKIP, margins
from nge_jax.space.spaces import Space
from nge_jax.strategies.base import History, Strategy
from nge_jax.workdir import artifacts
from nge_jax.workdir.artifacts import Member

LOSSES = {
    "epoch": Column("epoch", "{epoch}", 5),
    "train_loss": Column("train\nloss", "{weight_loss:.4f}", 6),
    "train_accuracy": Column("train\nacc.", "{weight_accuracy:.1%}", 6),
    "valid_loss": Column("valid\nloss", "{embedding_loss:.4f}", 6),
    "valid_accuracy": Column("valid\nacc.", "{embedding_accuracy:.1%}", 6),
}
SPEED = Column("images/s", "{images_per_second:.1f}")
SECONDS = Column("time\n(s)", "{seconds:.1f}", 6)
MEAN_VALID_ACCURACY = Column(
    "valid acc.\n± sd", "{embedding_accuracy:.1%} ±{embedding_accuracy_sd:.1%}", 12
)
BEST_SO_FAR = Column("best\nso far", "{best_reward:.1%}", 6)
# Metrics that are the same for several searches in one program.
SHARED = (
    "learning_rate",
    "temperature",
    "skip_dropout",
    "entropy_weight",
    "edge_mutation",
    "layer_correlation",
    "skipped_updates",
)
# Columns of the metrics that a relaxation records (`Relaxation.record`).
RELAXATION_COLUMNS = {
    "temperature": Column("temp.", "{temperature:.2f}", 5),
    "skip_dropout": Column("skips\ndrop", "{skip_dropout:.0%}", 5),
}

UNIFORM = "warning: P is uniform"
# Adam makes a step of the decay as long as a step of the gradient. Where the gradient is weaker, as it is with drawn
# operations, the matrices go to 0, and their gradients go to 0 with them.
UNIFORM_ADVICE = ": the edge model has decayed to nothing; embedding.weight_decay=0 keeps it"

# The warning leaves out the count, which the row shows: a line that repeats is shown once.
HALF_SKIPS = "warning: skip_connect takes half of the {} cell's edges or more"
# The rules are in `space.sharing`.
CONSTANT = "warning: {} takes 80 % of the {} cell's edges or more"
CONSTANT_ADVICE = (
    ": a step for one edge moves all edges alike; embedding.classifier=per_edge lets each edge decide, "
    "search.edge_model=alpha has free logits"
)
CONSTANT_BY_P_ADVICE = (
    ": search.keep_best_below takes an earlier P where the validation accuracy has fallen"
)
# P decides an edge when the first operation leads the second by this much. Before the first step the lead is at most
# 0.02.
DECIDED = 0.1


def make_columns(strategy: Strategy | None, relaxation: Relaxation, space: Space) -> Columns:
    """Returns the columns of the table of epochs, which has at most 80 characters.

    Columns of the strategy or the relaxation take the place of the speed, which the progress bar shows, too.
    """
    extra = (BEST_SO_FAR,) if strategy is not None else _relaxation_columns(relaxation)
    speed = () if extra else (SPEED,)
    columns = LOSSES | _cell_columns(space, "", relaxation.is_distribution)
    return (*columns.values(), *speed, SECONDS, *extra)


def make_mean_columns(relaxation: Relaxation, space: Space) -> Columns:
    """Returns the columns of the table of epochs of several searches: means, and one accuracy's standard deviation.

    There is room for one column of the relaxation only.
    """
    of_cells = _cell_columns(space, ":.1f", relaxation.is_distribution)
    columns = LOSSES | {"valid_accuracy": MEAN_VALID_ACCURACY} | of_cells
    return (*columns.values(), SECONDS, *_relaxation_columns(relaxation)[:1])


def _cell_columns(space: Space, skips_format: str, has_entropy: bool) -> dict[str, Column]:
    """Returns columns that show P's entropy, if it has one, and the skip connections of each cell type."""
    kinds = space.cell_types
    initials = "\n" + "/".join(kind[0] for kind in kinds) if len(kinds) > 1 else ""
    entropies = "/".join(f"{{entropy_{kind}:.3f}}" for kind in kinds)
    skips = "/".join(f"{{skip_connect_{kind}{skips_format}}}" for kind in kinds)
    skips_width = 4 * len(kinds) - 1 if skips_format else 5
    columns = {}
    if has_entropy:
        columns["entropy"] = Column(f"entropy{initials}", entropies, 6 * len(kinds) - 1)
    if SKIP in space.operations:
        columns["skips"] = Column(f"skips{initials}", skips, skips_width)
    return columns


def _relaxation_columns(relaxation: Relaxation) -> Columns:
    recorded = relaxation.record(1)
    return tuple(column for name, column in RELAXATION_COLUMNS.items() if name in recorded)


def mean_row(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the means of several searches' rows of an epoch, and as KEY_sd the spread of each metric that differs."""
    row = {}
    for key, value in rows[0].items():
        if isinstance(value, int | float):
            values = [float(each[key]) for each in rows]
            row[key] = statistics.fmean(values)
            if key not in SHARED:
                row[f"{key}_sd"] = spread(values)
    return row


def epoch_metrics(
    state: SearchState,
    epoch: int,
    learning_rate: float,
    history: History | None,
    space: Space,
    *,
    is_distribution: bool = True,
) -> dict[str, Any]:
    """Returns the epoch's row: both halves' loss and accuracy, P's entropy, operations of the cell that leads now.

    Args:
      state: the state at the end of the epoch.
      epoch: counted from 1.
      learning_rate: the weights' learning rate in the epoch's last step.
      history: the cells that a strategy has evaluated; the cell with the largest reward leads. None: the gradient
        searches, and the leading cell is derived from P.
      space: the space that is searched.
      is_distribution: whether the rows of P sum to 1. Else P has no entropy.
    """
    row = _means(state) | {"learning_rate": learning_rate}
    mixture = jax.tree.map(lambda leaf: np.asarray(leaf)[epoch], state.history)
    leader = derive(strengths(mixture), space)
    if history is not None:
        best = history.rewards.argmax()
        leader = architecture.to_genotype(np.asarray(history.architectures[best]), space)
        row |= {"queries": len(history.rewards), "best_reward": float(history.rewards[best])}
    if isinstance(mixture, Mixture):
        row |= edge_entropies(mixture.betas, space)
    entropies = entropy(operation_probs(mixture))
    for cell_type, value in zip(space.cell_types, entropies, strict=True):
        row |= {f"entropy_{cell_type}": float(value)} if is_distribution else {}
        counts = count_operations(leader, cell_type, space)
        row |= {f"{name}_{cell_type}": n for name, n in counts.items()}
    return row


def _means(state: SearchState) -> dict[str, Any]:
    """Divides the sums of both halves by their counts."""
    row = {}
    for group, sums in jax.device_get(state.sums).items():
        name = {WEIGHTS: "weight", EMBEDDING: "embedding"}[group]
        row[f"{name}_loss"] = float(sums.loss / sums.count)
        row[f"{name}_accuracy"] = float(sums.correct / sums.count)
        if isinstance(sums, LayerSums):
            row["layer_cosine"] = float(sums.cosine / sums.count)
    return row


def edge_entropies(betas: np.ndarray, space: Space) -> dict[str, float]:
    """Computes the entropy of betas [C, E] in nats for each cell type, as the mean over the inner nodes."""
    values = -(betas * np.log(np.maximum(betas, 1e-30))).sum(-1) / len(space.inner_nodes)
    return {
        f"edge_entropy_{kind}": float(value)
        for kind, value in zip(space.cell_types, values, strict=True)
    }


def expected_costs(
    history: Any, epoch: int, limits: SearchLimits, space: Space
) -> dict[str, float]:
    """Returns the expected costs under P after an epoch, see `budget.costs.expected_cost`; times in milliseconds."""
    mixture = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64)[epoch], history)
    expected = limits.of_training(limits.budget.costs.expected(mixture, space))
    return {f"expected_{name}": value for name, value in expected.items()}


def latest(history: Any, epoch: int) -> Any:
    """Returns P before and after an epoch [2, C, E, O], or a `Mixture` of both.

    Args:
      history: P at each epoch, from the search's state; row 0 is P before the first epoch.
      epoch: counted from 1.
    """
    return jax.tree.map(lambda leaf: np.asarray(leaf)[epoch - 1 : epoch + 1], history)


def warnings(row: Mapping[str, Any], two_epochs: Any, space: Space) -> Iterator[str]:
    """Yields a line for each cell type whose P has decayed to uniform, or whose edges are mostly skip connections.

    A line also tells of a leading cell in which nearly all edges have one operation.

    Skip connections are counted when P decides them in two epochs in a row. While P is close to uniform they come and
    go.

    Args:
      row: the epoch's metrics.
      two_epochs: P as `latest` returns it. None: a strategy searches, and its leading cell is one that it evaluated.
      space: the space that is searched.
    """
    for cell_type in space.cell_types:
        for failure in _failures(row, two_epochs, cell_type, space):
            yield "".join(failure)


def warnings_of_several(
    rows: Mapping[Member, Mapping[str, Any]], two_epochs: Mapping[Member, Any], space: Space
) -> Iterator[str]:
    """Yields the warnings of several searches in one program, in lines that name the searches."""
    for cell_type in space.cell_types:
        failures: dict[tuple[str, str], list[Member]] = {}
        for member, row in rows.items():
            for failure in _failures(row, two_epochs[member], cell_type, space):
                failures.setdefault(failure, []).append(member)
        for (warning, advice), members in sorted(failures.items()):
            yield f"{warning}, of {artifacts.describe(members)}{advice}"


def _failures(
    row: Mapping[str, Any], two_epochs: Any, cell_type: str, space: Space
) -> Iterator[tuple[str, str]]:
    """Yields warnings with advice for a cell type.

    A uniform P decides nothing, so its operations are not counted.
    """
    skip_count, number = row.get(f"{SKIP}_{cell_type}", 0), space.cell_types.index(cell_type)
    if two_epochs is not None:
        before, now = (jax.tree.map(lambda leaf, n=n: leaf[n], two_epochs) for n in (0, 1))
        if is_uniform(operation_probs(now)[number], space, number):
            yield f"{UNIFORM} in the {cell_type} cell now", UNIFORM_ADVICE
            return
        skip_count = min(_decided_skips(p, cell_type, space) for p in (before, now))
    counts = {name: row[f"{name}_{cell_type}"] for name in space.operations}
    operation = sharing.constant_operation(counts)
    if operation is None:
        if 2 * skip_count >= sum(counts.values()):
            yield f"{HALF_SKIPS.format(cell_type)} now", ""
    else:
        # The name of another operation would make another line of each change.
        name = SKIP if operation == SKIP else "one operation"
        advice = "" if two_epochs is None else CONSTANT_BY_P_ADVICE
        if sharing.moves_together(row, cell_type):
            advice = CONSTANT_ADVICE
        yield f"{CONSTANT.format(name, cell_type)} now", advice


def _decided_skips(mixture: Any, cell_type: str, space: Space) -> int:
    """Counts the edges of the derived cell on which P leads with skip_connect by `DECIDED` or more."""
    cell = derive(strengths(mixture), space)
    kept = margins(operation_probs(mixture), cell, cell_type, space)
    return sum(m.edge.operation == SKIP and m.operation_margin >= DECIDED for m in kept)


def true_accuracies(table: AccuracyTable, history: np.ndarray, found: BenchCell) -> dict[str, Any]:
    """Looks up how the cell found trains, and how the cell trains that P favored after each epoch.

    Args:
      table: the table of NAS-Bench-201.
      history: P [epochs + 1, 1, 6, O].
      found: the cell found.

    Returns:
      {"found": see `nas_bench_201.accuracies`, "epochs": [{"epoch", "cell", "test": on CIFAR-10}, ...]}
    """
    epochs = []
    for epoch, probs in enumerate(history):
        cell = nas_bench_201.derive(probs, found.space)
        accuracies = nas_bench_201.accuracies(table, cell)
        epochs.append({"epoch": epoch, "cell": cell.cell, "test": accuracies["CIFAR-10"]["test"]})
    return {"found": nas_bench_201.accuracies(table, found), "epochs": epochs}


def accuracy_line(accuracies: dict[str, dict[str, float | None]]) -> str:
    """Returns a line that says how a cell trains, from the result of `nas_bench_201.accuracies`."""
    shown = (
        f"{name} {part} {'absent' if value is None else f'{value:.2f} %'}"
        for name, parts in accuracies.items()
        for part, value in parts.items()
    )
    return f"in the table, after 200 epochs: {', '.join(shown)}"
