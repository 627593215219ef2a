"""Classification sets that TFDS has prepared: found, and read by a pipeline of TensorFlow's."""

from collections.abc import Iterator

import numpy as np

from nge_jax import files
from nge_jax.data import prepare
from nge_jax.data.photographs import decode, pixels, record_index
from nge_jax.data.photographs.split import READ, Split, refusal
from nge_jax.devices import host_tf
from nge_jax.errors import ArgumentError, InputError, arguments_as

HELD_OUT = ("validation", "test", "val")  # the first there is; ImageNet's test labels are secret


def find(name: str, data_dir: str) -> tuple[tuple[str, ...], Split, Split]:
    """Finds the class names, the training split and the held-out split of a TFDS set.

    Raises:
      ArgumentError: as of `prepare.builder`, or it is not one of labeled images.
    """
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


def batches(
    examples: Split, indices: np.ndarray, batch_size: int, size: int, key: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields crops and labels of the examples `indices` in this order; arguments as of `batches.crops`.

    Raises:
      InputError: an image cannot be read or decoded.
    """
    tf = host_tf.tensorflow()
    # There is no Python control flow to translate.
    as_it_is = tf.autograph.experimental.do_not_convert

    @as_it_is
    def cropped(image, orientation, label, index):
        if key is None:
            return decode.center_crop(image, size, orientation), label
        return decode.random_crop(image, size, (key, index), orientation), label

    data = _decodable(examples, indices, tf, as_it_is)
    data = data.map(cropped, num_parallel_calls=tf.data.AUTOTUNE)
    done = 0
    try:
        for batch in data.batch(batch_size).prefetch(2).as_numpy_iterator():
            yield batch
            done += 1
    except tf.errors.OpError as error:
        # TensorFlow does not say which image it was; it is one of the next.
        for index in indices[done * batch_size :]:
            if refused := refusal(examples, index, error):
                raise refused from error
        reason = files.reason(error)
        raise InputError(f"cannot read an image ({reason})") from error


def _decodable(examples, indices, tf, as_it_is):
    """Makes a tf.data.Dataset of (image as `decode` takes it, orientation, label, index)."""

    @as_it_is
    def parsed(indices, data):
        image, label = examples.features
        found = tf.io.parse_example(data, examples.features)
        return found[image], tf.cast(found[label], tf.int32), indices

    def for_decode(images):
        data, orientations = zip(*map(pixels.for_tensorflow, images), strict=True)
        return np.array(data, object), np.array(orientations, np.int32)

    @as_it_is
    def oriented(images, labels, indices):
        data, orientations = tf.numpy_function(for_decode, [images], (tf.string, tf.int32))
        shaped = (tf.ensure_shape(a, indices.shape) for a in (data, orientations))
        return *shaped, labels, indices

    data = record_index.encoded(examples.records, indices, READ)
    for function in (parsed, oriented):
        data = data.map(function, num_parallel_calls=tf.data.AUTOTUNE)
    return data.unbatch()
