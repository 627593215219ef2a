"""Sets of photographs, too large for the device: ImageNet, any classification set of TFDS, a folder of images.

Images leave the host as uint8 crops of one size; flip, color jitter and normalization are the device's (`jitter.py`).

An epoch's order is a permutation drawn from (seed, epoch), the crop of an image from (seed, epoch, its index): neither
depends on the number of processes, nor on where in the epoch a training resumes.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nge_jax.data import order as data_order
from nge_jax.data import prepare, record_index
from nge_jax.data.imagenet import decode
from nge_jax.data.record_index import Records
from nge_jax.errors import ArgumentError, InputError, arguments_as
from nge_jax.runtime import host_tf

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of pixels in 0..1
FOLDER = "folder:"
HELD_OUT = ("validation", "test", "val")  # the first there is; ImageNet's test labels are secret
FORMATS = (".jpg", ".jpeg", ".png")  # those that tfds.folder_dataset.ImageFolder takes
READ = 64  # records read by one call from TensorFlow into Python


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


class ImageSet(NamedTuple):
    """A data set of images of any size, to be cropped.

    Attributes:
      num_classes: how many labels there are.
      train_examples: number of images to train on.
      test_examples: number of images held out.
      class_names: num_classes names, in the order of the labels.
      mean: per channel, of pixels in 0..1.
      std: per channel, of pixels in 0..1.
      image_size: pixels of a side of the crops.
      train: the encoded images to train on.
      test: the encoded images held out.
    """

    num_classes: int
    train_examples: int
    test_examples: int
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int
    train: Split
    test: Split


def load(name: str, data_dir: str = "", image_size: int = 224) -> ImageSet:
    """Finds a data set's files and examples; reads no image.

    Args:
      name: a TFDS classification set such as "imagenet2012" or "imagenette/320px-v2", or "folder:DIR" for images in
        DIR/train/CLASS/ and DIR/val/CLASS/ (or DIR/validation, DIR/test), JPEG or PNG.
      data_dir: tfds folder; "" means TFDS's own default. A set that needs no account is downloaded there when absent.
      image_size: height and width of the crops.

    Raises:
      InputError: no such set, it is not one of labeled images, it is neither there nor downloadable, or is damaged.
    """
    if image_size < 1:
        raise ArgumentError("image_size", f"found {image_size}, expected 1 or more")
    if name.startswith(FOLDER):
        names, train, test = _folder(name.removeprefix(FOLDER))
    else:
        names, train, test = _prepared(name, data_dir)
    counts = len(train.records.file), len(test.records.file)
    return ImageSet(
        num_classes=len(names),
        train_examples=counts[0],
        test_examples=counts[1],
        class_names=names,
        mean=MEAN,
        std=STD,
        image_size=image_size,
        train=train,
        test=test,
    )


def train_batches(
    image_set: ImageSet,
    seed: int,
    epoch: int,
    batch_size: int,
    start_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Reads this process's part of an epoch's batches from `start_step` on, cropped at random (paper Sec. 4.2).

    `batch_size` is that of all processes, b = batch_size / process_count: (uint8 [b, s, s, 3], int32 [b]). Images that
    do not fill a batch are left out, others in each epoch.

    Raises:
      InputError: an image cannot be read or decoded.
    """
    processes = process_index, process_count
    mine, key = data_order.part_of_epoch(
        seed, epoch, image_set.train_examples, batch_size, start_step, *processes
    )

    def crop(encoded, index):
        return decode.random_crop(encoded, image_set.image_size, (key, index))

    return _batches(image_set.train, mine.ravel(), mine.shape[1], crop)


