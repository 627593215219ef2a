"""PASCAL VOC 2012's segmentation task as batches: prepared and read by TFDS, augmented in threads.

A devkit with classes of its own gives the same batches, read from its files, see `own`; TensorFlow is not imported.

The order of an epoch is drawn from (seed, epoch). An image's scale, crop and flip are drawn from
(seed, epoch, index). Neither depends on the number of processes, nor on the step at which a training
resumes.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from nge_jax import files
from nge_jax.data import order as data_order
from nge_jax.data import prepare
from nge_jax.data.host import ahead
from nge_jax.data.photographs import record_index
from nge_jax.data.photographs.batches import MEAN
from nge_jax.data.photographs.record_index import Records
from nge_jax.data.spec import Inventory
from nge_jax.data.voc_segmentation import augment as voc_augment
from nge_jax.data.voc_segmentation import devkit, masks, user_masks
from nge_jax.data.voc_segmentation.user_masks import Example, Listed
from nge_jax.devices import host_tf
from nge_jax.errors import ArgumentError, InputError, arguments_as

READ = 16  # records read by one call from TensorFlow into Python


class VocDataset(NamedTuple):
    """A data set; it trains on train_aug, SBD's of VOC, where the folder had it, else on train.

    Attributes:
      class_names: in the order of the numbers.
      train_split: name of the split to train on.
      train_examples: number of its images.
      test_examples: number of images of val.
      train: where the encoded examples to train on lie; of a folder with classes of its own the examples.
      test: where those of val lie.
      features: of TFDS; they decode an example. Of own classes None.
      notes: lines for the user.
      inventory: of a folder with classes of its own.
    """

    class_names: tuple[str, ...]
    train_split: str
    train_examples: int
    test_examples: int
    train: Records | Listed
    test: Records | Listed
    features: Any
    notes: tuple[str, ...] = ()
    inventory: Inventory | None = None


class TestBatch(NamedTuple):
    """Whole images, padded at the right and the bottom; the last batch of a split is filled up.

    Attributes:
      images: uint8 [B, H, W, 3].
      masks: class numbers, uint8 [B, H, W], 255 in the padding.
      ids: B names, "" in the filling.
      sizes: int32 [B, 2], height and width before the padding, 0 in the filling.
    """

    images: np.ndarray
    masks: np.ndarray
    ids: list[str]
    sizes: np.ndarray


def load(folder: str = "", data_dir: str = "", known: Sequence[str] | None = None) -> VocDataset:
    """Opens a folder with classes of its own, else VOC's prepared data set, made of a VOCdevkit the first time.

    Args:
      folder: VOCdevkit, see `devkit`; only read. Of VOC's classes not needed once the data set is prepared.
      data_dir: tfds folder to prepare it in; "" means TFDS's own default.
      known: classes of a network, where a folder's own may be some of them, in any order.

    Raises:
      InputError: nothing prepared and no folder, the folder is refused, or what is prepared was made
        of another one; or of other classes than `known`.
    """
    names = devkit.own_classes(devkit.find(folder)) if folder else None
    if names is not None:
        return _own(user_masks.open_folder(devkit.find(folder), names, known))
    if known is not None and tuple(known) != devkit.CLASSES:
        raise ArgumentError(
            "folder",
            f"found VOC's {len(devkit.CLASSES)} classes, expected {', '.join(known)} ({masks.OWN})",
        )
    return _open_prepared(folder, data_dir)


def _open_prepared(folder: str, data_dir: str) -> VocDataset:
    """Opens VOC's prepared data set, and prepares it first if necessary."""
    prepare.tensorflow_datasets("PASCAL VOC 2012", "folder" if folder else "data_dir")
    from nge_jax.data.voc_segmentation.voc_segmentation_dataset_builder import Builder

    with prepare.quietly():
        builder = Builder(data_dir=data_dir or None)
        if not builder.is_prepared():
            _prepare(builder, folder)
            builder = Builder(data_dir=data_dir or None)  # finds what is there now
        elif folder:
            _check_origin(builder, folder)
    splits = builder.info.splits
    name = devkit.TRAIN_AUG if devkit.TRAIN_AUG in splits else devkit.TRAIN
    with arguments_as(paths="data_dir"):
        train, test = (
            record_index.tfrecords([str(p) for p in splits[n].filepaths], splits[n].shard_lengths)
            for n in (name, devkit.VAL)
        )
    data = VocDataset(
        class_names=devkit.CLASSES,
        train_split=name,
        train_examples=len(train.file),
        test_examples=len(test.file),
        train=train,
        test=test,
        features=builder.info.features,
    )
    return data._replace(notes=_check_classes(data, builder.data_dir))


