"""A small document of sections, written as one self-contained HTML file and as Markdown.

The HTML holds its pictures as inline SVG and its style sheet, asks the network for nothing, runs no
script, and follows the reader's light or dark setting; what it shows is escaped.
"""

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nge_jax.report.cell import NEUTRALS


class Text(NamedTuple):
    text: str


class Caution(NamedTuple):
    text: str


class Code(NamedTuple):
    text: str


class Picture(NamedTuple):
    """STEM.svg and STEM.png beside the document; `alt` says what they show."""

    stem: str
    alt: str
    caption: str


class Table(NamedTuple):
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


Block = Text | Caution | Code | Picture | Table


class Section(NamedTuple):
    title: str
    blocks: Sequence[Block]
    folded: bool = False  # closed until the reader opens it (HTML)


class Document(NamedTuple):
    title: str
    subtitle: str
    facts: Sequence[tuple[str, str]]  # the headline: a name and a value each
    sections: Sequence[Section]


def to_html(document: Document, folder: Path) -> str:
    """The whole file; pictures are read from `folder`."""
    title, subtitle = html.escape(document.title), html.escape(document.subtitle)
    facts = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
        for name, value in document.facts
    )
    links = "".join(
        f'<a href="#{_anchor(section.title)}">{html.escape(section.title)}</a>\n'
        for section in document.sections
    )
    body = "\n".join(_html_section(section, folder) for section in document.sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}: {subtitle}</title>
