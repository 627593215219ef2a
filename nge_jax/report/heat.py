"""The probabilities of an architecture as a heat map: an edge each row, an operation each column."""

from collections.abc import Mapping

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nge_jax.report import run
from nge_jax.report.cell import node_name
from nge_jax.report.figure import COLORS, INK, STYLE, hover, new_figure
from nge_jax.space.spaces import Space

SHADE = COLORS["sep_conv_5x5"]  # the more of it, the larger the probability
DARKEST = 0.6  # opacity: the numbers keep a contrast of 4.5 on a light and on a dark page
SCALE_STEPS = 24  # in the legend
ROW, LEFT, TOP, BOTTOM, SCALE = 0.22, 0.66, 0.3, 0.85, 0.5  # inches, of a map and its texts
Kept = Mapping[tuple[int, int], str]  # {(source, target): operation} of each edge kept


def heat_figure(
    probs: np.ndarray, space: Space, kept: Mapping[str, Kept], *, downwards: bool = False
) -> Figure:
    """Draws the last probabilities of each cell type, with their numbers; kept choices have a frame.

    Args:
      probs: [epochs + 1, cell type, edge, operation], before the search and after each epoch.
      space: names the edges and the operations.
      kept: by cell type the derived cell.
      downwards: the cell types below each other instead of side by side.
    """
    count, most = len(space.cell_types), float(probs[-1].max())
    columns, rows = (1, count) if downwards else (count, 1)
    width, height = 3.9 if downwards else 4.9, ROW * len(space.edges)
    whole = rows * (TOP + height + BOTTOM) + SCALE
    with rc_context(STYLE):
        figure = new_figure(width * columns, whole)
        for c, cell_type in enumerate(space.cell_types):
            row, column = (c, 0) if downwards else (0, c)
            left, bottom = (
                column * width + LEFT,
                whole - row * (TOP + height + BOTTOM) - TOP - height,
            )
            place = left / (width * columns), bottom / whole
            size = (width - LEFT - 0.1) / (width * columns), height / whole
            axes = figure.add_axes((*place, *size))
            _draw_map(axes, probs[0, c], probs[-1, c], most, space, kept[cell_type])
            axes.set_title(f"{cell_type} cell")
        _draw_scale(figure, most, len(space.operations))
        figure.draw_without_rendering()
    return figure


def _draw_map(
    axes: Axes, first: np.ndarray, last: np.ndarray, most: float, space: Space, kept: Kept
) -> None:
    """Draws one cell type's probabilities, `first` and `last` [edge, operation]."""
    axes.grid(False)
    drawn, said = (
        [name(node, space.num_inputs) for node in range(space.num_nodes)]
        for name in (node_name, run.node_name)
    )
    for e, (i, k) in enumerate(space.edges):
        for o, operation in enumerate(space.operations):
            value, is_kept = float(last[e, o]), kept.get((i, k)) == operation
            box = Rectangle(
                (o, e), 1, 1, linewidth=0, facecolor=SHADE, alpha=DARKEST * value / most
            )
            axes.add_patch(box)
            number = axes.text(
                o + 0.5,
                e + 0.5,
                f"{value:.2f}",
                ha="center",
                va="center_baseline",
                fontsize=6.5,
                fontweight="bold" if is_kept else "normal",
            )
            text = f"{said[i]} → {said[k]}, {operation}: {value:.4f}"
            text += f", before the search {first[e, o]:.4f}{'; kept' if is_kept else ''}"
            for artist in (box, number):
                hover(artist, text)
            if is_kept:
                _draw_frame(axes, o, e)
    axes.set_xlim(0, len(space.operations))
    axes.set_ylim(len(space.edges), 0)
    axes.set_xticks(
        np.arange(len(space.operations)) + 0.5, space.operations, rotation=45, ha="right"
    )
    edges = [f"{drawn[i]} → {drawn[k]}" for i, k in space.edges]
    axes.set_yticks(np.arange(len(edges)) + 0.5, edges)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _draw_frame(axes: Axes, column: int, row: int) -> None:
    """Draws the frame of an operation that the cell keeps."""
    frame = Rectangle((column + 0.04, row + 0.04), 0.92, 0.92, fill=False)
    frame.set(edgecolor=INK, linewidth=1.4)
    axes.add_patch(frame)


def _draw_scale(figure: Figure, most: float, operations: int) -> None:
    """Draws what the shades mean, from 0 on, with a line at equal probabilities."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((LEFT / width, 0.3 / height, 3.1 / width, 0.12 / height))
    axes.grid(False)
    for n in range(SCALE_STEPS):
        left = most * n / SCALE_STEPS
        box = Rectangle((left, 0), most / SCALE_STEPS, 1, linewidth=0, facecolor=SHADE)
        box.set_alpha(DARKEST * (n + 0.5) / SCALE_STEPS)
        axes.add_patch(box)
    axes.set_xlim(0, most)
    axes.set_ylim(0, 1)
    equal = 1 / operations
    axes.axvline(equal, color=INK, linewidth=1.4)
    ticks = {0.0: "0", equal: f"1/{operations}, all equal"}
    if most > 2 * equal:
        ticks[most] = f"{most:.2f}"
    axes.set_xticks([*ticks], [*ticks.values()])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