def _own(found):
    return VocDataset(
        class_names=found.names,
        train_split=found.train_split,
        train_examples=len(found.train.examples),
        test_examples=len(found.test.examples),
        train=found.train,
        test=found.test,
        features=None,
        notes=found.notes,
        inventory=found.inventory,
    )


def _check_classes(data, where):
    """Refuses masks to train on of fewer than two classes, and masks to test on of none; names classes not tested."""
    seen = _find_labels(data.train, data.train_examples, data.features, 2)
    user_masks.check_classes(where, data.train_split, seen, devkit.CLASSES)
    tested = _find_labels(data.test, data.test_examples, data.features, len(devkit.CLASSES))
    user_masks.check_tested(where, tested)
    return tuple(user_masks.describe_absent(devkit.VAL, tested, devkit.CLASSES))


def _find_labels(records, count, features, enough):
    """Returns the labels that masks have; reads on only until it has seen so many classes."""
    import tensorflow_datasets as tfds

    seen, no_image = set(), {"image": tfds.decode.SkipDecoding()}
    examples = _decoded(records, features, np.arange(count), no_image)
    for _, example in examples.as_numpy_iterator():
        seen |= set(np.unique(example["mask"]).tolist())
        if len(seen - {devkit.IGNORE}) >= enough:
            break
    return seen


