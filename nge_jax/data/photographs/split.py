"""The encoded examples of a split: image files and their labels, or records of a TFDS set, which hold both."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from nge_jax.data.photographs import pixels, record_index
from nge_jax.data.photographs.record_index import Records
from nge_jax.devices import host_tf
from nge_jax.errors import ArgumentError, InputError

READ = 64  # records read by one call
SKIP = "config.data.skip_damaged=True leaves such images out"


class Split(NamedTuple):
    """The encoded examples of a split.

    Attributes:
      records: where the N examples lie.
      labels: int32 [N], or None where the records are tf.train.Examples, which hold image and label.
      features: of such Examples the two keys, image and label, with their specifications.
    """

    records: Records
    labels: np.ndarray | None
    features: dict[str, Any] | None


def encoded_images(split: Split, indices: Sequence[int]) -> list[bytes]:
    """Reads the images' bytes of some examples.

    Raises:
      OSError: a file cannot be read.
    """
    data = record_index.read(split.records, indices)
    if split.features is None or not data:
        return data
    image, _ = split.features
    return list(host_tf.tensorflow().io.parse_example(data, split.features)[image].numpy())


def read_labels(split: Split) -> np.ndarray:
    """Reads the labels of all examples, int32 [N]."""
    if split.labels is not None:
        return split.labels
    tf = host_tf.tensorflow()
    assert split.features is not None, "records that hold their labels have features"
    _, label = split.features

    def of(start):
        indices = range(start, min(start + READ, len(split.records.file)))
        examples = tf.io.parse_example(record_index.read(split.records, indices), split.features)
        return examples[label].numpy().astype(np.int32)

    # The images lie beside the labels: a large set is a long time of waiting for the disk.
    with ThreadPoolExecutor(record_index.THREADS) as pool:
        parts = pool.map(of, range(0, len(split.records.file), READ))
        return np.concatenate([np.zeros(0, np.int32), *parts])


def subset(split: Split, chosen: np.ndarray) -> Split:
    """Takes some examples of a split, by their indices or by a mask."""
    return split._replace(
        records=record_index.subset(split.records, chosen),
        labels=None if split.labels is None else split.labels[chosen],
    )


def intact(split: Split) -> tuple[Split, list[str]]:
    """Decodes all images; returns the split without those that are damaged, and the names of these."""

    def is_intact(start):
        indices = range(start, min(start + READ, len(split.records.file)))
        return [damage(split, index) is None for index in indices]

    with ThreadPoolExecutor(record_index.THREADS) as pool:
        groups = pool.map(is_intact, range(0, len(split.records.file), READ))
        chosen = np.array([one for group in groups for one in group], bool)
    names = [record_index.name(split.records, index) for index in np.flatnonzero(~chosen).tolist()]
    return subset(split, chosen), names


def damage(split: Split, index: int) -> ArgumentError | None:
    """Decodes the image of an example; returns its refusal, or None if it can be read."""
    try:
        (data,) = encoded_images(split, [index])
        pixels.check(data)
    except pixels.UNREADABLE as error:
        return pixels.refused(record_index.name(split.records, index), error)
    # TensorFlow decodes the JPEGs of records, and refuses a little more.
    if split.features is None or not data.startswith(pixels.JPEG):
        return None
    tf = host_tf.tensorflow()
    try:
        tf.io.decode_jpeg(pixels.for_tensorflow(data)[0])
    except (*pixels.UNREADABLE, tf.errors.InvalidArgumentError) as error:
        return pixels.refused(record_index.name(split.records, index), error)
    return None


def refusal(split: Split, index: int, error: Exception) -> InputError | None:
    """Says why an example could not be used: its file is gone, or its image is damaged; None if neither is so.

    Args:
      split: of the example.
      index: of the example.
      error: what was raised as it was read or decoded.
    """
    if gone := record_index.gone(split.records, index):
        return gone
    if isinstance(error, pixels.UNREADABLE):
        refused = pixels.refused(record_index.name(split.records, index), error)
    else:
        refused = damage(split, index)
    return None if refused is None else InputError(f"{refused.reason}; {SKIP}")
