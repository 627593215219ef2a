"""Draws cells: a node for each of their tensors, a labeled edge for each operation."""

import functools
import itertools
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib import patches
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path as Curve
from matplotlib.textpath import TextPath
from scipy.interpolate import CubicHermiteSpline

from nge_jax.report import cell_layout, cell_routes
from nge_jax.report.cell_layout import Layout
from nge_jax.report.figure import (
    FONT,
    INK,
    PAPER,
    TINT,
    new_figure,
    operation_color,
    operation_label,
    to_svg,
)
from nge_jax.space.cell import Cell
from nge_jax.space.genotype import CELL_TYPES, NONE, NUM_INPUTS, Genotype, Pair

LABEL_FONT = FontProperties(family=FONT, size=8.5)
NODE_FONT = FontProperties(family=FONT, size=10.5)
INCH = 72  # points
MARGIN, LABEL_PADDING = 0.1, 0.16  # inches
ARROW = (0.1, 0.038)  # inches: length and half width
# inches: a cell that is wider from left to right goes from top to bottom on phones
PHONE = 4.0
TITLE_HEIGHT, CELL_GAP = 0.3, 0.3  # inches, of a cell's title and between two cells


def node_name(node: int, num_inputs: int = NUM_INPUTS) -> str:
    """Returns what pictures call a node: c_{k-2} and c_{k-1} for the inputs, the latter for one, inner nodes from 0."""
    inputs = ("$c_{k-2}$", "$c_{k-1}$")[-num_inputs:]
    return inputs[node] if node < num_inputs else str(node - num_inputs)


def cell_figure(pairs: Sequence[Pair], concat: Sequence[int], *, downwards: bool = False) -> Figure:
    """Draws a cell from left to right: its two inputs, inner nodes, labeled edges and output.

    Args:
      pairs: (operation, predecessor), two for each inner node, as in a Genotype.
      concat: the nodes concatenated in the output.
      downwards: draw it from top to bottom instead, which is often narrower.
    """
    return _figure(cell_layout.cell_layout(pairs, concat, _label_width, downwards=downwards))


def edges_figure(
    edges: Sequence[tuple[str, int, int]],
    concat: Sequence[int],
    num_inputs: int,
    *,
    downwards: bool = False,
) -> Figure:
    """Draws a cell of one or two inputs by its edges (operation, i, k) from i to k, else as `cell_figure`."""
    layout = cell_layout.edges_layout(edges, concat, num_inputs, _label_width, downwards=downwards)
    return _figure(layout)


def _figure(layout: Layout) -> Figure:
    width, height = _size(layout)
    figure = new_figure(width, height)
    _draw_cell(figure, layout, left=0.0, top=height)
    return figure


def genotype_figure(genotype: Genotype) -> Figure:
    """Draws both cells of a genotype side by side under their titles, turned so that the whole is narrow."""
    layouts = min((_layouts(genotype, downwards) for downwards in (False, True)), key=_width)
    width = _width(layouts)
    height = TITLE_HEIGHT + max(_size(layout)[1] for layout in layouts)
    figure = new_figure(width, height)
    left = 0.0
    for cell_type, layout in zip(CELL_TYPES, layouts, strict=True):
        x, y = (left + MARGIN) / width, 1 - MARGIN / height
        figure.text(x, y, f"{cell_type} cell", color=INK, fontproperties=NODE_FONT, va="top")
        _draw_cell(figure, layout, left=left, top=height - TITLE_HEIGHT)
        left += _size(layout)[0] + CELL_GAP
    return figure


def any_cell_figure(cell: Cell) -> Figure:
    """Draws what a search of any space ends with: both cells of a genotype, or the one of NAS-Bench-201."""
    if isinstance(cell, Genotype):
        return genotype_figure(cell)
    (kind,) = cell.space.cell_types
    inputs = cell.space.num_inputs
    return edges_figure(cell.kept_edges(kind), cell.outputs(kind), inputs)


def genotype_svg(genotype: Genotype) -> str:
    """Draws both cells of a genotype side by side as an SVG document, for notebooks."""
    return to_svg(genotype_figure(genotype))


def _layouts(genotype: Genotype, downwards: bool) -> list[Layout]:
    """Lays out both cells."""
    return [
        cell_layout.cell_layout(*genotype.cell(cell_type), _label_width, downwards=downwards)
        for cell_type in CELL_TYPES
    ]


def _width(layouts: Sequence[Layout]) -> float:
    """Returns the width of the picture of cells side by side."""
    return sum(_size(layout)[0] for layout in layouts) + CELL_GAP * (len(layouts) - 1)


