"""The size, colors and style that all pictures share, and how pictures are saved."""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

from nge_jax.files import write_atomically
from nge_jax.space.parts.loading import loaded_operation
from nge_jax.space.parts.package import COLORS

# Colors of text, of quieter text, of lines without an operation, of grids and tints, and of the ground.
INK, QUIET, SOFT, TINT, PAPER = "#1f2328", "#59616b", "#7d8590", "#e8ebef", "#fefefe"
# A report's style sheet knows the colors by these names, and has others for a dark ground. A report
# replaces these texts wherever an SVG has them: nothing else may have one of these colors.
THEME = {"ink": INK, "quiet": QUIET, "soft": SOFT, "tint": TINT, "paper": PAPER, **COLORS}
# NAS-Bench-201's convolutions; its pictures have no separable ones.
BENCH_COLORS = {"nor_conv_1x1": COLORS["sep_conv_3x3"], "nor_conv_3x3": COLORS["sep_conv_5x5"]}

# Two series in one panel, told apart by dashes as well.
LINES = ((COLORS["sep_conv_5x5"], "solid"), (COLORS["max_pool_3x3"], (0, (4, 1.5))))
FONT = "DejaVu Sans"  # ships with matplotlib: texts are measured alike everywhere
# A reader without the font sees letters of the same width or narrower ones.
FONT_STACK = f"'{FONT}', Verdana, Geneva, sans-serif"
STYLE: dict[RcKeyType, Any] = {
    "font.family": FONT,
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
# The style of pictures with names from a user: text between two dollar signs is no formula.
NAMED: dict[RcKeyType, Any] = {**STYLE, "text.parse_math": False}


_HOVER = "hover: "  # begins the id of an artist that has a text


def operation_color(operation: str | None) -> str:
    """Returns the color of an operation of any space, or of the lack of one.

    A picture runs no module of a user's: an own operation has its color where its module is loaded, else it is gray.
    """
    if operation in BENCH_COLORS:
        return BENCH_COLORS[operation]
    known = loaded_operation(operation or "")
    return known.color or SOFT if known is not None else SOFT


def operation_label(operation: str) -> str:
    """Returns what pictures call an operation: a user's own by the name behind the module."""
    return operation.rpartition(":")[2]


def new_figure(width: float, height: float) -> Figure:
    """Makes a figure of this size in inches, outside of pyplot's global state."""
    figure = Figure(figsize=(width, height), facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def columns_of_names(names: Sequence[str], width: float) -> int:
    """Returns in how many columns a legend may stand within `width` inches: as many as the longest name leaves room."""
    return max(1, min(len(names), int(width / (0.6 + 0.075 * max(map(len, names))))))


def hover(artist: Artist, text: str) -> None:
    """Makes `to_svg` show the text while a pointer rests on the artist."""
    artist.set_gid(f"{_HOVER}{text}")


def to_svg(figure: Figure) -> str:
    """Draws a figure as an SVG document whose texts are texts; equal figures give equal documents."""
    file = io.StringIO()
    # The salt makes the ids, which are random otherwise, and the metadata would hold a date.
    with matplotlib.rc_context({"svg.hashsalt": "nge_jax", "svg.fonttype": "none"}):
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=metadata)
    svg = re.sub(f"'?{FONT}'?", FONT_STACK, file.getvalue())
    group = rf"""<g id=(["']){_HOVER}(.*?)\1>"""
    svg = re.sub(group, r'<g class="hover"><title>\2</title>', svg)
    # Matplotlib's style of all elements, `*{...}`, would change the whole page around the picture.
    rule = re.compile(r"<defs>\s*<style[^>]*>\*\{([^}]*)\}</style>\s*</defs>\s*")
    if strokes := rule.search(svg):
        svg = rule.sub("", svg, count=1).replace("<svg", f'<svg style="{strokes[1]}"', 1)
    return svg


def save(figure: Figure, stem: Path) -> None:
    """Writes STEM.png and STEM.svg; equal figures give equal bytes."""
    save_svg(figure, stem)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=200, metadata={"Software": None})
    write_atomically(Path(f"{stem}.png"), file.getvalue())


def save_svg(figure: Figure, stem: Path) -> None:
    """Writes STEM.svg alone."""
    write_atomically(Path(f"{stem}.svg"), to_svg(figure))