<style>{STYLE_SHEET}</style>
</head>
<body>
<header>
<p class="subtitle">{subtitle}</p>
<h1>{title}</h1>
<dl>{facts}</dl>
<nav aria-label="Sections">{links}</nav>
</header>
<main>
{body}
</main>
</body>
</html>
"""


def to_markdown(document: Document) -> str:
    """The same with links to the PNG pictures, which stand beside it."""
    parts = [f"# {_markdown(document.title)}: {_markdown(document.subtitle)}"]
    parts.append(_markdown_table(Table(("", ""), document.facts)))
    for section in document.sections:
        parts.append(f"## {_markdown(section.title)}")
        for block in section.blocks:
            match block:
                case Text(text):
                    parts.append(_markdown(text))
                case Caution(text):
                    parts.append(f"> **Warning:** {_markdown(text)}")
                case Code(text):
                    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
                    parts.append(f"{fence}\n{text.rstrip()}\n{fence}")
                case Picture(stem, alt, caption):
                    parts.append(f"![{_markdown(alt)}]({stem}.png)\n\n{_markdown(caption)}")
                case Table():
                    parts.append(_markdown_table(block))
    return "\n\n".join(parts) + "\n"


def _anchor(title: str) -> str:
    return re.sub("[^a-z0-9]+", "-", title.lower())


def _html_section(section: Section, folder: Path) -> str:
    blocks = "\n".join(_html_block(block, folder) for block in section.blocks)
    title = f"<h2>{html.escape(section.title)}</h2>"
    body = f"{title}\n{blocks}"
    if section.folded:
        body = f"<details><summary>{title}</summary>\n{blocks}\n</details>"
    return f'<section id="{_anchor(section.title)}">\n{body}\n</section>'


def _html_block(block: Block, folder: Path) -> str:
    match block:
        case Text(text):
            return f"<p>{html.escape(text)}</p>"
        case Caution(text):
            return f'<p class="warning" role="note"><b>Warning</b> {html.escape(text)}</p>'
        case Code(text):
            return f'<pre tabindex="0"><code>{html.escape(text)}</code></pre>'
        case Picture(stem, alt, caption):
            picture = _inline_svg(folder / f"{stem}.svg", stem, alt)
            caption = html.escape(caption)
            scroll = f'<div class="scroll" tabindex="0">{picture}</div>'
            return f"<figure>{scroll}<figcaption>{caption}</figcaption></figure>"
        case Table(header, rows):
            return f'<div class="scroll tall" tabindex="0">{_html_table(header, rows)}</div>'


def _html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of numbers are set to the right."""
    numeric = [
        all(re.fullmatch(r"[\d.,e+-]+%?", cell) for cell in column)
        for column in zip(*rows, strict=True)
    ]
    kinds = [' class="number"' if right else "" for right in numeric or [False] * len(header)]

    def line(tag: str, cells: Sequence[str]) -> str:
        pairs = zip(kinds, cells, strict=True)
        return "".join(f"<{tag}{kind}>{html.escape(cell)}</{tag[:2]}>" for kind, cell in pairs)

    head = line('th scope="col"', header)
    body = "".join(f"<tr>{line('td', row)}</tr>\n" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"


def _inline_svg(path: Path, prefix: str, alt: str) -> str:
    """The file's svg element: accessible, its ids its own, its neutral colours the page's."""
    svg = path.read_text(encoding="utf-8")
    svg = re.sub(r"<!--.*?-->\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{prefix}-", svg)
    for name, colour in NEUTRALS.items():
        svg = svg.replace(colour, f"var(--{name})")
    start = svg.index(">")
    size = re.search(r'viewBox="0 0 ([\d.]+) ', svg[:start])
    width = float(size[1]) * 96 / 72  # CSS pixels of an inch over points
    attributes = re.sub(r'\s(width|height)="[^"]*"', "", svg[:start])
    style = f"min-width:{0.8 * width:.0f}px;max-width:{1.2 * width:.0f}px"
    return f'{attributes} role="img" aria-label="{html.escape(alt)}" style="{style}"{svg[start:]}'


def _markdown(text: str) -> str:
    text = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", text)


def _markdown_table(table: Table) -> str:
    rows = [table.header, ["---"] * len(table.header)]
    rows += [[_markdown(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


STYLE_SHEET = """
:root { --ink: #1f2328; --soft: #858d97; --tint: #e8ebef; --paper: #fefefe;
  --page: #f5f6f8; --quiet: #59616b; --link: #0f62b0; --warn: #8a4600; --warn-ground: #fff3e0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --soft: #858d97; --tint: #2d333b; --paper: #1b1f24;
    --page: #121519; --quiet: #a3abb5; --link: #7ab7f5; --warn: #ffc078; --warn-ground: #33260f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem clamp(.75rem, 3vw, 2rem) 4rem;
  background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
.subtitle { margin: 0; color: var(--quiet); }
h1 { margin: 0 0 1rem; font-size: 2rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 0 0 .75rem; font-size: 1.25rem; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem;
  margin: 0 0 1rem; }
dl div, section { background: var(--paper); border: 1px solid var(--tint); border-radius: .6rem; }
dl div { padding: .5rem .8rem; }
dt { color: var(--quiet); font-size: .8rem; }
dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin-bottom: 1rem; font-size: .9rem; }
a { color: var(--link); }
section { padding: 1rem clamp(.75rem, 2vw, 1.25rem); margin-bottom: 1rem; }
figure { margin: 0 0 1.25rem; }
figure .scroll { margin-bottom: .4rem; }
figcaption { color: var(--quiet); font-size: .9rem; }
svg { display: block; width: 100%; height: auto; }
.scroll { overflow-x: auto; margin-bottom: .75rem; }
.tall { max-height: 34rem; overflow-y: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem 1.1rem .3rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--tint); }
td { max-width: 44rem; overflow-wrap: break-word; }
.number { text-align: right; }
thead th { position: sticky; top: 0; background: var(--paper); color: var(--quiet); }
pre { margin: 0 0 1rem; padding: .8rem; overflow-x: auto; background: var(--page);
  border-radius: .4rem; font: .85rem/1.5 ui-monospace, "SFMono-Regular", Menlo, monospace; }
summary { cursor: pointer; }
summary h2 { display: inline; }
details > div { margin-top: .75rem; }
section > :last-child, figure:last-child { margin-bottom: 0; }
.warning { margin: 0 0 .6rem; padding: .6rem .8rem; border-left: .25rem solid var(--warn);
  border-radius: .3rem; background: var(--warn-ground); }
.warning b { color: var(--warn); margin-right: .4rem; }
@media print { .tall { max-height: none; } nav { display: none; } }
"""