def _size(layout: Layout) -> tuple[float, float]:
    """Returns the width and height of the picture of a cell, with its margins."""
    along, across = layout.width + 2 * MARGIN, layout.height + 2 * MARGIN
    return (across, along) if layout.downwards else (along, across)


def _draw_cell(figure: Figure, layout: Layout, *, left: float, top: float) -> None:
    """Draws a cell into a figure, its left and top edges there (inches)."""
    width, height = _size(layout)
    whole_width, whole_height = figure.get_size_inches()
    place = (left / whole_width, (top - height) / whole_height)
    axes = figure.add_axes((*place, width / whole_width, height / whole_height))
    axes.set(xlim=(-MARGIN, width - MARGIN), ylim=(-MARGIN, height - MARGIN))
    axes.axis("off")

    def turn(points: np.ndarray) -> np.ndarray:
        """Maps points of the layout [..., 2] to points of the picture, whose y grows upwards."""
        return (layout.height, layout.width) - points[..., ::-1] if layout.downwards else points

    for (operation, _), spline in zip(layout.chains, cell_routes.routes(layout), strict=True):
        _draw_edge(axes, operation, spline, turn)
    for item in itertools.chain(*layout.columns):
        middle = turn(np.array([item.x, item.y]))
        size = np.array([item.width, item.height])[:: -1 if layout.downwards else 1]
        if item.kind == "label":
            color = operation_color(str(item.name))
            _draw_box(axes, middle, size, face=PAPER, line=color, rounding=size[1] / 2)
            _draw_text(axes, middle, operation_label(str(item.name)), LABEL_FONT, "center_baseline")
        elif item.kind == "node":
            is_output = item.name == cell_layout.OUTPUT
            is_inner = not is_output and int(item.name) >= layout.num_inputs
            face = PAPER if is_inner else TINT
            _draw_box(axes, middle, size, face=face, line=INK, rounding=0.07)
            name = "$c_k$" if is_output else node_name(int(item.name), layout.num_inputs)
            _draw_text(axes, middle, name, NODE_FONT, "center")


@functools.cache
def _label_width(text: str) -> float:
    """Measures how wide a label is in inches, with the space around its text."""
    extents = TextPath((0, 0), operation_label(text), prop=LABEL_FONT).get_extents()
    return extents.width / INCH + LABEL_PADDING


def _draw_edge(
    axes: Axes,
    operation: str | None,
    spline: CubicHermiteSpline,
    turn: Callable[[np.ndarray], np.ndarray],
) -> None:
    """Draws the spline, piece by piece as Bézier curves, and its arrow head."""
    color = operation_color(operation)
    x = spline.x.copy()
    tip = np.array([x[-1], spline(x[-1])])
    x[-1] -= ARROW[0] / 2  # the line ends inside of the head
    points = np.stack([x, spline(x)], 1)
    thirds = np.diff(x)[:, None] / 3
    tangents = np.stack([np.ones_like(x), spline(x, 1)], 1)
    # A cubic over [a, b] is the Bézier curve whose inner points lie a third of the way along the tangents.
    controls = (
        points[:-1] + thirds * tangents[:-1],
        points[1:] - thirds * tangents[1:],
        points[1:],
    )
    vertices = np.concatenate([points[:1], np.stack(controls, 1).reshape(-1, 2)])
    codes = [Curve.MOVETO] + [Curve.CURVE4] * (len(vertices) - 1)
    axes.add_patch(
        patches.PathPatch(
            Curve(turn(vertices), codes),
            fill=False,
            edgecolor=color,
            linewidth=1.0 if operation is None else 1.5,
            linestyle=(0, (3, 2)) if operation == NONE else "solid",
        )
    )
    length, half = ARROW
    corners = np.array([tip, tip + (-length, half), tip + (-length, -half)])
    axes.add_patch(patches.Polygon(turn(corners), facecolor=color, linewidth=0))


def _draw_box(
    axes: Axes, middle: np.ndarray, size: np.ndarray, *, face: str, line: str, rounding: float
) -> None:
    """Draws a box with round corners, `middle` and `size` [2] in inches."""
    (left, bottom), (width, height) = middle - size / 2, size
    style = f"round,pad=0,rounding_size={rounding}"
    box = patches.FancyBboxPatch((left, bottom), width, height, boxstyle=style)
    box.set(facecolor=face, edgecolor=line, linewidth=1.1)
    axes.add_patch(box)


def _draw_text(
    axes: Axes, middle: np.ndarray, text: str, font: FontProperties, vertical: str
) -> None:
    """Draws a text in the middle of its box."""
    x, y = middle
    axes.text(x, y, text, color=INK, fontproperties=font, ha="center", va=vertical)
