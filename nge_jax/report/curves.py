"""Plots over the epochs of a run: an architecture's probabilities, and training curves."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from nge_jax.report.cell import COLOURS, INK, PAPER, SOFT, TINT, new_figure, node_name
from nge_jax.space.genotype import NUM_INPUTS, Pair

# Two series in one panel, told apart by dashes as well.
LINES = (("#1f77b9", "solid"), ("#d55e00", (0, (4, 1.5))))
STYLE = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same everywhere
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.facecolor": PAPER,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": TINT,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}

Series = Mapping[str, Sequence[float]]  # by name


def probabilities_figure(
    probs: np.ndarray,
    operations: Sequence[str],
    edges: Sequence[tuple[int, int]],
    pairs: Sequence[Pair],
) -> Figure:
    """One cell type's probabilities: a row of panels for each inner node, a column for each source.

    Args:
        probs: [epochs + 1, edge, operation], before training and after each epoch.
        operations: names of the last axis.
        edges: (source, target), nodes 0 and 1 being the inputs.
        pairs: the derived cell (as in a Genotype); its edges and operations stand out.
    """
    kept = {(i, NUM_INPUTS + j // 2): operation for j, (operation, i) in enumerate(pairs)}
    sources, targets = (sorted(set(nodes)) for nodes in zip(*edges, strict=True))
    margin = 0.05 * (float(np.ptp(probs)) or 1.0)
    with rc_context(STYLE):
        figure = new_figure(2.0 * len(sources) + 0.7, 1.5 * len(targets) + 0.6)
        width, height = figure.get_size_inches()
        panels = figure.subplots(
            len(targets),
            len(sources),
            sharex=True,
            sharey=True,
            squeeze=False,
            subplot_kw={
                "visible": False,  # a node is no source of itself or of an earlier one
                "xlim": (0, max(1, len(probs) - 1)),
                "ylim": (probs.min() - margin, probs.max() + margin),
            },
            gridspec_kw={
                "left": 0.62 / width,
                "right": 1 - 0.1 / width,
                "bottom": 0.48 / height,
                "top": 1 - 0.26 / height,
                "wspace": 0.1,
                "hspace": 0.3,
            },
        )
        for e, (i, k) in enumerate(edges):
            axes = panels[targets.index(k), sources.index(i)]
            axes.set_visible(True)
            _draw_probabilities(axes, probs[:, e], operations, kept.get((i, k)))
            colour = INK if (i, k) in kept else SOFT
            axes.set_title(f"{node_name(i)} → {node_name(k)}", color=colour)
        panels[0, 0].xaxis.set_major_locator(MaxNLocator(4, integer=True))
        panels[0, 0].yaxis.set_major_locator(MaxNLocator(4))
        figure.text(0.5, 0.1 / height, "epoch", ha="center", fontsize=9)
        figure.text(0.12 / width, 0.5, "probability", va="center", rotation="vertical", fontsize=9)
        names = [Line2D([], [], label=name, **_line(name)) for name in operations]
        corner = (1 - 0.1 / width, 1 - 0.1 / height)
        figure.legend(handles=names, loc="upper right", bbox_to_anchor=corner, fontsize=9)
        figure.draw_without_rendering()  # ticks take their style when they are first drawn
    return figure


def _line(operation: str) -> dict[str, object]:
    """Colour, and dashes for the larger kernels."""
    dashes = (0, (3, 1)) if operation.endswith("5x5") else "solid"
    return {"color": COLOURS.get(operation, SOFT), "linestyle": dashes, "linewidth": 1.2}


def _draw_probabilities(
    axes: Axes, probs: np.ndarray, operations: Sequence[str], kept: str | None
) -> None:
    """A line for each operation of one edge; the kept one is thick, and named above."""
    for o, operation in enumerate(operations):
        (line,) = axes.plot(probs[:, o], **_line(operation))
        if operation == kept:
            line.set(linewidth=2.4, zorder=3)
    if kept:
        axes.set_title(kept, loc="right", fontsize=8, fontweight="bold")


def curves_figure(epochs: Sequence[int], panels: Mapping[str, Series]) -> Figure:
    """Panels side by side, by title, each with its one or two series over the epochs."""
    with rc_context(STYLE):
        figure = new_figure(3.4 * len(panels), 2.8)
        row = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, (title, series) in zip(row, panels.items(), strict=True):
            for (name, values), (colour, dashes) in zip(series.items(), LINES, strict=False):
                line = {"color": colour, "linestyle": dashes, "marker": "o", "markersize": 2.5}
                axes.plot(epochs, values, label=name, **line)
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            if len(series) > 1:
                axes.legend(loc="best")
        figure.tight_layout(pad=0.6, w_pad=1.2)
        figure.draw_without_rendering()
    return figure
