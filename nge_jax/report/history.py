"""A report's section on a search that asked for cells: what was evaluated, and how the last choice was made."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from nge_jax.report import cell as draw
from nge_jax.report import curves
from nge_jax.report.document import Block, Picture, Section, Table, Text
from nge_jax.runtime.artifacts import SearchHistory
from nge_jax.space import architecture
from nge_jax.space.genotype import CELL_TYPES, operation_counts


def facts(found: SearchHistory) -> dict[str, str]:
    """For the headline."""
    return {
        "Cells evaluated": f"{len(found.rewards):,}",
        "Best reward": f"{found.rewards.max():.2%}",
        "Accuracy of the cell in the supernet": f"{found.accuracies.max():.2%}",
    }


def section(workdir: Path, found: SearchHistory) -> Section:
    """Draws rewards.svg and rewards.png into the workdir."""
    draw.save(rewards_figure(found.rewards), workdir / "rewards")
    best = np.maximum.accumulate(found.rewards)
    since = 1 + int(found.rewards.argmax())
    alt = f"Best validation reward so far against evaluated cells: {best[0]:.1%} to {best[-1]:.1%}"
    caption = (
        f"The best-so-far validation reward against evaluated cells; it is that of the cell number {since} of "
        f"{len(best):,}. A reward is a cell's accuracy on one batch in the supernet, whose weights were "
        "training meanwhile: later cells had better ones."
    )
    text = "These cells were compared on further validation batches, the same for all; the first row is the one found."
    return Section("Search", [Picture("rewards", alt, caption), Text(text), _candidates(found)])


def rewards_figure(rewards: np.ndarray) -> Figure:
    """Each evaluated cell's reward [queries], and the best so far."""
    queries = np.arange(1, len(rewards) + 1)
    (colour, _), (best_colour, _) = curves.LINES
    with rc_context(curves.STYLE):
        figure = draw.new_figure(6.8, 2.8)
        axes = figure.subplots()
        dots = {"linestyle": "none", "marker": "o", "markersize": 2.5, "alpha": 0.5}
        axes.plot(queries, rewards, color=colour, label="a cell", **dots)
        best = np.maximum.accumulate(rewards)
        axes.step(queries, best, where="post", color=best_colour, label="best so far")
        axes.set_xlabel("cells evaluated")
        axes.set_title("validation reward")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.legend(loc="lower right")
        figure.tight_layout(pad=0.6)
        figure.draw_without_rendering()
    return figure


def _candidates(found: SearchHistory) -> Block:
    rows = []
    for number in np.argsort(-found.accuracies, kind="stable"):
        cell = found.candidates[number]
        reward, genotype = found.reward(cell), architecture.to_genotype(cell)
        rows.append(
            [
                f"{found.accuracies[number]:.2%}",
                "the policy's own" if reward is None else f"{reward:.2%}",
                *(_operations(genotype, cell_type) for cell_type in CELL_TYPES),
            ]
        )
    return Table(("Accuracy", "Best reward", *map(str.capitalize, CELL_TYPES)), rows)


def _operations(genotype, cell_type):
    counts = operation_counts(genotype, cell_type)
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)