def train_batches(
    data: VocDataset,
    seed: int,
    epoch: int,
    batch_size: int,
    start_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    *,
    crop: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Reads an epoch's batches from `start_step` on: images uint8 [B, crop, crop, 3], masks uint8 [B, crop, crop].

    `batch_size` counts the images of all processes, B the images of this one. Images that do not fill a
    batch are left out, different ones in each epoch. Each process has its part of every batch.

    Raises:
      InputError: an example that was there cannot be read any more.
    """
    processes = process_index, process_count
    mine, key = data_order.part_of_epoch(
        seed, epoch, data.train_examples, batch_size, start_step, *processes
    )
    indices, part = mine.ravel(), mine.shape[1]

    def augmented(example):
        image, mask = example.image, example.mask
        return voc_augment.augment(
            image, mask, np.array([key, example.index]), crop=crop, mean=MEAN
        )

    examples = _examples(data.train, data.features, indices, augmented, 2 * part)
    while batch := list(itertools.islice(examples, part)):
        images, masks = zip(*batch, strict=True)
        yield np.stack(images), np.stack(masks)


def test_batches(
    data: VocDataset, batch_size: int, size: int, process_index: int = 0, process_count: int = 1
) -> Iterator[TestBatch]:
    """Reads this process's part of the validation split, in the order of its files, padded to `size` pixels.

    `batch_size` counts the images of all processes, B = batch_size / process_count. Every process gets
    equally many batches, and exactly one process gets each image.

    Raises:
      ArgumentError: an image is larger.
      InputError: an example that was there cannot be read any more.
    """
    steps, part = -(-data.test_examples // batch_size), batch_size // process_count
    order = np.arange(steps * batch_size).reshape(steps, process_count, part)[:, process_index]
    mine = order[order < data.test_examples]
    examples = _examples(data.test, data.features, mine, lambda example: example, part)
    for _ in range(steps):
        batch = TestBatch(
            images=np.tile(voc_augment.padding_color(MEAN), (part, size, size, 1)),
            masks=np.full((part, size, size), devkit.IGNORE, np.uint8),
            ids=[""] * part,
            sizes=np.zeros((part, 2), np.int32),
        )
        for place, example in enumerate(itertools.islice(examples, part)):
            height, width = example.mask.shape[:2]
            _check_fits(example.id, height, width, size)
            batch.images[place, :height, :width] = example.image
            batch.masks[place, :height, :width] = example.mask[..., 0]
            batch.ids[place] = example.id
            batch.sizes[place] = height, width
        yield batch


def check_test_size(data: VocDataset, size: int) -> None:
    """Raises ArgumentError if an image of the validation split is larger than `size`; decodes none."""
    if isinstance(data.test, Listed):
        for image in user_masks.sizes(data.test):
            _check_fits(*image, size)
        return
    tf = host_tf.tensorflow()
    import tensorflow_datasets as tfds

    as_bytes = {"image": tfds.decode.SkipDecoding(), "mask": tfds.decode.SkipDecoding()}
    examples = _decoded(data.test, data.features, np.arange(data.test_examples), as_bytes)
    for _, example in examples.as_numpy_iterator():
        height, width = tf.image.extract_jpeg_shape(example["image"])[:2].numpy()
        _check_fits(example["id"].decode(), height, width, size)


def _check_fits(name, height, width, size):
    if max(height, width) > size:
        raise ArgumentError(
            "size",
            f"found {size}, expected {max(height, width)} or more for the "
            f"image {name} of {width}x{height} pixels",
        )


def _examples(records, features, indices, function, most):
    """Yields a function's results of the examples `indices` in this order, at most so many ahead."""
    if isinstance(records, Listed):
        return ahead.in_order(
            lambda index: function(user_masks.read(records, index)), indices, most
        )
    return ahead.in_order(function, _read(records, features, indices), most)


def _decoded(records, features, indices, decoders=None):
    """Makes a tf.data.Dataset of (index, decoded example): the records `indices` in this order."""
    tf = host_tf.tensorflow()

    def decoded(index, example):
        return index, features.deserialize_example(example, decoders=decoders)

    # There is no Python control flow to translate.
    decoded = tf.autograph.experimental.do_not_convert(decoded)
    data = record_index.encoded(records, indices, READ).unbatch()
    return data.map(decoded, num_parallel_calls=tf.data.AUTOTUNE)


def _read(records, features, indices):
    """Yields the examples `indices` of a TFDS set; names the one that cannot be read."""
    tf = host_tf.tensorflow()
    try:
        for index, example in _decoded(records, features, indices).as_numpy_iterator():
            name = example["id"].decode()
            yield Example(int(index), name, example["image"], example["mask"])
    except tf.errors.OpError as error:
        for index in indices:
            if gone := record_index.gone(records, index):
                raise gone from error
        reason = files.reason(error)
        raise InputError(f"cannot read an example of {records.paths[0]} ({reason})") from error


def _prepare(builder, folder):
    import tensorflow_datasets as tfds

    if not folder:
        raise ArgumentError(
            "data_dir",
            f"no prepared voc_segmentation in {builder.data_dir}, expected one, or "
            "`folder` to name a VOCdevkit folder to make it of",
            "folder",
        )
    devkit.examples(devkit.find(folder))  # refuses a folder before anything is written
    tfds.disable_progress_bar()  # a run says by itself how long it reads, and a refusal stands on its own line
    config = tfds.download.DownloadConfig(manual_dir=str(devkit.find(folder)))
    try:
        builder.download_and_prepare(download_config=config)
    except OSError as error:
        # Each process of a run prepares it: on one disk the first is done, the others find its folder there.
        if not builder.is_prepared():
            raise ArgumentError(
                "data_dir",
                f"voc_segmentation cannot be prepared in {builder.data_dir} ({files.reason(error)})",
            ) from error


def _check_origin(builder, folder):
    """Refuses a folder that lists other numbers of images than what is prepared has."""
    listed = devkit.examples(devkit.find(folder))
    expected = {split: len(examples) for split, examples in listed.items()}
    prepared = {name: split.num_examples for name, split in builder.info.splits.items()}
    if prepared != expected:
        raise ArgumentError(
            "data_dir",
            f"{builder.data_dir} was prepared of another VOCdevkit, or before SBD was there: "
            f"it has {prepared}, "
            f"expected {expected} as {folder}; choose another folder",
        )
