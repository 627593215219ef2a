"""Says where a training's batches come from: arrays that live on the devices, or files read as it goes.

Both serve the same loop. An epoch is divided into spans (first step, step after the last), one for each dispatch. For
each span a source gives the arguments of the phase, `(batches, start, stop)`.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from nge_jax.data import order as data_order
from nge_jax.data import small
from nge_jax.data.folders import inventory
from nge_jax.data.photographs import batches as imagenet
from nge_jax.data.photographs.split import read_labels, subset
from nge_jax.data.spec import LARGE, MASKS, SMALL, DatasetSpec, Inventory
from nge_jax.data.voc_segmentation import batches as voc
from nge_jax.devices import parallel
from nge_jax.devices.parallel import Batches

Span = tuple[int, int]
# images uint8 [B, H, W, C], labels int32 [B], mask bool [B]: False for padding
MaskedBatch = tuple[np.ndarray, np.ndarray, np.ndarray]
STREAMED_AXES = (0, 0)  # images and labels, whose rows are steps


class Source(NamedTuple):
    """A data set in the hands of this process.

    Attributes:
      spec: what the network has to know of it.
      examples: {"train": ..., "validation": ..., "test": ...}; validation images are held out from training.
      axes: the axes of the batches' arrays that are divided among the devices, see `parallel`.
      batch_at: `(batches, i) -> the batch of row i`, inside a compiled phase.
      epoch: `(epoch, spans) -> iterator of (batches, start, stop)`; the order follows from (seed, epoch).
      held_out: `(split, batch_size) -> iterator of MaskedBatch`, "validation" or "test", each example once;
        `segmented` gives an iterator of TestBatch.
      notes: lines for the user: what of the data is used, what is left out.
      drawn: the test's files, where they were drawn by a seed.
      inventory: recognizes a user's own images.
      train_labels: `() -> int32 [N]`, the labels of the images to train on; `segmented` has none.
      train_sample: `count -> uint8 [count or fewer, H, W, C]`, images to train on as the test reads them; likewise.
    """

    spec: DatasetSpec
    examples: dict[str, int]
    axes: Any
    batch_at: Callable
    epoch: Callable[[int, Sequence[Span]], Iterator[tuple[Any, int, int]]]
    held_out: Callable[[str, int], Iterator[Any]]
    notes: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()
    inventory: Inventory | None = None
    train_labels: Callable[[], np.ndarray] = functools.partial(np.zeros, 0, np.int32)
    train_sample: Callable[[int], np.ndarray] = lambda count: np.zeros((0, 1, 1, 3), np.uint8)


def gathered(batches: Batches, first: int, last: int, steps: int) -> Batches:
    """Puts only the images that the steps first..last-1 use on every device, as a smaller data set.

    Args:
      batches: on the host.
      first: a row of the indices.
      last: the row after the last.
      steps: rows of the result, of which fewer may be used; another shape would compile the program anew.
    """
    used = batches.indices[:, first:last]
    local, _, part = used.shape
    places = np.zeros((local, steps, part), np.int32)
    places[:, : last - first] = np.arange(used.size).reshape(used.shape)
    images = np.zeros((local * steps * part, *batches.images.shape[1:]), np.uint8)
    labels = np.zeros(len(images), np.int32)
    images[: used.size] = batches.images[used.ravel()]
    labels[: used.size] = batches.labels[used.ravel()]
    images, labels = parallel.replicated((images, labels))
    return Batches(images, labels, places)


def resident(
    data: small.ArrayDataset,
    labels: tuple[str, ...],
    *,
    seed: int,
    validation: int,
    batch_size: int,
    kind: str = SMALL,
    stream: int = 0,
    numbered: bool = False,
    halves: tuple[np.ndarray, np.ndarray] | None = None,
) -> Source:
    """Puts all training images on every device; a step's batch is a row of indices into them.

    Args:
      data: with its test split.
      labels: names of the classes.
      seed: of the run; it decides which images are held out, and the order of the others.
      validation: number of training images held out; 0 where the set has validation images of its own.
      batch_size: of all devices and processes together.
      kind: of the network, SMALL or LARGE.
      stream: 0, or the most images a dispatch gets, if a device cannot hold all: only the images of its steps.
      numbered: whether a batch has the number of each image behind its labels; not where they stream.
      halves: the training images to train on, and the training images held out; None: `validation` decides.
    """
    train, held_out = halves or _hold_out(len(data.train_images), validation, seed)
    held_out_sets = _held_out_sets(data, held_out)

    @functools.cache
    def on_devices():
        return parallel.replicated((data.train_images, data.train_labels))

    def epoch(number, spans):
        steps = len(train) // batch_size
        order = train[data_order.epoch_order(seed, number, len(train), steps, batch_size)]
        order = parallel.by_device(order)
        if stream:
            batches = Batches(data.train_images, data.train_labels, order)
            return ((gathered(batches, a, b, stream), 0, b - a) for a, b in spans)
        train_images, train_labels = on_devices()
        batches = Batches(train_images, train_labels, order)
        return ((batches, first, last) for first, last in spans)

    def evaluation_batches(split, batch_size):
        images, labels, rows = held_out_sets[split]
        return masked_batches(images, labels, rows, batch_size)

    return Source(
        spec=DatasetSpec(kind, data.train_images.shape[1:], data.mean, data.std, labels),
        examples={"train": len(train)} | {name: len(r) for name, (*_, r) in held_out_sets.items()},
        axes=parallel.BATCHES_AXES,
        batch_at=parallel.numbered_batch_at if numbered else parallel.batch_at,
        epoch=epoch,
        held_out=evaluation_batches,
        notes=data.notes,
        drawn=data.held_out,
        inventory=data.inventory,
        train_labels=lambda: data.train_labels[train],
        train_sample=lambda n: data.train_images[train[data_order.evenly_spaced(len(train), n)]],
    )


def _held_out_sets(data: small.ArrayDataset, held_out: np.ndarray) -> dict[str, Any]:
    """Returns images, labels and the rows of them to validate and to test on.

    `held_out` are rows of the training images. These images may be a file, of which a batch is read at a time.
    """
    validated = data.train_images, data.train_labels, held_out
    if data.validation_images is not None:
        validated = _whole(data.validation_images, data.validation_labels)
    return {"validation": validated, "test": _whole(data.test_images, data.test_labels)}


def _whole(images, labels):
    return images, labels, np.arange(len(labels))


def streamed(
    images: imagenet.ImageSet,
    *,
    seed: int,
    validation: int,
    batch_size: int,
    steps_per_dispatch: int,
) -> Source:
    """Reads a dispatch's batches while the devices work on those before, and sends them as one stack.

    Args:
      images: the set.
      seed: of the run; it decides which images are held out, and order and crops of the others.
      validation: number of training images held out; 0 where the set has validation images of its own.
      batch_size: of all devices and processes together.
      steps_per_dispatch: how many batches a stack has room for.
    """
    processes = jax.process_index(), jax.process_count()
    found = inventory.take(images.root, images.splits, images.class_names)
    train, held_out = _hold_out(images.train_examples, validation, seed)
    validated = images.validation or subset(images.train, held_out)
    # Each set that can be evaluated stands in the place of the test split.
    held_out_sets = {
        "validation": images._replace(test=validated, test_examples=len(validated.records.file)),
        "test": images,
    }
    images = images._replace(train=subset(images.train, train), train_examples=len(train))

    def epoch(number, spans):
        batches = imagenet.train_batches(images, seed, number, batch_size, spans[0][0], *processes)
        return _dispatches(batches, spans, steps_per_dispatch)

    def evaluation_batches(split, batch_size):
        return imagenet.test_batches(held_out_sets[split], "test", batch_size, *processes)

    shape = images.image_size, images.image_size, 3
    examples = {name: image_set.test_examples for name, image_set in held_out_sets.items()}
    return Source(
        spec=DatasetSpec(LARGE, shape, images.mean, images.std, images.class_names),
        examples={"train": len(train)} | examples,
        axes=STREAMED_AXES,
        batch_at=_streamed_batch_at,
        epoch=epoch,
        held_out=evaluation_batches,
        notes=images.notes,
        drawn=images.held_out,
        inventory=found,
        train_labels=lambda: read_labels(images.train),
        train_sample=lambda n: imagenet.sample(images, data_order.evenly_spaced(len(train), n)),
    )


def segmented(
    data: voc.VocDataset,
    *,
    seed: int,
    batch_size: int,
    steps_per_dispatch: int,
    crop: int,
    test_size: int,
) -> Source:
    """Does the same with images and their masks; the test split's batches are `voc.TestBatch`.

    Args:
      data: the set.
      seed: of the run; it decides the order and the augmentation.
      batch_size: of all devices and processes together.
      steps_per_dispatch: how many batches a stack has room for.
      crop: pixels of a side of a training image.
      test_size: pixels of a side to which whole test images are padded.
    """
    processes = jax.process_index(), jax.process_count()

    def epoch(number, spans):
        start = spans[0][0]
        batches = voc.train_batches(data, seed, number, batch_size, start, *processes, crop=crop)
        return _dispatches(batches, spans, steps_per_dispatch)

    shape = test_size, test_size, 3
    return Source(
        spec=DatasetSpec(MASKS, shape, imagenet.MEAN, imagenet.STD, data.class_names),
        examples={"train": data.train_examples, "validation": 0, "test": data.test_examples},
        axes=STREAMED_AXES,
        batch_at=_streamed_batch_at,
        epoch=epoch,
        held_out=lambda _, batch_size: voc.test_batches(data, batch_size, test_size, *processes),
        notes=data.notes,
        inventory=data.inventory,
    )


def _streamed_batch_at(batches, i):
    images, labels = batches
    return images[i], labels[i]


def _dispatches(batches, spans, steps_per_dispatch):
    """Yields for each span its batches as one stack, its first row and the row after its last."""
    local = jax.local_device_count()

    def stacked(arrays):
        """Stacks batches: [local devices, steps per dispatch, B / devices, ...].

        A shorter dispatch is filled with zeros, because another shape would compile the program anew.
        """
        stack = np.zeros((steps_per_dispatch, *arrays[0].shape), arrays[0].dtype)
        np.stack(arrays, out=stack[: len(arrays)])
        return stack.reshape(len(stack), local, -1, *stack.shape[2:]).swapaxes(0, 1)

    for first, last in spans:
        rows = list(itertools.islice(batches, last - first))
        yield parallel.divided(tuple(map(stacked, zip(*rows, strict=True)))), 0, last - first


def _hold_out(count, validation, seed):
    """Divides the indices of `count` training images: those to train on, those held out."""
    if not validation:
        return np.arange(count, dtype=np.int32), np.empty(0, np.int32)
    return data_order.split(count, 1 - validation / count, seed)


def masked_batches(
    images: np.ndarray, labels: np.ndarray, rows: np.ndarray, batch_size: int
) -> Iterator[MaskedBatch]:
    """Yields this process's part of batches of the examples at `rows`; the last batch is padded.

    `batch_size` is of all processes.
    """
    part = batch_size // jax.process_count()
    for start in range(0, len(rows), batch_size):
        index = np.arange(start, start + batch_size)[jax.process_index() * part :][:part]
        mask = index < len(rows)
        index = rows[np.where(mask, index, 0)]
        yield images[index], labels[index], mask
