"""Plots over the epochs of a run: an architecture's probabilities and operations, and learning curves."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from nge_jax.report.cell import node_name
from nge_jax.report.figure import (
    INK,
    LINES,
    PAPER,
    QUIET,
    STYLE,
    hover,
    new_figure,
    operation_color,
)
from nge_jax.space.spaces import Space

Series = Mapping[str, Sequence[float | None]]  # {name: values}
MOST_COLUMNS = 120  # in the areas of operations; among more epochs, every n-th has a column
DECADE = 5.0  # a logarithmic axis over less than this factor has ticks at equal distances


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
    equal = 1 / len(operations)
    with rc_context(STYLE):
        figure = new_figure(2.0 * len(sources) + 0.7, 1.5 * len(targets) + 0.6)
        # From 0 on, else chance would look like a choice.
        limits = (0, max(1, len(probs) - 1)), (0, 1.05 * float(drawn.max()))
        panels = _hidden_panels(figure, len(targets), len(sources), *limits)
        for e, (i, k) in enumerate(edges):
            axes = panels[targets.index(k), sources.index(i)]
            axes.set_visible(True)
            axes.axhline(equal, **_EQUAL)
            _draw_probabilities(axes, probs[:, e], operations, kept.get((i, k)))
            if betas is not None:
                (line,) = axes.plot(betas[:, e], **_EDGE_WEIGHT)
                hover(line, f"edge weight: {betas[0, e]:.4f} at first, {betas[-1, e]:.4f} at last")
            ends = (node_name(node, space.num_inputs) for node in (i, k))
            axes.set_title(" → ".join(ends), color=INK if (i, k) in kept else QUIET)
        names = _name_lines(operations, has_betas=betas is not None)
        width, height = figure.get_size_inches()
        corner = (1 - 0.1 / width, 1 - 0.1 / height)
        figure.legend(handles=names, loc="upper right", bbox_to_anchor=corner, fontsize=9)
        figure.draw_without_rendering()  # ticks take their style when they are first drawn
    return figure


def _name_lines(operations: Sequence[str], *, has_betas: bool) -> list[Line2D]:
    """Makes the lines of the legend."""
    names = [Line2D([], [], label=name, **_line(name)) for name in operations]
    if has_betas:
        names.append(Line2D([], [], label="edge weight", **_EDGE_WEIGHT))
    names.append(Line2D([], [], label=f"1/{len(operations)}, all equal", **_EQUAL))
    return names


def _hidden_panels(
    figure: Figure,
    rows: int,
    columns: int,
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
) -> np.ndarray:
    """Makes panels [rows, columns] with common axes, which are named once; most stay hidden.

    A node is no source of itself or of an earlier one.
    """
    width, height = figure.get_size_inches()
    panels = figure.subplots(
        rows,
        columns,
        sharex=True,
        sharey=True,
        squeeze=False,
        subplot_kw={"visible": False, "xlim": x_limits, "ylim": y_limits},
        gridspec_kw={
            "left": 0.62 / width,
            "right": 1 - 0.1 / width,
            "bottom": 0.48 / height,
            "top": 1 - 0.26 / height,
            "wspace": 0.1,
            "hspace": 0.3,
        },
    )
    panels[0, 0].xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    panels[0, 0].yaxis.set_major_locator(MaxNLocator(4))
    figure.text(0.5, 0.1 / height, "epoch", ha="center", fontsize=9)
    figure.text(0.12 / width, 0.5, "probability", va="center", rotation="vertical", fontsize=9)
    return panels


_EDGE_WEIGHT: dict[str, Any] = {"color": INK, "linestyle": "dotted", "linewidth": 1.2}
_EQUAL: dict[str, Any] = {"color": QUIET, "linestyle": (0, (6, 3)), "linewidth": 0.8}


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
        hover(line, f"{operation}: {probs[0, o]:.4f} at first, {probs[-1, o]:.4f} at last")
        if operation == kept:
            line.set(linewidth=2.4, zorder=3)
    if kept:
        axes.set_title(kept, loc="right", fontsize=8, fontweight="bold")


def operations_figure(
    epochs: Sequence[int],
    counts: Mapping[str, Mapping[str, Sequence[int]]],
    *,
    downwards: bool = False,
) -> Figure:
    """Draws how often the cell of each type has each operation, as stacked areas over the epochs.

    Args:
      epochs: of which each area has a column.
      counts: by cell type, then by operation, one for each of the epochs.
      downwards: the panels below each other instead of side by side.
    """
    with rc_context(STYLE):
        columns, rows = (1, len(counts)) if downwards else (len(counts), 1)
        figure = new_figure(3.9 if downwards else 4.6 * columns, 2.3 * rows + 0.7)
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes, (cell_type, of) in zip(grid.flat, counts.items(), strict=True):
            _draw_operations(axes, epochs, of)
            axes.set_title(f"{cell_type} cell, edges")
        names = [o for o in next(iter(counts.values())) if any(any(c[o]) for c in counts.values())]
        figure.legend(
            handles=[Patch(color=operation_color(name), label=name) for name in names],
            loc="upper left",
            ncols=3 if downwards else 7,
            fontsize=8,
            handlelength=1.2,
            columnspacing=1.2,
        )
        height = figure.get_figheight()
        figure.tight_layout(
            pad=0.6, w_pad=1.4, rect=(0, 0, 1, 1 - (0.62 if downwards else 0.3) / height)
        )
        figure.draw_without_rendering()
    return figure


def _draw_operations(
    axes: Axes, epochs: Sequence[int], counts: Mapping[str, Sequence[int]]
) -> None:
    """Draws how often one cell has each operation: a column of areas for each epoch, or for every n-th."""
    axes.grid(False)
    stride = -(-len(epochs) // MOST_COLUMNS)
    for n in range(0, len(epochs), stride):
        column = {name: values[n] for name, values in counts.items() if values[n]}
        _stack(axes, epochs[n], min(stride, len(epochs) - n), column)
    axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    axes.set_ylim(0, max(sum(at) for at in zip(*counts.values(), strict=True)))
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))


def _stack(axes: Axes, epoch: int, width: int, counts: Mapping[str, int]) -> None:
    """Draws how often a cell has each operation at an epoch, as areas on top of each other."""
    below, total = 0, sum(counts.values())
    for operation, count in counts.items():
        corner = epoch - 0.5, below
        area = Rectangle(corner, width, count, edgecolor=PAPER, linewidth=0.6)
        area.set_facecolor(operation_color(operation))
        hover(area, f"epoch {epoch}: {count} of {total} are {operation}")
        axes.add_patch(area)
        below += count


def curves_figure(
    epochs: Sequence[int],
    panels: Mapping[str, Series],
    *,
    downwards: bool = False,
    logarithmic_panels: Collection[str] = (),
) -> Figure:
    """Draws panels side by side or below each other, by title, each with one or two series over the epochs.

    Args:
      epochs: of the values; a series may lack some, as None.
      panels: by title the series by name.
      downwards: below each other.
      logarithmic_panels: titles of panels whose values are shown so, where all are positive.
    """
    with rc_context(STYLE):
        columns, rows = (1, len(panels)) if downwards else (len(panels), 1)
        figure = new_figure(3.4 * columns, 2.8 * rows)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, (title, series) in zip(grid.flat, panels.items(), strict=True):
            for (name, values), (color, dashes) in zip(series.items(), LINES, strict=False):
                points = [(e, v) for e, v in zip(epochs, values, strict=True) if v is not None]
                style = {"color": color, "linestyle": dashes, "marker": "o", "markersize": 2.5}
                (line,) = axes.plot(*zip(*points, strict=True), label=name, **style)
                hover(line, f"{name}: {points[0][1]:.4g} at first, {points[-1][1]:.4g} at last")
            if title in logarithmic_panels:
                logarithmic(axes)
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
            if len(series) > 1:
                axes.legend(loc="best")
        figure.tight_layout(pad=0.6, w_pad=1.2)
        figure.draw_without_rendering()
    return figure


def logarithmic(axes: Axes) -> None:
    """Gives a panel that is drawn a logarithmic scale with plain numbers, if all its values are positive."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
    if not values.size or values.min() <= 0:
        return
    axes.set_yscale("log")
    wide = values.max() > DECADE * values.min()
    axes.yaxis.set_major_locator(
        LogLocator(subs=(1, 2, 5), numticks=12) if wide else MaxNLocator(5)
    )
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
