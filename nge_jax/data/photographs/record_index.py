"""Random access to the records of a data set's files, without reading what is not asked for.

TFRecord files are made to be read from their beginning to their end. The 12 bytes before each record (length and
checksum) are read once, to find where it lies. From then on an epoch may take the records in any order and start
anywhere. Each process reads only its part. A folder with a file for each image is indexed in the same way.
"""

import errno
import os
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from nge_jax.data.photographs import pixels
from nge_jax.devices import host_tf
from nge_jax.errors import ArgumentError, InputError

# Length of the data, checksum of the length; the data and its checksum follow.
HEADER = struct.Struct("<QI")
FOOTER_BYTES = 4
THREADS = 32  # they wait for the disk, or for a file server
# The system reports these errors when a disk or a folder has been taken away.
AWAY = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.EIO, errno.ENOTCONN, errno.ETIMEDOUT)


class Records(NamedTuple):
    """Says where N records lie: record i is `length[i]` bytes from `offset[i]` of the file `paths[file[i]]`.

    Attributes:
      paths: names of the files.
      file: int32 [N], which of them holds a record.
      offset: int64 [N], in bytes from the file's beginning.
      length: int64 [N], in bytes; -1 for all there are.
    """

    paths: tuple[str, ...]
    file: np.ndarray
    offset: np.ndarray
    length: np.ndarray


def files(paths: Sequence[str]) -> Records:
    """Takes each file for a record."""
    count = len(paths)
    return Records(
        paths=tuple(paths),
        file=np.arange(count, dtype=np.int32),
        offset=np.zeros(count, np.int64),
        length=np.full(count, -1, np.int64),
    )


def tfrecords(paths: Sequence[str], counts: Sequence[int]) -> Records:
    """Finds the records of TFRecord files, of which file i should have `counts[i]`.

    Raises:
      ArgumentError: a file is absent, cut off, or has another number of records.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        spans = list(pool.map(_spans, paths, counts))
    file = np.repeat(np.arange(len(paths), dtype=np.int32), counts)
    offset, length = np.concatenate(spans, axis=1) if spans else np.zeros([2, 0], np.int64)
    return Records(paths=tuple(paths), file=file, offset=offset, length=length)


def read(records: Records, indices: Sequence[int]) -> list[bytes]:
    """Reads the bytes of the records `indices`.

    Raises:
      OSError: a file cannot be read; its `filename` is that file's.
    """
    contents = []
    for index in indices:
        path = records.paths[records.file[index]]
        try:
            contents.append(_read(path, records.offset[index], records.length[index]))
        except OSError as error:
            # Some errors of the system name no file, and among many files the name is what the user needs.
            raise OSError(error.errno, error.strerror, path) from error
    return contents


def _read(path, offset, length):
    if length < 0:
        return pixels.read_bytes(path)
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        content = file.read(length)
    if len(content) < length:
        raise OSError(errno.EIO, "the file is cut off")
    return content


def gone(records: Records, index: int) -> InputError | None:
    """Returns the refusal of a record that was there when the data set was opened and is no more; else None."""
    try:
        read(records, [index])
    except OSError as error:
        # A link that leads nowhere may have been so from the beginning.
        if error.errno not in AWAY or os.path.islink(records.paths[records.file[index]]):
            return None
        return InputError(
            f"{name(records, index)}: {error.strerror}, expected the data that was there when the run began; when it "
            "is back the same command goes on from the newest checkpoint"
        )
    return None


def name(records: Records, index: int) -> str:
    """Names a record for a message: its file, or its place in the file."""
    path = records.paths[records.file[index]]
    if records.length[index] < 0:
        return path
    first = int(np.argmax(records.file == records.file[index]))
    return f"record {index - first} of {path}"


def subset(records: Records, chosen: np.ndarray) -> Records:
    """Takes some records, by their indices or by a mask."""
    return records._replace(
        file=records.file[chosen], offset=records.offset[chosen], length=records.length[chosen]
    )


def _spans(path, count):
    """Walks through a file from header to header: offsets and lengths of its records, int64 [2, count]."""
    spans, at = [], 0
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise ArgumentError("paths", f"cannot read {path} ({error.strerror})") from error
    try:
        end = os.fstat(file).st_size
        while at < end and len(spans) <= count:
            header = os.pread(file, HEADER.size, at)
            # A header cut off counts as a record that ends beyond the file.
            length = HEADER.unpack(header)[0] if len(header) == HEADER.size else end
            spans.append((at + HEADER.size, length))
            at += HEADER.size + length + FOOTER_BYTES
    finally:
        os.close(file)
    if at != end or len(spans) != count:
        raise ArgumentError(
            "paths", f"{path} is damaged, expected {count} records in its {end} bytes"
        )
    return np.array(spans, np.int64).reshape(-1, 2).T


def encoded(records: Records, indices: np.ndarray, at_once: int) -> Any:
    """Makes a tf.data.Dataset of (indices [n], bytes [n]): the records in this order, n = `at_once` by one call."""
    tf = host_tf.tensorflow()

    def read_all(indices):
        return np.array(read(records, indices), object)

    def with_bytes(indices):
        data = tf.numpy_function(read_all, [indices], tf.string)
        return indices, tf.ensure_shape(data, indices.shape)

    # There is no Python control flow to translate.
    as_it_is = tf.autograph.experimental.do_not_convert
    data = tf.data.Dataset.from_tensor_slices(indices.astype(np.int64)).batch(at_once)
    return data.map(as_it_is(with_bytes), num_parallel_calls=tf.data.AUTOTUNE)
