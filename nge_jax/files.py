"""Files that a user names, read whole: only regular ones, and none beyond all sense.

A pipe would wait for a writer for ever, a device has no end, and a file of gigabytes takes the memory before it is
refused.
"""

import codecs
import errno
import io
import os
import re
import stat
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

TEXT_BYTES = 64 * 2**20  # more than any text that a run writes or reads
IMAGE_BYTES = 2**30
START_BYTES = 4096  # of a file, by which its kind is told
LONGEST_REASON = 200  # characters of what a library says


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
        while part := file.read(most):
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
    """Reads arrays of an .npz file, none of Python objects: those of these names, or all.

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
    except Exception as error:  # of any kind: numpy and zipfile trust that the file is not damaged
        pickled = isinstance(error, ValueError) and "allow_pickle" in str(error)
        found = f"Python objects as the array {name}" if pickled else f"the array {name} damaged"
        raise ValueError(found) from error


def _kind(start):
    """Says what a file is that is no archive, by its first bytes."""
    if not start:
        return "an empty file"
    if start.startswith(b"PK\3\4"):
        return "an archive that is cut off or damaged"
    if start.startswith(np.lib.format.MAGIC_PREFIX):
        return "an array alone, as of an .npy file"
    try:  # which may end within a character
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
    """Says in words why a file cannot be read, for a message that names the file: no codec, errno or address in memory.

    Args:
      error: an OSError, or what a reader of the content raises.
    """
    if isinstance(error, UnicodeDecodeError):
        return "bytes that are no text in UTF-8"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = re.sub(" at 0x[0-9a-fA-F]+", "", str(error))  # of an object in memory
    return " ".join(text.split())[:LONGEST_REASON]


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a whole file or, if killed, none: the old one stays until the new one is on disk.

    What UTF-8 has no form for, a byte of a file's name say, is written as an escape, which JSON reads back.
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
