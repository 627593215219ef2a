"""The names of a devkit's own classes: a text file beside JPEGImages, in line i the name of class i.

`labels.txt`, or `class_names.txt` as labelme's converter writes it. Class 0 is as a rule the background. A first line
`__ignore__`, as in labelme's list, names no class: it stands for the pixels marked 255.
"""

from pathlib import Path

from nge_jax import files
from nge_jax.errors import InputError

FILES = ("labels.txt", "class_names.txt")
MOST = 255  # 255 itself marks pixels without a label
UNLABELED = "__ignore__"
LONGEST = 100  # characters of a name


def find(root: Path) -> Path | None:
    """Finds the file of names in a folder; None where it has none."""
    return next((root / name for name in FILES if (root / name).exists()), None)


def read(root: Path) -> tuple[str, ...] | None:
    """Reads the names of the classes, in the order of their numbers; None where a folder has no file of them.

    Raises:
      InputError: it cannot be read, has an empty line between others, a name twice, fewer than two, or too many; or two
        files differ.
    """
    names = [_read(root / name) for name in FILES if (root / name).exists()]
    if len(set(names)) > 1:
        raise InputError(f"{root}: {' and '.join(FILES)} differ, expected one of them")
    return names[0] if names else None


def _read(file):
    try:
        lines = [line.strip() for line in files.read_text(file).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read ({files.reason(error)})") from error
    while lines and not lines[-1]:
        lines.pop()
    if lines and lines[0] == UNLABELED:
        del lines[0]
    for number, name in enumerate(lines):
        found = None
        if not name:
            found = "an empty line"  # all names below would be those of other numbers
        elif not name.isprintable() or len(name) > LONGEST:
            found = ascii(name[:LONGEST])
        elif name in lines[:number]:
            found = f"{name} once more"
        if found is not None:
            raise InputError(f"{file}: found {found} for class {number}, expected a name")
    if not 2 <= len(lines) <= MOST:
        raise InputError(f"{file}: found {len(lines)} names, expected 2 to {MOST} lines of one")
    return tuple(lines)
