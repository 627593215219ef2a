"""Draws a cell, and saves figures; the colours of all pictures."""

import functools
import io
import itertools
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import patches
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path as Curve
from matplotlib.textpath import TextPath
from scipy.interpolate import CubicHermiteSpline

from nge_jax.report import cell_layout, cell_routes
from nge_jax.space.genotype import CELL_TYPES, NONE, NUM_INPUTS, Genotype, Pair

# A hue for each family of operations, told apart by colour-blind readers too (after Okabe and Ito),
# with contrast on light and dark ground; the darker shade is the larger kernel.
COLOURS = {
    "skip_connect": "#b5539c",
    "max_pool_3x3": "#d55e00",
    "avg_pool_3x3": "#e6a532",
    "sep_conv_3x3": "#56b4e9",
    "sep_conv_5x5": "#1f77b9",
    "dil_conv_3x3": "#5cc49f",
    "dil_conv_5x5": "#00855f",
}
# Of text, of lines without an operation, of grids and tints, of the ground. A report on dark ground
# replaces these four, so no other thing may have their colour.
INK, SOFT, TINT, PAPER = "#1f2328", "#858d97", "#e8ebef", "#fefefe"
NEUTRALS = {"ink": INK, "soft": SOFT, "tint": TINT, "paper": PAPER}

FONT = FontProperties(family="DejaVu Sans", size=8.5)  # ships with matplotlib: the same everywhere
NODE_FONT = FontProperties(family="DejaVu Sans", size=10.5)
INCH = 72  # points
MARGIN, LABEL_PADDING, ARROW = 0.1, 0.16, (0.1, 0.038)  # inches; length and half width


def new_figure(width: float, height: float) -> Figure:
    """A figure of this size in inches, outside of pyplot's global state."""
    figure = Figure(figsize=(width, height), facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def node_name(node: int) -> str:
    """What pictures call a node: c_{k-2} and c_{k-1} for the inputs, inner nodes from 0."""
    return ("$c_{k-2}$", "$c_{k-1}$")[node] if node < NUM_INPUTS else str(node - NUM_INPUTS)


def cell_figure(pairs: Sequence[Pair], concat: Sequence[int]) -> Figure:
    """A cell from left to right: its two inputs, inner nodes, labelled edges and output.

    Args:
        pairs: (operation, predecessor), two for each inner node, as in a Genotype.
        concat: the nodes concatenated in the output.
    """
    cell = cell_layout.cell_layout(pairs, concat, _label_width)
    width, height = cell.width + 2 * MARGIN, cell.height + 2 * MARGIN
    figure = new_figure(width, height)
    _draw_cell(figure, cell, (0, 0, 1, 1))
    return figure


def _draw_cell(
    figure: Figure, cell: cell_layout.Layout, place: tuple[float, float, float, float]
) -> None:
    """Draws a cell into a part of a figure: left, bottom, width and height as shares of it."""
    axes = figure.add_axes(place)
    axes.set(xlim=(-MARGIN, cell.width + MARGIN), ylim=(-MARGIN, cell.height + MARGIN))
    axes.axis("off")
    for (operation, _), spline in zip(cell.chains, cell_routes.routes(cell), strict=True):
        _draw_edge(axes, operation, spline)
    for item in itertools.chain(*cell.columns):
        if item.kind == "label":
            _draw_box(axes, item, PAPER, COLOURS.get(item.name, SOFT), item.height / 2)
            _draw_text(axes, item, item.name, FONT)
        elif item.kind == "node":
            is_inner = item.name != cell_layout.OUTPUT and item.name >= NUM_INPUTS
            _draw_box(axes, item, PAPER if is_inner else TINT, INK, 0.07)
            name = "$c_k$" if item.name == cell_layout.OUTPUT else node_name(item.name)
            _draw_text(axes, item, name, NODE_FONT)


def save(figure: Figure, stem: Path) -> None:
    """Writes STEM.png and STEM.svg; equal figures give equal bytes, so neither holds a date."""
    # Text as paths looks the same wherever it is opened.
    with matplotlib.rc_context({"svg.hashsalt": "nge_jax", "svg.fonttype": "path"}):
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(f"{stem}.svg", metadata=metadata)
        figure.savefig(f"{stem}.png", dpi=200, metadata={"Software": None})


@functools.cache
def _label_width(text: str) -> float:
    return TextPath((0, 0), text, prop=FONT).get_extents().width / INCH + LABEL_PADDING


def _draw_edge(axes: Axes, operation: str | None, spline: CubicHermiteSpline) -> None:
    """The spline, piece by piece as Bézier curves, and its arrow head."""
    colour = SOFT if operation is None else COLOURS.get(operation, SOFT)
    x = spline.x.copy()
    tip = np.array([x[-1], spline(x[-1])])
    x[-1] -= ARROW[0] / 2  # the line ends inside of the head
    points = np.stack([x, spline(x)], 1)
    thirds = np.diff(x)[:, None] / 3
    tangents = np.stack([np.ones_like(x), spline(x, 1)], 1)
    controls = (
        points[:-1] + thirds * tangents[:-1],
        points[1:] - thirds * tangents[1:],
        points[1:],
    )
    vertices = np.concatenate([points[:1], np.stack(controls, 1).reshape(-1, 2)])
    codes = [Curve.MOVETO] + [Curve.CURVE4] * (len(vertices) - 1)
    axes.add_patch(
        patches.PathPatch(
            Curve(vertices, codes),
            fill=False,
            edgecolor=colour,
            linewidth=1.0 if operation is None else 1.5,
            linestyle=(0, (3, 2)) if operation == NONE else "solid",
        )
    )
    length, half = ARROW
    corners = [tip, tip + (-length, half), tip + (-length, -half)]
    axes.add_patch(patches.Polygon(corners, facecolor=colour, linewidth=0))


def _draw_box(axes: Axes, item: cell_layout.Item, face: str, line: str, rounding: float) -> None:
    corner = (item.x - item.width / 2, item.y - item.height / 2)
    style = patches.BoxStyle.Round(pad=0, rounding_size=rounding)
    box = patches.FancyBboxPatch(corner, item.width, item.height, boxstyle=style)
    box.set(facecolor=face, edgecolor=line, linewidth=1.1)
    axes.add_patch(box)


def _draw_text(axes: Axes, item: cell_layout.Item, text: str, font: FontProperties) -> None:
    place = {"ha": "center", "va": "center_baseline" if item.kind == "label" else "center"}
    axes.text(item.x, item.y, text, color=INK, fontproperties=font, **place)


def genotype_figure(genotype: Genotype) -> Figure:
    """Draws both cells of a genotype, the normal above the reduction cell."""
    layouts = [
        cell_layout.cell_layout(*genotype.cell(cell_type), _label_width) for cell_type in CELL_TYPES
    ]
    width = max(layout.width for layout in layouts) + 2 * MARGIN
    height = sum(layout.height + 2 * MARGIN for layout in layouts)
    figure, bottom = new_figure(width, height), height
    for layout in layouts:
        bottom -= layout.height + 2 * MARGIN
        share = (layout.width + 2 * MARGIN) / width, (layout.height + 2 * MARGIN) / height
        _draw_cell(figure, layout, (0, bottom / height, *share))
    return figure


def genotype_svg(genotype: Genotype) -> str:
    """Draws both cells of a genotype as an SVG document."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "nge_jax", "svg.fonttype": "path"}):
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        genotype_figure(genotype).savefig(file, format="svg", metadata=metadata)
    return file.getvalue()
