"""Where the text of a cell lies: in a file, in the folder of a run, or in the argument itself."""

import difflib
import json
import os
import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from nge_jax import files
from nge_jax.errors import GenotypeError

MAX_BYTES = 2**24  # the largest file that is read, a log say
GIVEN = re.compile(r"\s*[\[{(|\ufeff]|.*\b(Genotype|Structure|Configuration)\b *[(:]", re.DOTALL)
SEARCH = r"search-([0-9]{1,18})"  # the name of a search's folder in a study
# A folder's name: of an edge model or a cost weight, and a seed.
MEMBER = r"(?:(\w+)-|cost-([0-9.]+(?:e[+-]?[0-9]+)?)-)?seed-([0-9]{1,18})"


class Source(NamedTuple):
    """Holds a text with a cell.

    Attributes:
        path: the file; "" where the text was given itself.
        text: what the file holds.
        name: which of several cells is meant; "" where the user names none.
    """

    path: str
    text: str
    name: str


def find(given: str, folder: str, known: Collection[str]) -> Source:
    """Finds the text that FILE, FILE:NAME or a run's folder stand for, or takes a text that is given itself.

    Args:
        given: what the user names.
        folder: where a relative path begins, before the current folder is tried.
        known: names of cells, for the message.

    Raises:
        GenotypeError: there is no such file, or it cannot be read.
    """
    path, name = _find_file(os.path.join(folder, given)) if given else ("", "")
    if not path:
        path, name = _find_file(given)
    if not path:
        if GIVEN.match(given):
            return Source("", given, "")
        raise _not_found(given, known)
    if not os.path.isfile(path):
        raise _not_found(path, known)
    try:
        return Source(path, files.read_text(path, MAX_BYTES), name)
    except (OSError, UnicodeDecodeError) as error:
        expected = "expected JSON or Genotype(...)"
        raise GenotypeError(f"{path} cannot be read ({files.reason(error)}), {expected}") from None


def _find_file(given: str) -> tuple[str, str]:
    """Returns the file and the name that FILE, FILE:NAME or a run's folder stand for; "" where there is no file.

    Functions of `os.path` find no file where the text is too long for a path, and `pathlib` raises.
    """
    if os.path.isdir(given):
        path = os.path.join(given, "genotype.json")
        if not os.path.isfile(path):
            _refuse_several(given)
        return path, ""
    if os.path.isfile(given):
        return given, ""
    named = re.fullmatch(r"(.+):(\w+)", given)
    return (named[1], named[2]) if named and os.path.isfile(named[1]) else ("", "")


def _refuse_several(path: str) -> None:
    """Refuses a workdir of several searches or of a study, and names the folders in it that have cells."""
    if folders := _folders_of_several(path):
        begins = {"seed-": "seeds", "cost-": "cost weights"}
        differ = begins.get(os.path.basename(folders[0])[:5], "edge models")
        found = f"searches of several {differ}, expected one"
    elif folders := _folders_of_study(path):
        found = "a study, expected the network or a search in it"
    else:
        return
    raise GenotypeError(f"genotype {json.dumps(path[:200])}: found {found}: {', '.join(folders)}")


def _not_found(given: str, known: Collection[str]) -> GenotypeError:
    folded = {name.casefold(): name for name in known}
    near = [folded[name] for name in difflib.get_close_matches(given.casefold(), folded, n=3)]
    expected = f"random:SEED, a file, Genotype(...) or one of {', '.join(known)}"
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    return GenotypeError(
        f'genotype "{given[:200]}": no such file or known cell, expected {expected}{meant}'
    )


def _folders_of_several(path: str) -> list[str]:
    """Lists the folders in a workdir of several searches that hold a genotype, in order; none in another.

    Their names are those of `workdir.artifacts.Member`.
    """
    found = [re.fullmatch(MEMBER, name) for name in os.listdir(path)]
    ordered = sorted(
        (match[1] or "", float(match[2] or 0), int(match[3]), match[0]) for match in found if match
    )
    return _with_cells(path, [name for *_, name in ordered])


def _folders_of_study(path: str) -> list[str]:
    """Lists the folders in a study's workdir that hold a genotype: the network, then the searches in order."""
    found = [re.fullmatch(SEARCH, name) for name in os.listdir(path)]
    searches = sorted((int(match[1]), match[0]) for match in found if match)
    return _with_cells(path, ["network", *(name for _, name in searches)]) if searches else []


def _with_cells(path: str, names: Sequence[str]) -> list[str]:
    """Returns the paths of those folders in `path` that hold a genotype."""
    folders = [os.path.join(path, name) for name in names]
    return [f for f in folders if os.path.isfile(os.path.join(f, "genotype.json"))]
