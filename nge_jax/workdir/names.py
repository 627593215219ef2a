"""Names that a user gave, of classes and files, as lines and pictures show them."""

import re
import unicodedata
from collections.abc import Sequence

SHOWN = 8  # names in a line
# Control characters, separators of lines, and halves of surrogate pairs: no terminal, SVG or font has a form for them.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
# Python reads a byte that is not UTF-8 as one of these halves: the byte and this.
BYTE = 0xDC00


def printable(name: str) -> str:
    r"""Writes what cannot be shown as an escape: the byte E9 of a name in Latin-1 as \xe9."""
    return UNPRINTABLE.sub(_escape, name)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - BYTE:02x}" if BYTE + 0x80 <= code <= BYTE + 0xFF else ascii(match[0])[1:-1]


def shortened(name: str, longest: int) -> str:
    """Fits a name into a picture: printable, of at most so many characters."""
    name = printable(name)
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def listed(names: Sequence[str], most: int = SHOWN) -> str:
    """Joins the first names of some: "ant, bee and 3 more"."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(printable, names[:most])) + more


def composed(name: str) -> str:
    """Returns a name in the Unicode form that most systems write; another looks the same and is other bytes."""
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """Returns what names have in common that differ by their Unicode form, by capital letters or by blanks."""
    return " ".join(composed(name).casefold().split())
