"""Sets of photographs, too large for the device: ImageNet, any classification set of TFDS, a folder of images.

Images leave the host as uint8 crops of one size; flip, color jitter and normalization are the device's (`jitter.py`).

The order of an epoch is drawn from (seed, epoch), and an image's crop from (seed, epoch, index). Neither depends on the
number of processes, nor on the step at which a training resumes.
"""

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from nge_jax import files
from nge_jax.data import order as data_order
from nge_jax.data import prepare
from nge_jax.data.photographs import decode, pixels, record_index
from nge_jax.data.photographs import folder as image_folder
from nge_jax.data.photographs.folder import TEST, TRAIN, VALIDATION
from nge_jax.data.photographs.record_index import Records
from nge_jax.data.spec import MOST_CLASSES
from nge_jax.devices import host_tf
from nge_jax.errors import ArgumentError, InputError, arguments_as

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, of pixels in 0..1
FOLDER = "folder:"
HELD_OUT = ("validation", "test", "val")  # the first there is; ImageNet's test labels are secret
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
      validation: encoded images by which the best checkpoint is chosen, or None.
      held_out: the files of `test`, where the seed drew them from a folder.
      notes: lines for the user: what is used, what is left out.
      root: of a folder, its path, else "".
      titles: the names of a folder's splits, where they differ from the usual ones.
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
    validation: Split | None = None
    held_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    root: str = ""
    titles: Mapping[str, str] = {}

    @property
    def splits(self) -> dict[str, Split]:
        """The splits by their names."""
        splits = {TRAIN: self.train, TEST: self.test}
        return splits if self.validation is None else splits | {VALIDATION: self.validation}


