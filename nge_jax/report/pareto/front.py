"""Draws networks by size and accuracy, and a line through those that no smaller or equal one beats."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from nge_jax.report.figure import INK, STYLE, columns_of_names, hover, new_figure


class Network(NamedTuple):
    """A point of the picture.

    Attributes:
      name: shown under the pointer, and in the legend for a point with a style.
      parameters: the network's size.
      accuracy: from 0 to 1.
      style: how the point is drawn, such as {"color": ...}; None: quietly, behind the others.
    """

    name: str
    parameters: int
    accuracy: float
    style: dict[str, Any] | None = None


def undominated(
    sizes: Sequence[int] | np.ndarray, accuracies: Sequence[float] | np.ndarray
) -> list[int]:
    """Lists the networks for which no other is as small and as accurate, and better in one; smallest first.

    Of equal networks the first is listed.
    """
    best, kept = -np.inf, []
    for n in np.lexsort((-np.asarray(accuracies), np.asarray(sizes))):
        if accuracies[n] > best:
            best = accuracies[n]
            kept.append(int(n))
    return kept


def size_figure(networks: Sequence[Network], title: str, width: float) -> Figure:
    """Draws all networks, and the front as a line of steps; `width` in inches."""
    sizes, accuracies = zip(*((n.parameters, n.accuracy) for n in networks), strict=True)
    front = undominated(sizes, accuracies)
    with rc_context(STYLE):
        drawing = new_figure(width, 3.0)
        axes = drawing.subplots()
        corners = [(sizes[n], accuracies[n]) for n in front]
        axes.plot(*zip(*corners, strict=True), drawstyle="steps-post", color=INK, linewidth=0.8)
        for network in networks:
            style = {"color": STYLE["axes.edgecolor"], "markersize": 3}
            label = None if network.style is None else network.name
            (point,) = axes.plot(
                network.parameters,
                network.accuracy,
                linestyle="none",
                marker="o",
                label=label,
                **(network.style or style),
            )
            hover(
                point, f"{network.name}: {network.accuracy:.2%}, {network.parameters:,} parameters"
            )
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        lay_out(drawing, axes, title)
    return drawing


def lay_out(drawing: Figure, axes: Axes, title: str) -> None:
    """Writes the axes' names and lays the picture out; the names of the points stand below it, where no point lies.

    Args:
      drawing: the picture. It becomes higher by the lines of names.
      axes: the axes, with parameters to the right.
      title: names the upward axis.
    """
    axes.set(xlabel="parameters", title=title)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.locator_params(axis="x", nbins=5)
    handles, names = axes.get_legend_handles_labels()
    width, height = drawing.get_size_inches()
    below = 0.0
    if names:
        lines = -(-len(names) // columns_of_names(names, width))
        below = 0.12 + 0.19 * lines
        drawing.legend(handles, names, loc="lower left", ncols=-(-len(names) // lines))
    drawing.set_figheight(height + below)
    drawing.tight_layout(pad=0.6, rect=(0, below / (height + below), 1, 1))
    drawing.draw_without_rendering()
