"""The section of a report on a search by queries: the cells evaluated, and how the last choice was made."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from nge_jax.report.document import Picture, Section, Table, Text
from nge_jax.report.figure import LINES, STYLE, new_figure, save, save_svg
from nge_jax.space import architecture
from nge_jax.space.genotype import CELL_TYPES, Genotype
from nge_jax.space.spaces import DARTS, Space
from nge_jax.workdir.artifacts import SearchHistory


def facts(history: SearchHistory) -> dict[str, str]:
    """Says for a report's headline how many cells were evaluated, and how good they were."""
    return {
        "Cells evaluated": f"{len(history.rewards):,}",
        "Best reward": f"{history.rewards.max():.2%}",
        "Accuracy of the cell in the supernet": f"{history.accuracies.max():.2%}",
    }


def section(workdir: Path, history: SearchHistory, space: Space = DARTS) -> Section:
    """Draws the rewards into the workdir, and shows them and the candidates of the last choice."""
    save(rewards_figure(history.rewards), workdir / "rewards")
    save_svg(rewards_figure(history.rewards, width=3.9), workdir / "rewards_narrow")
    best = np.maximum.accumulate(history.rewards)
    since = 1 + int(history.rewards.argmax())
    alt = f"Best validation reward so far against evaluated cells: {best[0]:.1%} to {best[-1]:.1%}"
    caption = (
        f"The best-so-far validation reward against evaluated cells; it is that of the cell number {since} of "
        f"{len(best):,}. A reward is a cell's accuracy on one batch in the supernet, whose weights were "
        "training meanwhile: later cells had better ones."
    )
    text = "These cells were compared on further validation batches, the same for all; the first row is the one found."
    picture = Picture("rewards", alt, caption, narrow_stem="rewards_narrow")
    return Section("Search", [picture, Text(text), _candidates(history, space)])


def rewards_figure(rewards: np.ndarray, width: float = 6.8) -> Figure:
    """Draws each evaluated cell's reward, `rewards` [queries], and the best so far; `width` in inches."""
    queries = np.arange(1, len(rewards) + 1)
    (color, _), (best_color, _) = LINES
    with rc_context(STYLE):
        figure = new_figure(width, 2.8)
        axes = figure.subplots()
        dots = {"linestyle": "none", "marker": "o", "markersize": 3, "alpha": 0.7}
        axes.plot(queries, rewards, color=color, label="a cell", **dots)
        best = np.maximum.accumulate(rewards)
        axes.step(queries, best, where="post", color=best_color, label="best so far")
        axes.set_xlabel("cells evaluated")
        axes.set_title("validation reward")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.legend(loc="lower right")
        figure.tight_layout(pad=0.6)
        figure.draw_without_rendering()
    return figure


def _candidates(history: SearchHistory, space: Space) -> Table:
    """Makes a table of the last choice's cells, the best first."""
    rows = []
    for number in np.argsort(-history.accuracies, kind="stable"):
        cell = history.candidates[number]
        reward, genotype = history.reward(cell), architecture.to_genotype(cell, space)
        rows.append(
            [
                f"{history.accuracies[number]:.2%}",
                "the policy's own" if reward is None else f"{reward:.2%}",
                *(_operations(genotype, cell_type) for cell_type in CELL_TYPES),
            ]
        )
    return Table(("Accuracy", "Best reward", *map(str.capitalize, CELL_TYPES)), rows)


def _operations(genotype: Genotype, cell_type: str) -> str:
    counts = genotype.operation_counts(cell_type)
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)
