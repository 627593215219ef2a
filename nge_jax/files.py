"""Files that a user names, read and written whole.

Only regular files are read, and only up to a limit. A pipe would wait for a writer for ever, and a device has no end.
A file of gigabytes would take the memory before it could be refused.
"""

import codecs
import contextlib
import errno
import io
import os
import re
import stat
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from nge_jax.errors import ArgumentError

TEXT_BYTES = 64 * 2**20  # more than any text that a run writes or reads
IMAGE_BYTES = 2**30
START_BYTES = 4096  # the start of a file tells the kind of file
LONGEST_REASON = 200  # characters of a library's message
UNFINISHED = ".nge-"  # `whole_output` writes in folders with this prefix


def read_bytes(path: str | Path, most: int) -> bytes:
    """Reads a file of at most `most` bytes.

    Raises:
      OSError: it cannot be read, is larger, or is no regular file (nor a link to one).
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"found {size:,} bytes, expected at most {most:,}")
        parts = []
        # Reading allocates all the memory asked for: ask for the file's size, and a little more to find the end.
        while part := file.read(max(size + 1, START_BYTES)):
            parts.append(part)
    return b"".join(parts)


def read_text(path: str | Path, most: int = TEXT_BYTES) -> str:
    """Reads a file of UTF-8, with or without a byte order mark.

    Raises:
      OSError: as of `read_bytes`.
      UnicodeDecodeError: it is not UTF-8.
    """
    return read_bytes(path, most).decode("utf-8-sig")


def read_arrays(path: str | Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Reads the arrays `names` of an .npz file, or all; arrays of Python objects are refused.

    Raises:
      OSError: it cannot be read, or is no regular file (nor a link to one).
      ValueError: it is no such archive, a damaged one, or lacks a name; the message is what was found.
    """
    with open_regular(path) as file:
        start = file.read(START_BYTES)
        try:
            archive = zipfile.ZipFile(file)
        except zipfile.BadZipFile:
            raise ValueError(_kind(start)) from None
        arrays = {}
        with archive:
            for entry in archive.namelist():
                name = entry.removesuffix(".npy")
                if names is not None and name not in names:
                    continue
                if name == entry:
                    raise ValueError(f"{entry}, which is no array")
                arrays[name] = _read_array(archive, name)
    for name in names or ():
        if name not in arrays:
            raise ValueError(f"no array {name}")
    return arrays


def _read_array(archive, name):
    try:
        with archive.open(f"{name}.npy") as member:
            return np.lib.format.read_array(member, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # numpy and zipfile trust the file: damage raises any error
        pickled = isinstance(error, ValueError) and "allow_pickle" in str(error)
        found = f"Python objects as the array {name}" if pickled else f"the array {name} damaged"
        raise ValueError(found) from error


def _kind(start):
    """Says from the first bytes what kind of file it is, if it is no archive."""
    if not start:
        return "an empty file"
    if start.startswith(b"PK\3\4"):
        return "an archive that is cut off or damaged"
    if start.startswith(np.lib.format.MAGIC_PREFIX):
        return "an array alone, as of an .npy file"
    try:  # the start may end within a character
        text = codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        text = "\0"
    return "a file of another kind" if "\0" in text else "a text"


def open_regular(path: str | Path) -> io.FileIO:
    """Opens a file to read its bytes, unbuffered.

    Raises:
      OSError: it cannot be read, or is no regular file (nor a link to one).
    """
    # Without O_NONBLOCK opening a pipe waits for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return io.FileIO(descriptor)
    os.close(descriptor)
    raise OSError(errno.EINVAL, "found a pipe, a device or a folder, expected a file")


def reason(error: Exception) -> str:
    """Says in words why a file cannot be read, without codec, errno or address; the message names the file.

    Args:
      error: an OSError, or an error of a reader of the content.
    """
    if isinstance(error, UnicodeDecodeError):
        return "bytes that are no text in UTF-8"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = re.sub(" at 0x[0-9a-fA-F]+", "", str(error))  # the address of an object
    return " ".join(text.split())[:LONGEST_REASON]


def is_text(path: Path) -> bool:
    """Whether a path is text in UTF-8 from the root on; Orbax reads and writes no other."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        return False
    return True


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a whole file or, if killed, none: the old one stays until the new one is on disk.

    Text that UTF-8 cannot encode, such as a byte of a file's name, is written as an escape, which JSON reads back.
    """
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    new = half_written(path)
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def half_written(path: Path) -> Path:
    """Returns the name under which `write_atomically` writes a file."""
    return path.with_name(path.name + ".new")


def check_new(path: Path) -> None:
    """Refuses an output path where something is: no earlier result is overwritten.

    An empty file may be there, since nothing is lost with it.

    Raises:
      ArgumentError: of the argument `output`.
    """
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    if not (stat.S_ISREG(found.st_mode) and found.st_size == 0):
        raise ArgumentError("output", f"{path} exists and is not overwritten, expected a new name")


@contextlib.contextmanager
def whole_output(path: Path) -> Iterator[Path]:
    """Yields where to write the file or folder that becomes `path` when the context ends.

    After an error nothing of the output is there. A folder `path` may exist before; the new files are added to it.

    Raises:
      ArgumentError: of the argument `output`: `path` exists or cannot be written, or the disk is full.
    """
    if path.is_dir():
        beside = path
    else:
        check_new(path)
        beside = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        # The temporary folder is closed to others, so the output is made within it.
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=beside) as folder:
            new = Path(folder) / "output"
            yield new
            path.parent.mkdir(parents=True, exist_ok=True)
            _move(new, path)
    except OSError as error:
        raise ArgumentError("output", f"{path} cannot be made ({reason(error)})") from error


def _move(new, path):
    """Moves a file, or the contents of a folder, to a place where none of these files exists."""
    if new.is_dir() and path.is_dir():
        for entry in sorted(new.iterdir()):
            _move(entry, path / entry.name)
        return
    check_new(path)
    if new.is_file():
        with new.open("rb") as file:
            os.fsync(file.fileno())
    new.rename(path)