def test_batches(
    image_set: ImageSet,
    split: str,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Reads this process's part of the batches of a whole split, "train" or "test": images, labels, mask (bool [b]).

    The images are center crops, in the order of the files. Every process gets as many batches as the others; what fills
    them up is masked (black, label 0), and over all processes each example is unmasked once.

    Raises:
      InputError: an image cannot be read or decoded.
    """
    examples = {"train": image_set.train, "test": image_set.test}[split]
    count, part = len(examples.records.file), batch_size // process_count
    steps = -(-count // batch_size)
    order = np.full(steps * batch_size, -1, np.int64)
    order[:count] = np.arange(count)
    mine = np.split(order.reshape(steps, batch_size), process_count, axis=1)[process_index].ravel()

    def crop(encoded, _):
        return decode.center_crop(encoded, image_set.image_size)

    # The examples come before the padding, so that only the last batches are short, or empty.
    filled = _batches(examples, mine[mine >= 0], part, crop)
    size = image_set.image_size
    nothing = np.zeros([0, size, size, 3], np.uint8), np.zeros(0, np.int32)
    for images, labels in itertools.islice(
        itertools.chain(filled, itertools.repeat(nothing)), steps
    ):
        mask = np.arange(part) < len(labels)
        rest = (0, part - len(labels))
        yield np.pad(images, (rest, (0, 0), (0, 0), (0, 0))), np.pad(labels, rest), mask


def _batches(split, indices, batch_size, crop):
    """Yields (uint8 [b, s, s, 3], int32 [b]) of the examples `indices` in this order, the last batch perhaps short."""
    tf = host_tf.tensorflow()

    def parsed(indices, data):
        if split.labels is not None:
            return data, tf.gather(split.labels, indices), indices
        image, label = split.features
        examples = tf.io.parse_example(data, split.features)
        return examples[image], tf.cast(examples[label], tf.int32), indices

    # There is no Python control flow to translate.
    as_it_is = tf.autograph.experimental.do_not_convert
    data = record_index.encoded(split.records, indices, READ)
    data = data.map(as_it_is(parsed), num_parallel_calls=tf.data.AUTOTUNE).unbatch()
    data = data.map(
        as_it_is(lambda image, label, index: (crop(image, index), label)),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    try:
        yield from data.batch(batch_size).prefetch(2).as_numpy_iterator()
    except tf.errors.OpError as error:
        reason = " ".join(error.message.split())[:200]
        where = Path(split.records.paths[0]).parent
        raise InputError(f"cannot read an image of {where} ({reason})") from error


def _prepared(name, data_dir):
    """Finds (class names, training split, held-out split) of a TFDS set."""
    builder = prepare.builder(name, data_dir)
    import tensorflow_datasets as tfds

    info, features = builder.info, builder.info.features
    keys: Any = info.supervised_keys or ()
    kinds = [type(features[key]) for key in keys if isinstance(key, str)]
    if kinds != [tfds.features.Image, tfds.features.ClassLabel]:
        raise ArgumentError(
            "name", f"{name} has {keys or 'nothing'} to learn, expected images and class labels"
        )
    if info.file_format != tfds.core.FileFormat.TFRECORD:
        raise ArgumentError(
            "data_dir",
            f"{builder.data_dir} has the format {info.file_format.value}, expected tfrecord",
        )
    specs = features.tf_example_spec

    def split(name):
        info = builder.info.splits[name]
        paths = [str(path) for path in info.filepaths]
        with arguments_as(paths="data_dir"):
            records = record_index.tfrecords(paths, info.shard_lengths)
        return Split(records, None, {key: specs[key] for key in keys})

    train, held_out = _split_names(info.splits, builder.data_dir)
    return tuple(features[keys[1]].names), split(train), split(held_out)


def _folder(root):
    """Finds (class names, training split, held-out split) of a folder of images."""
    host_tf.tensorflow()
    import tensorflow_datasets as tfds

    root = Path(root).expanduser()
    if not root.is_dir():
        raise ArgumentError("name", f"found no folder {root}, expected folder:DIR")
    info = tfds.folder_dataset.ImageFolder(str(root)).info
    features: Any = info.features
    names = tuple(features["label"].names)

    def split(name):
        paths, labels = [], []
        for label, class_name in enumerate(names):
            images = sorted((root / name / class_name).glob("*"))
            images = [str(path) for path in images if path.suffix.lower() in FORMATS]
            paths += images
            labels += [label] * len(images)
        return Split(record_index.files(paths), np.array(labels, np.int32), None)

    train, held_out = _split_names(info.splits, root)
    return names, split(train), split(held_out)


def _split_names(splits, where):
    """Chooses the names of the training and the held-out split."""
    held_out = [name for name in HELD_OUT if name in splits]
    if "train" not in splits or not held_out:
        raise ArgumentError(
            "name",
            f"found the splits {', '.join(splits) or 'none'} in {where}, "
            f"expected train and one of {', '.join(HELD_OUT)}",
        )
    return "train", held_out[0]