def load(
    name: str,
    data_dir: str = "",
    image_size: int = 224,
    *,
    skip_damaged: bool = False,
    seed: int = 0,
    test_fraction: float = 0.2,
    class_names: Sequence[str] | None = None,
) -> ImageSet:
    """Finds a data set's files and examples; reads no image, unless `skip_damaged`.

    Args:
      name: a TFDS classification set such as "imagenet2012" or "imagenette/320px-v2", or "folder:DIR", see
        `data.folder`.
      data_dir: tfds folder; "" means TFDS's own default. A set that needs no account is downloaded there when absent.
      image_size: height and width of the crops.
      skip_damaged: decode every image once, and leave out those that cannot be decoded.
      seed: of a flat folder, decides what is held out.
      test_fraction: of a flat folder, the part of each class that is held out.
      class_names: those of the labels, where a folder's classes are some of them.

    Raises:
      InputError: no such set, it is not one of labeled images, it is neither there nor downloadable, or is damaged.
    """
    if image_size < 1:
        raise ArgumentError("image_size", f"found {image_size}, expected 1 or more")
    held_out: tuple[str, ...] = ()
    notes: list[str] = []
    root, titles = name.removeprefix(FOLDER) if name.startswith(FOLDER) else "", {}
    if name.startswith(FOLDER):
        listing = image_folder.scan(root, seed=seed, test_fraction=test_fraction, names=class_names)
        names, held_out, notes = listing.names, listing.held_out, [*listing.notes]
        titles = listing.titles
        splits = {
            split: Split(record_index.files(part.paths), part.labels, None)
            for split, part in listing.splits.items()
        }
    else:
        names, train, test = _prepared(name, data_dir)
        splits = {TRAIN: train, TEST: test}
    if len(names) > MOST_CLASSES:
        raise ArgumentError("name", f"found {len(names)} classes, expected at most {MOST_CLASSES}")
    if skip_damaged:
        for split, examples in splits.items():
            splits[split], note = _without_damaged(examples, titles.get(split, split))
            notes += note
    return ImageSet(
        num_classes=len(names),
        train_examples=len(splits[TRAIN].records.file),
        test_examples=len(splits[TEST].records.file),
        class_names=names,
        mean=MEAN,
        std=STD,
        image_size=image_size,
        train=splits[TRAIN],
        test=splits[TEST],
        validation=splits.get(VALIDATION),
        held_out=held_out,
        notes=tuple(notes),
        root=os.path.expanduser(root),
        titles=titles,
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

    A batch is (uint8 [b, s, s, 3], int32 [b]). `batch_size` counts the images of all processes, and
    b = batch_size / process_count. Images that do not fill a batch are left out, different ones in each epoch.

    Raises:
      InputError: an image cannot be read or decoded.
    """
    processes = process_index, process_count
    mine, key = data_order.part_of_epoch(
        seed, epoch, image_set.train_examples, batch_size, start_step, *processes
    )

    def crop(encoded, orientation, index):
        return decode.random_crop(encoded, image_set.image_size, (key, index), orientation)

    return _batches(image_set.train, mine.ravel(), mine.shape[1], crop)


def test_batches(
    image_set: ImageSet,
    split: str,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Reads this process's part of the batches of a whole split, "train" or "test": images, labels, mask (bool [b]).

    The images are center crops, in the order of the files. Every process gets equally many batches.
    Padding is masked (black, label 0), and over all processes each example is unmasked exactly once.

    Raises:
      InputError: an image cannot be read or decoded.
    """
    examples = {"train": image_set.train, "test": image_set.test}[split]
    count, part = len(examples.records.file), batch_size // process_count
    steps = -(-count // batch_size)
    order = np.full(steps * batch_size, -1, np.int64)
    order[:count] = np.arange(count)
    mine = np.split(order.reshape(steps, batch_size), process_count, axis=1)[process_index].ravel()

    def crop(encoded, orientation, _):
        return decode.center_crop(encoded, image_set.image_size, orientation)

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
    assert split.features is not None, "records without labels of their own have features"
    _, label = split.features

    def of(start):
        indices = range(start, min(start + READ, len(split.records.file)))
        examples = tf.io.parse_example(record_index.read(split.records, indices), split.features)
        return examples[label].numpy().astype(np.int32)

    # A record holds image and label, and reading all records of a large set waits long for the disk.
    with ThreadPoolExecutor(record_index.THREADS) as pool:
        parts = pool.map(of, range(0, len(split.records.file), READ))
        return np.concatenate([np.zeros(0, np.int32), *parts])


def sample(images: ImageSet, chosen: np.ndarray) -> np.ndarray:
    """Reads the test's crops of the training images `chosen`, indices [N]: uint8 [N, s, s, 3]."""
    part = images._replace(test=subset(images.train, chosen), test_examples=len(chosen))
    return np.concatenate([pixels[mask] for pixels, _, mask in test_batches(part, "test", READ)])


def subset(split: Split, chosen: np.ndarray) -> Split:
    """Takes some examples of a split, by their indices or by a mask."""
    return split._replace(
        records=record_index.subset(split.records, chosen),
        labels=None if split.labels is None else split.labels[chosen],
    )


def _without_damaged(split, title):
    """Decodes all images of a split: (the split without those that are damaged, a line about them if there are any)."""
    intact, damaged = _intact(split)
    count = len(intact.records.file)
    if not count:
        raise ArgumentError("name", f"all images of {title} are damaged")
    if not damaged:
        return intact, []
    total = len(damaged) + count
    line = f"{len(damaged):,} of the {total:,} images of {title}, such as {damaged[0]}"
    return intact, [f"warning: damaged and skipped: {line}"]


def _intact(split):
    """Decodes all images: (the split without those that are damaged, the names of these)."""

    def is_intact(start):
        indices = range(start, min(start + READ, len(split.records.file)))
        return [_damage(split, index) is None for index in indices]

    with ThreadPoolExecutor(record_index.THREADS) as pool:
        groups = pool.map(is_intact, range(0, len(split.records.file), READ))
        intact = np.array([one for group in groups for one in group], bool)
    names = [record_index.name(split.records, index) for index in np.flatnonzero(~intact).tolist()]
    return subset(split, intact), names


def _damage(split, index):
    """Returns the refusal of an example's image, or None if it can be read."""
    tf = host_tf.tensorflow()
    try:
        (data,) = encoded_images(split, [index])
        pixels.check(data)
        if data.startswith(pixels.JPEG):  # TensorFlow decodes JPEGs and refuses a few more than PIL
            tf.io.decode_jpeg(pixels.for_tensorflow(data)[0])
    except (*pixels.UNREADABLE, tf.errors.InvalidArgumentError) as error:
        return pixels.refused(record_index.name(split.records, index), error)
    return None


def _batches(split, indices, batch_size, crop):
    """Yields (uint8 [b, s, s, 3], int32 [b]) of the examples `indices` in this order, the last batch perhaps short."""
    tf = host_tf.tensorflow()

    def parsed(indices, data):
        if split.labels is not None:
            return data, tf.gather(split.labels, indices), indices
        image, label = split.features
        examples = tf.io.parse_example(data, split.features)
        return examples[image], tf.cast(examples[label], tf.int32), indices

    def for_decode(images):
        data, orientations = zip(*map(pixels.for_tensorflow, images), strict=True)
        return np.array(data, object), np.array(orientations, np.int32)

    def oriented(images, labels, indices):
        data, orientations = tf.numpy_function(for_decode, [images], (tf.string, tf.int32))
        shaped = (tf.ensure_shape(a, indices.shape) for a in (data, orientations))
        return *shaped, labels, indices

    # There is no Python control flow to translate.
    as_it_is = tf.autograph.experimental.do_not_convert
    data = record_index.encoded(split.records, indices, READ)
    data = data.map(as_it_is(parsed), num_parallel_calls=tf.data.AUTOTUNE)
    data = data.map(as_it_is(oriented), num_parallel_calls=tf.data.AUTOTUNE).unbatch()
    data = data.map(
        as_it_is(lambda image, orientation, label, index: (crop(image, orientation, index), label)),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    done = 0
    try:
        for batch in data.batch(batch_size).prefetch(2).as_numpy_iterator():
            yield batch
            done += 1
    except tf.errors.OpError as error:
        # TensorFlow does not name the damaged image, but it is one of the next.
        for index in indices[done * batch_size :]:
            if gone := record_index.gone(split.records, index):
                raise gone from error
            damage = _damage(split, index)
            if damage is not None:
                raise InputError(
                    f"{damage.reason}; config.data.skip_damaged=True leaves such images out"
                ) from error
        reason = files.reason(error)
        raise InputError(f"cannot read an image ({reason})") from error


def _prepared(name, data_dir):
    """Finds (class names, training split, held-out split) of a TFDS set."""
    builder = prepare.builder(name, data_dir)
    import tensorflow_datasets as tfds

    info, features = builder.info, builder.info.features
    keys = prepare.image_and_label(builder, name)
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
