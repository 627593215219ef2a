"""Files that a user names, read whole: only regular ones, and none beyond all sense.

A pipe would wait for a writer for ever, a device has no end, and a file of gigabytes takes the memory before it is
refused.
"""

import errno
import os
import re
import stat
from pathlib import Path

TEXT_BYTES = 64 * 2**20  # more than any text that a run writes or reads
IMAGE_BYTES = 2**30
LONGEST_REASON = 200  # characters of what a library says


def read_bytes(path: str | Path, most: int) -> bytes:
    """Reads a file of at most `most` bytes.

    Raises:
      OSError: it cannot be read, is larger, or is no regular file (nor a link to one).
    """
    # Without O_NONBLOCK opening a pipe waits for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0) as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "found a pipe, a device or a folder, expected a file")
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"found {status.st_size:,} bytes, expected at most {most:,}")
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
