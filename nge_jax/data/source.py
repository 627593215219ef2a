"""Where a training's batches come from: arrays that live on the devices, or files read as it goes.

Both serve the same loop. An epoch is divided into spans (first step, step after the last), one for each dispatch;
for each a source gives what the phase takes, `(batches, start, stop)`.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from nge_jax.data import order as data_order
from nge_jax.data import small
from nge_jax.data.imagenet import batches as imagenet
from nge_jax.data.spec import LARGE, MASKS, SMALL, DatasetSpec
from nge_jax.data.voc_segmentation import batches as voc
from nge_jax.data.voc_segmentation import devkit
from nge_jax.runtime import parallel
from nge_jax.runtime.parallel import Batches

Span = tuple[int, int]
MaskedBatch = tuple[np.ndarray, np.ndarray, np.ndarray]
STREAMED_AXES = (0, 0)  # of images and labels, whose rows are steps


class Source(NamedTuple):
    """A data set in the hands of this process.

    Attributes:
      spec: what the network has to know of it.
      examples: {"train": ..., "validation": ..., "test": ...}; validation images are held out from training.
      axes, row: how a phase takes the batches, see `parallel`.
      epoch: `(epoch, spans) -> iterator of (batches, start, stop)`; the order follows from (seed, epoch).
      held_out: `(split, batch_size) -> iterator of MaskedBatch`, "validation" or "test", each example once;
        of `segmented` an iterator of TestBatch.
    """

    spec: DatasetSpec
    examples: dict[str, int]
    axes: Any
    row: Callable
    epoch: Callable[[int, Sequence[Span]], Iterator[tuple[Any, int, int]]]
    held_out: Callable[[str, int], Iterator[MaskedBatch | voc.TestBatch]]


def resident(
    data: small.Dataset, labels: tuple[str, ...], *, seed: int, validation: int, batch_size: int
) -> Source:
    """All training images on every device; a step's batch is a row of indices into them."""
    train, held_out = _hold_out(len(data.train_images), validation, seed)
    held_out_sets = {
        "validation": (data.train_images[held_out], data.train_labels[held_out]),
        "test": (data.test_images, data.test_labels),
    }

    @functools.cache
    def on_devices():
        return parallel.replicated((data.train_images, data.train_labels))

    def epoch(number, spans):
        steps = len(train) // batch_size
        order = train[data_order.epoch_order(seed, number, len(train), steps, batch_size)]
        batches = Batches(*on_devices(), parallel.by_device(order))
        return ((batches, first, last) for first, last in spans)

    return Source(
        DatasetSpec(SMALL, data.train_images.shape[1:], data.mean, data.std, labels),
        {"train": len(train)} | {name: len(y) for name, (_, y) in held_out_sets.items()},
        parallel.BATCHES_AXES,
        parallel.row,
        epoch,
        lambda split, batch_size: masked_batches(*held_out_sets[split], batch_size),
    )


def streamed(
    images: imagenet.ImageSet,
    *,
    seed: int,
    validation: int,
    batch_size: int,
    steps_per_dispatch: int,
) -> Source:
    """A dispatch's batches are read while the devices work on those before, and sent as one stack."""
    processes = jax.process_index(), jax.process_count()
    train, held_out = _hold_out(images.train_examples, validation, seed)
    # What can be evaluated stands where the test split stands.
    held_out_sets = {
        "validation": images._replace(
            test=_subset(images.train, held_out), test_examples=len(held_out)
        ),
        "test": images,
    }
    images = images._replace(train=_subset(images.train, train), train_examples=len(train))

    def epoch(number, spans):
        batches = imagenet.train_batches(images, seed, number, batch_size, spans[0][0], *processes)
        return _dispatches(batches, spans, steps_per_dispatch)

    def batches_of(split, batch_size):
        return imagenet.test_batches(held_out_sets[split], "test", batch_size, *processes)

    shape = (images.image_size, images.image_size, 3)
    return Source(
        DatasetSpec(LARGE, shape, images.mean, images.std, images.class_names),
        {"train": len(train)} | {name: s.test_examples for name, s in held_out_sets.items()},
        STREAMED_AXES,
        _streamed_row,
        epoch,
        batches_of,
    )


def segmented(
    data: voc.Dataset,
    *,
    seed: int,
    batch_size: int,
    steps_per_dispatch: int,
    crop: int,
    test_size: int,
) -> Source:
    """The same of images and their masks; the test split's batches are `voc.TestBatch`."""
    processes = jax.process_index(), jax.process_count()

    def epoch(number, spans):
        start = spans[0][0]
        batches = voc.train_batches(data, seed, number, batch_size, start, *processes, crop=crop)
        return _dispatches(batches, spans, steps_per_dispatch)

    return Source(
        DatasetSpec(MASKS, (test_size, test_size, 3), imagenet.MEAN, imagenet.STD, devkit.CLASSES),
        {"train": data.train_examples, "validation": 0, "test": data.test_examples},
        STREAMED_AXES,
        _streamed_row,
        epoch,
        lambda split, batch_size: voc.test_batches(data, batch_size, test_size, *processes),
    )


def _streamed_row(batches, i):
    images, labels = batches
    return images[i], labels[i]


def _dispatches(batches, spans, steps_per_dispatch):
    """For each span its batches as one stack, its first row and the row after its last."""
    local = jax.local_device_count()

    def stacked(arrays):
        """[local devices, steps per dispatch, B / devices, ...]; a shorter dispatch leaves zeros, not a new shape."""
        stack = np.zeros((steps_per_dispatch, *arrays[0].shape), arrays[0].dtype)
        np.stack(arrays, out=stack[: len(arrays)])
        return stack.reshape(len(stack), local, -1, *stack.shape[2:]).swapaxes(0, 1)

    for first, last in spans:
        rows = list(itertools.islice(batches, last - first))
        yield parallel.divided(tuple(map(stacked, zip(*rows, strict=True)))), 0, last - first


def _hold_out(count, validation, seed):
    """Indices of `count` training images: those to train on, those held out."""
    if not validation:
        return np.arange(count, dtype=np.int32), np.empty(0, np.int32)
    return data_order.split(count, 1 - validation / count, seed)


def _subset(split, index):
    """Some examples of an ImageSet's split."""
    records = split.records
    part = records._replace(
        file=records.file[index], offset=records.offset[index], length=records.length[index]
    )
    return split._replace(
        records=part, labels=None if split.labels is None else split.labels[index]
    )


# images uint8 [B, H, W, C], labels int32 [B], mask bool [B]: False for padding


def masked_batches(
    images: np.ndarray, labels: np.ndarray, batch_size: int
) -> Iterator[MaskedBatch]:
    """This process's part of batches of all examples; `batch_size` is of all processes. The last is padded."""
    part = batch_size // jax.process_count()
    for start in range(0, len(images), batch_size):
        index = np.arange(start, start + batch_size)[jax.process_index() * part :][:part]
        mask = index < len(images)
        index = np.where(mask, index, 0)
        yield images[index], labels[index], mask
