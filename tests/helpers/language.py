"""Counts what makes prose slow to read: sentences above 25 words, and openings that name no subject.

The command `python -m tests.helpers.language PATH...` lists the violations in files and folders.
"""

import argparse
import ast
import io
import json
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MOST_WORDS = 25
OPENINGS = {"of", "that", "those", "what", "which", "with", "beside", "by"}
SUFFIXES = (".py", ".md", ".ipynb")

# Tools read these comments, people do not.
PRAGMA = re.compile(r"#\s*(!|type:|noqa|pyright:|ruff:|fmt:|pragma|pylint:|isort:|%%)")
# The items of these sections of a docstring are a table, not sentences.
ITEMS = re.compile(r"(Args|Arguments|Attributes|Raises|Fields):$")
SECTION = re.compile(r"[A-Z]\w*:$")
BULLET = re.compile(r"^\s*([-*+]|\d+[.)])\s+")
CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
LINK = re.compile(r"!?\[((?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*)\]\([^)]*\)")
# Only a sentence's last full stop has white space, a quote or a bracket behind it.
END = re.compile(r"(?:(?<!\.)[.!?][\"')\]*_]*|;)(?=\s|$)")
ABBREVIATION = re.compile(
    r"\b(e\.g|i\.e|cf|vs|approx|Sec|Secs|Eq|Eqs|Fig|Figs|Tab|Alg|No|al|ca)\.$"
)


class Paragraph(NamedTuple):
    """A piece of prose that no sentence crosses.

    Attributes:
        line: the number of its first line in the file.
        lines: its lines.
        opens: whether it begins a docstring or a comment.
    """

    line: int
    lines: list[str]
    opens: bool = False


class Violation(NamedTuple):
    """One sentence that breaks a rule: where it stands, which rule, how it begins."""

    path: Path
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.text}"


def paragraphs_of_lines(lines: list[str], line: int) -> Iterator[Paragraph]:
    """Splits lines of plain text or Markdown: headings, list items and quotes stand alone.

    Code, tables and doctests are left out, and indented blocks that follow an empty line.
    """
    block: list[str] = []
    start, fence, after_blank, in_list, in_doctest = line, "", True, False, False
    for number, text in enumerate([*lines, ""], line):
        stripped = text.strip()
        mark = re.match(r"(```+|~~~+)", stripped)
        skipped = bool(fence or mark)
        if mark and (not fence or stripped.startswith(fence)):
            fence = "" if fence else mark[1]
        bullet = BULLET.match(text)
        if not skipped:
            in_doctest = stripped.startswith(">>>") or (in_doctest and bool(stripped))
            in_list = bool(bullet) or (in_list and (not stripped or text[:1] in " \t"))
            preformatted = after_blank and text[:1] in (" ", "\t") and not in_list
            skipped = in_doctest or preformatted or stripped.startswith(("|", "<", "[^"))
            skipped = skipped or bool(re.match(r"\[[^\]]+\]: ", stripped))
        heading = stripped.startswith("#")
        if block and (skipped or not stripped or bullet or heading):
            yield Paragraph(start, block)
            block = []
        # A block of code goes on until a line that is not indented.
        after_blank = not stripped or (skipped and after_blank)
        if skipped or not stripped:
            continue
        if not block:
            start = number
        block.append(re.sub(r"^(#+|>)\s*", "", BULLET.sub("", text, count=1).strip()))
        if heading:
            yield Paragraph(start, block)
            block = []


def docstring_paragraphs(text: str, line: int) -> Iterator[Paragraph]:
    """Splits a docstring, without the items of its sections `Args`, `Attributes` and `Raises`."""
    first, *rest = text.expandtabs().split("\n")
    indents = [len(row) - len(row.lstrip()) for row in rest if row.strip()]
    margin = min(indents, default=0)
    kept, in_items, in_section = [first.strip()], False, False
    for row in rest:
        row = row[margin:]
        if row.strip() and row[:1] != " ":
            in_items = bool(ITEMS.match(row.strip()))
            in_section = bool(SECTION.match(row.strip()))
            # A section's name ends the paragraph before it.
            row = "" if in_section else row
        elif in_items:
            row = ""
        elif in_section:
            row = row.strip()
        kept.append(row)
    for index, paragraph in enumerate(paragraphs_of_lines(kept, line)):
        yield paragraph._replace(opens=index == 0)


