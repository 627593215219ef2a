"""Plots over the epochs of a run: an architecture's probabilities, and learning curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from nge_jax.report.cell import node_name
from nge_jax.report.figure import INK, LINES, QUIET, STYLE, new_figure, operation_color
from nge_jax.space.spaces import Space

Series = Mapping[str, Sequence[float]]  # by name


def probabilities_figure(
    probs: np.ndarray,
    space: Space,
    kept: Mapping[tuple[int, int], str],
    betas: np.ndarray | None = None,
) -> Figure:
    """Draws one cell type's probabilities: a row of panels for each inner node, a column for each source.

    Args:
      probs: [epochs + 1, edge, operation], before training and after each epoch.
      space: names the edges and the operations.
      kept: the derived cell: the operation of each edge (source, target) that it keeps. These stand out.
      betas: [epochs + 1, edge], weights of the edges, where a search learns them.
    """
    operations, edges = space.operations, space.edges
    sources, targets = (sorted(set(nodes)) for nodes in zip(*edges, strict=True))
    drawn = probs if betas is None else np.append(probs, betas)
    margin = 0.05 * (float(np.ptp(drawn)) or 1.0)
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
                "ylim": (drawn.min() - margin, drawn.max() + margin),
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
            if betas is not None:
                axes.plot(betas[:, e], **_EDGE_WEIGHT)
            color = INK if (i, k) in kept else QUIET
            axes.set_title(
                f"{node_name(i, space.num_inputs)} → {node_name(k, space.num_inputs)}", color=color
            )
        panels[0, 0].xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        panels[0, 0].yaxis.set_major_locator(MaxNLocator(4))
        figure.text(0.5, 0.1 / height, "epoch", ha="center", fontsize=9)
        figure.text(0.12 / width, 0.5, "probability", va="center", rotation="vertical", fontsize=9)
        names = [Line2D([], [], label=name, **_line(name)) for name in operations]
        if betas is not None:
            names.append(Line2D([], [], label="edge weight", **_EDGE_WEIGHT))
        corner = (1 - 0.1 / width, 1 - 0.1 / height)
        figure.legend(handles=names, loc="upper right", bbox_to_anchor=corner, fontsize=9)
        figure.draw_without_rendering()  # ticks take their style when they are first drawn
    return figure


_EDGE_WEIGHT: dict[str, Any] = {"color": INK, "linestyle": "dotted", "linewidth": 1.2}


def _line(operation: str) -> dict[str, Any]:
    """Returns the style of an operation's line: its color, and dashes for the larger kernels."""
    dashes = (0, (3, 1)) if operation.endswith("5x5") else "solid"
    return {"color": operation_color(operation), "linestyle": dashes, "linewidth": 1.2}


def _draw_probabilities(
    axes: Axes, probs: np.ndarray, operations: Sequence[str], kept: str | None
) -> None:
    """Draws a line for each operation of one edge, `probs` [epochs + 1, operation]; the kept one is thick."""
    for o, operation in enumerate(operations):
        (line,) = axes.plot(probs[:, o], **_line(operation))
        if operation == kept:
            line.set(linewidth=2.4, zorder=3)
    if kept:
        axes.set_title(kept, loc="right", fontsize=8, fontweight="bold")


def curves_figure(
    epochs: Sequence[int], panels: Mapping[str, Series], *, downwards: bool = False
) -> Figure:
    """Draws panels side by side or below each other, by title, each with one or two series over the epochs."""
    with rc_context(STYLE):
        columns, rows = (1, len(panels)) if downwards else (len(panels), 1)
        figure = new_figure(3.4 * columns, 2.8 * rows)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, (title, series) in zip(grid.flat, panels.items(), strict=True):
            for (name, values), (color, dashes) in zip(series.items(), LINES, strict=False):
                line = {"color": color, "linestyle": dashes, "marker": "o", "markersize": 2.5}
                axes.plot(epochs, values, label=name, **line)
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
            if len(series) > 1:
                axes.legend(loc="best")
        figure.tight_layout(pad=0.6, w_pad=1.2)
        figure.draw_without_rendering()
    return figure
