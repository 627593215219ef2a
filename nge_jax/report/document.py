"""A small document of sections, written as one self-contained HTML file and as Markdown.

The HTML holds its style sheet and its pictures as inline SVG. It asks the network for nothing, runs no
script, and follows the reader's light or dark setting. The templates lie in `templates/`, and their
engine escapes all that is shown.
"""

import base64
import functools
import html
import re
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2
from markupsafe import Markup, escape

from nge_jax.errors import InputError
from nge_jax.report.figure import THEME

# Least and largest scale of a picture in the HTML. Below the least it would be illegible, and scrolls instead.
SCALES = (0.55, 1.2)
# The name of this program in the head of the HTML.
GENERATOR = '<meta name="generator" content="nge_jax">'
# The media types of the files that a document carries.
KINDS = {".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png"}


class Text(NamedTuple):
    """Holds a paragraph."""

    text: str


class Caution(NamedTuple):
    """Holds a paragraph that warns."""

    text: str


class Code(NamedTuple):
    """Holds text to be shown letter by letter; the HTML folds it away under `summary`, if there is one."""

    text: str
    summary: str = ""


class Picture(NamedTuple):
    """Holds the name of STEM.svg and STEM.png beside the document; `alt` says what they show.

    narrow_stem: another drawing of the same, for narrow screens (HTML), or "".
    """

    stem: str
    alt: str
    caption: str
    narrow_stem: str = ""


class Beside(NamedTuple):
    """Holds pictures that stand side by side where there is room."""

    pictures: Sequence[Picture]


class Table(NamedTuple):
    """Holds the names of columns, and rows of as many cells.

    links: the address of each row's first cell, relative to the document, or "" for none; empty: no row has one.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    links: Sequence[str] = ()


class Files(NamedTuple):
    """Holds the names of files beside the document; the HTML carries them, to be saved."""

    names: Sequence[str]


Block = Text | Caution | Code | Picture | Beside | Table | Files


class Section(NamedTuple):
    """Holds a title and what stands under it; `folded` is closed until the reader opens it (HTML)."""

    title: str
    blocks: Sequence[Block]
    folded: bool = False


class Document(NamedTuple):
    """Holds a whole document; `facts` are its headline, a name and a value each."""

    title: str
    subtitle: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]


def to_html(document: Document, folder: Path) -> str:
    """Writes the whole HTML file; pictures are read from `folder`."""
    template = _environment().get_template("report.html.jinja")
    svg, carried = (functools.partial(f, folder) for f in (_inline_svg, _carried))
    return template.render(document=document, svg=svg, carried=carried)


def to_markdown(document: Document) -> str:
    """Writes the same as Markdown, with links to the PNG pictures that stand beside it."""
    return _environment().get_template("report.md.jinja").render(document=document)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("nge_jax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "anchor": _anchor,
        "column_kinds": _column_kinds,
        "address": _address,
        "fenced": _fenced,
        "markdown": _markdown,
    }
    # "block is picture" in a template.
    for kind in (Text, Caution, Code, Picture, Beside, Table, Files):
        environment.tests[kind.__name__.lower()] = functools.partial(_is_a, kind)
    return environment


def _is_a(kind: type, block: Block) -> bool:
    return isinstance(block, kind)


def _anchor(title: str) -> str:
    return re.sub("[^a-z0-9]+", "-", title.lower()).strip("-")


def _address(path: str) -> str:
    """Writes a path as a relative address: a name with a colon or a sign of addresses stays a name."""
    return urllib.parse.quote(path)


def _column_kinds(table: Table) -> list[str]:
    """Returns the class of each column: numbers, and gaps among numbers, are set to the right."""
    columns = zip(*table.rows, strict=True)
    kinds = ["number" if all(map(_is_number, column)) else "text" for column in columns]
    return kinds or ["text"] * len(table.header)


def _is_number(cell: str) -> bool:
    number = r"[\d.,e+-]+%?"
    return bool(re.fullmatch(f"{number}( ± {number})?|absent|–", cell))


def _inline_svg(folder: Path, stem: str, alt: str) -> Markup:
    """Reads a picture's svg element, makes it accessible and its ids unique, and gives it the page's colors."""
    svg = (folder / f"{stem}.svg").read_text(encoding="utf-8")
    svg = re.sub(r"<!--.*?-->\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{stem}-", svg)
    for name, color in THEME.items():
        svg = svg.replace(color, f"var(--{name})")
    start = svg.index(">")
    size = re.search(r'viewBox="0 0 ([\d.]+) ', svg[:start])
    if size is None:
        raise InputError(
            f"{folder / stem}.svg: expected a viewBox that begins with 0 0, found none"
        )
    width = float(size[1]) * 96 / 72  # CSS pixels of an inch over points
    smallest, largest = SCALES
    style = f"min-width:{smallest * width:.0f}px;max-width:{largest * width:.0f}px"
    if own := re.search(r'\sstyle="([^"]*)"', svg[:start]):
        style = f"{own[1]};{style}"
    attributes = re.sub(r'\s(width|height|style)="[^"]*"', "", svg[:start])
    return Markup(
        f'{attributes} role="img" aria-label="{escape(alt)}" style="{style}"{svg[start:]}'
    )


def _carried(folder: Path, name: str) -> tuple[str, str]:
    """Returns a file as an address that holds it, and its size in words."""
    content = (folder / name).read_bytes()
    kind = KINDS.get(Path(name).suffix, "application/octet-stream")
    size = f"{len(content) / 1000:,.0f} kB" if len(content) >= 1000 else f"{len(content)} B"
    return f"data:{kind};base64,{base64.b64encode(content).decode()}", size


def _markdown(text: str) -> Markup:
    """Writes text so that Markdown shows it as it is, on one line."""
    text = html.escape(" ".join(text.split()), quote=False)
    return Markup(re.sub(r"([\\`*_|\[\]])", r"\\\1", text))


def _fenced(text: str) -> Markup:
    """Writes text as a code block of Markdown, between fences longer than any inside."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return Markup(f"{fence}\n{text.rstrip()}\n{fence}")