def docstrings(tree: ast.Module) -> Iterator[ast.Constant]:
    """Finds every string that stands as a statement: docstrings, and strings below an attribute."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str()) as constant):
                yield constant


def comments(source: str) -> Iterator[Paragraph]:
    """Joins the lines of a comment that stand below each other, and splits the result."""
    block, start, place = [], 0, (0, 0)
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    for token in [*tokens, None]:
        if token is not None and (token.type != tokenize.COMMENT or PRAGMA.match(token.string)):
            continue
        alone = token is not None and not token.line[: token.start[1]].strip()
        if block and (token is None or not alone or token.start != (place[0] + 1, place[1])):
            for index, paragraph in enumerate(paragraphs_of_lines(block, start)):
                yield paragraph._replace(opens=index == 0)
            block = []
        if token is None:
            return
        text = token.string.lstrip("#").removeprefix(" ")
        if alone:
            start = start if block else token.start[0]
            block.append(text)
            place = token.start
        else:
            yield Paragraph(token.start[0], [text.strip()], opens=True)


def paragraphs(path: Path) -> Iterator[Paragraph]:
    """Yields the prose of a Python file, a page of Markdown or a notebook's text cells."""
    source = path.read_text()
    if path.suffix == ".py":
        for constant in docstrings(ast.parse(source)):
            yield from docstring_paragraphs(str(constant.value), constant.lineno)
        yield from comments(source)
    elif path.suffix == ".ipynb":
        for cell in json.loads(source)["cells"]:
            if cell["cell_type"] == "markdown":
                yield from paragraphs_of_lines("".join(cell["source"]).splitlines(), 1)
    else:
        yield from paragraphs_of_lines(source.splitlines(), 1)


def plain(text: str) -> str:
    """Makes a span of code or of math one word, and a link its text."""
    text = CODE.sub("CODE", text)
    text = re.sub(r"\$[^$\n]+\$", "MATH", text)
    return LINK.sub(r"\1", LINK.sub(r"\1", text))


def sentences(text: str) -> Iterator[str]:
    """Splits plain text at full stops, question marks, exclamation marks and semicolons."""
    start = 0
    for end in END.finditer(text):
        if ABBREVIATION.search(text[start : end.end()]) and end.end() < len(text):
            continue
        yield text[start : end.end()].strip()
        start = end.end()
    if text[start:].strip():
        yield text[start:].strip()


def words(sentence: str) -> list[str]:
    """Splits a sentence into its words and numbers: what holds a letter or a digit."""
    return [word for word in sentence.split() if re.search(r"\w", word)]


def check(path: Path) -> list[Violation]:
    """Lists the violations in one file, in the order of their lines."""
    found = []
    for paragraph in paragraphs(path):
        text = plain(" ".join(paragraph.lines))
        for index, sentence in enumerate(sentences(text)):
            tokens = words(sentence)
            beginning = " ".join(tokens[:8])
            if len(tokens) > MOST_WORDS:
                rule = f"{len(tokens)} words"
                found.append(Violation(path, paragraph.line, rule, beginning))
            if (
                paragraph.opens
                and index == 0
                and tokens
                and tokens[0].strip("\"'(,").lower() in OPENINGS
            ):
                found.append(Violation(path, paragraph.line, "opening", beginning))
    return sorted(found, key=lambda violation: violation.line)


def files(path: Path) -> list[Path]:
    """Lists the files with prose in a folder, or a file itself."""
    if path.is_file():
        return [path]
    found = (file for suffix in SUFFIXES for file in path.rglob(f"*{suffix}"))
    hidden = {".venv", "build", "node_modules", "runs"}
    return sorted(
        file
        for file in found
        if not any(part in hidden or part[0] == "." for part in file.relative_to(path).parts)
    )


def main(arguments: list[str] | None = None) -> int:
    """Prints every violation in the files and folders given, and returns 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m tests.helpers.language", description=__doc__)
    parser.add_argument("path", nargs="+", type=Path, help="a file or a folder")
    paths = parser.parse_args(arguments).path
    found = [violation for path in paths for file in files(path) for violation in check(file)]
    for violation in found:
        print(violation)
    print(f"{len(found)} violations", file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
