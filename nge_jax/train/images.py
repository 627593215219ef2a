"""The images of a training: this module opens them, and chooses from them the values that the config leaves open."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from nge_jax.data import choose, order, prepare, resized, small, user_images
from nge_jax.data.folders import copies, inventory
from nge_jax.data.npz import Arrays
from nge_jax.data.photographs import batches as imagenet
from nge_jax.data.photographs import pixels
from nge_jax.data.photographs.batches import ImageSet
from nge_jax.data.photographs.split import Split
from nge_jax.data.source import Source, resident, streamed
from nge_jax.data.spec import LARGE, SMALL
from nge_jax.data.user_images import UserImages
from nge_jax.errors import InputError, arguments_as
from nge_jax.settings import checks
from nge_jax.settings.configs import has_user_images

# The auxiliary head needs images of at least this side: it pools 8x8 pixels after two reductions, 7x7 after five.
AUXILIARY_SIZES = {SMALL: 32, LARGE: 224}
DATA_KEYS = {
    "name": "config.data.name",
    "data_dir": "config.data.dir",
    "image_size": "config.data.image_size",
    "test_fraction": "config.data.test_fraction",
    "mean": "config.data.mean",
    "std": "config.data.std",
    "images": "config.data.name",
    "channels": "config.data.channels",
}
# Mean and standard deviation are computed from this many images.
MEAN_SAMPLE = 1024


def resolve(config: ConfigDict, path: Path | None = None) -> tuple[ConfigDict, UserImages | None]:
    """Chooses the values that a config leaves open as 0, see `data.choose.resolve`."""
    return choose.resolve(config, path, open_user_images, _choose)


def _choose(config: ConfigDict, images: UserImages) -> dict[str, int]:
    """Chooses, where the config leaves them open: the images' size and channels, the batch size, the epochs."""
    chosen, size, epochs = {}, config.train.batch_size, config.train.epochs
    side = config.data.image_size
    if not side:
        chosen["data.image_size"] = side = user_images.image_size(images.side)
    if not config.data.channels:
        large = user_images.has_large_stem(config.network.stem, side)
        chosen["data.channels"] = 3 if large else images.channels
    count = config.train.images_per_epoch or images.count("train") - config.data.validation
    if not size:
        chosen["train.batch_size"] = size = user_images.batch_size(count, config.train.accumulate)
    if not epochs:
        chosen["train.epochs"] = user_images.epochs(count // size, 3000, 10, 200)
    return chosen


def has_large_stem(config: ConfigDict) -> bool:
    """Tells whether ImageNet's network is trained on a user's own images, not CIFAR's."""
    return user_images.has_large_stem(config.network.stem, config.data.image_size)


def open_source(
    config: ConfigDict, labels: Sequence[str] | None = None, opened: UserImages | None = None
) -> Source:
    """Opens the data set that a checked config names.

    Args:
      config: the training's config.
      labels: the network's classes, if the folder's classes may be a part of them.
      opened: a user's own images, if `open_user_images` has opened them already.

    Raises:
      InputError: the data set is unknown, cannot be found or downloaded, or is too small for the config.
    """
    name, folder = config.data.name, config.data.dir
    if has_user_images(config) and has_large_stem(config) and config.data.channels == 1:
        raise InputError(
            "config.data.channels: found 1, expected 3: ImageNet's network, by config.network.stem or for images from "
            f"{user_images.LARGE_FROM} pixels on, is trained on colors"
        )
    options = {
        "seed": config.seed,
        "validation": config.data.validation,
        "batch_size": config.train.batch_size,
    }
    if name in small.NUM_CLASSES:
        with arguments_as(**DATA_KEYS):
            data = small.load(name, folder, test=True)
        _check_validation(config, len(data.train_images))
        source = resident(data, data.labels, numbered=alternates(config), **options)
    elif has_user_images(config) and (
        name.startswith(user_images.NPZ) or not has_large_stem(config)
    ):
        images = opened or open_user_images(config, labels)
        images = images._replace(
            notes=(*images.notes, *_copies(images.parts, images.images, labels))
        )
        source = _open_resident(config, images, options)
    else:
        source = _open_streamed(config, labels, opened, options)
    if len(source.spec.labels) < 2:
        raise InputError(f"config.data.name: {name} has one class, expected two or more")
    _check_images(config, source)
    return source


def open_user_images(config: ConfigDict, labels: Sequence[str] | None = None) -> UserImages:
    """Opens a user's own images; reads only sizes and colors. Arguments and errors: see `open_source`."""
    with arguments_as(**DATA_KEYS):
        return user_images.open_images(
            config.data.name,
            config.data.dir,
            channels=config.data.channels,
            **_loading(config, labels),
        )


def describe(
    config: ConfigDict, opened: UserImages | None = None
) -> tuple[str, tuple[int, int, int], int]:
    """Returns the kind and the shape of an image and the number of classes, from which a network is made.

    A data set that TFDS knows need not be on this machine.

    Args:
      config: the training's resolved config.
      opened: a user's own images, if `open_user_images` has opened them already.

    Raises:
      InputError: there is no such data set, or it is refused.
    """
    name, size = config.data.name, config.data.get("image_size")
    if name in small.SHAPES:
        return SMALL, small.SHAPES[name], small.NUM_CLASSES[name]
    if opened is not None or name.startswith((imagenet.FOLDER, user_images.NPZ)):
        spec = open_source(config, opened=opened).spec
        return spec.kind, spec.shape, len(spec.labels)
    with arguments_as(**DATA_KEYS):
        found = prepare.describe(name, config.data.dir)
    is_small = has_user_images(config) and not has_large_stem(config)
    channels = config.data.channels or found.channels if is_small else 3
    return SMALL if is_small else LARGE, (size, size, channels), found.num_classes


def _loading(config: ConfigDict, labels: Sequence[str] | None) -> dict[str, Any]:
    return {
        "skip_damaged": config.data.skip_damaged,
        "seed": config.data.split_seed,
        "test_fraction": config.data.test_fraction,
        "class_names": labels,
    }


def _open_resident(config: ConfigDict, images: UserImages, options: dict[str, Any]) -> Source:
    """Reads a user's own images; each is resized once."""
    large = has_large_stem(config)
    channels = config.data.channels or (3 if large else images.channels)
    with arguments_as(**DATA_KEYS):
        data = resized.load(
            images._replace(channels=channels),
            config.data.image_size,
            mean=config.data.mean,
            std=config.data.std,
            test=True,
            budget_gb=config.data.device_budget_gb,
        )
    _check_validation(
        config, len(data.train_images), has_validation=data.validation_images is not None
    )
    too_many = data.train_images.nbytes > config.data.device_budget_gb * resized.GIGABYTE
    stream = config.run.steps_per_dispatch if too_many else 0
    kind = LARGE if large else SMALL
    return resident(data, data.labels, kind=kind, stream=stream, **options)


def _open_streamed(
    config: ConfigDict,
    labels: Sequence[str] | None,
    opened: UserImages | None,
    options: dict[str, Any],
) -> Source:
    """Opens photographs, which are cropped at random when a batch is read."""
    size = config.data.image_size
    with arguments_as(**DATA_KEYS):
        if opened is not None and opened.images is not None:
            images = opened.images._replace(image_size=size)
        else:
            loading = _loading(config, labels)
            images = imagenet.load(config.data.name, config.data.dir, size, **loading)
        if has_user_images(config) or images.root:
            images = _looked_at(config, images)
    copied = _copies(images.splits, images, labels)
    images = images._replace(notes=(*images.notes, *copied))
    _check_validation(config, images.train_examples, has_validation=images.validation is not None)
    return streamed(images, steps_per_dispatch=config.run.steps_per_dispatch, **options)


def _looked_at(config: ConfigDict, images: ImageSet) -> ImageSet:
    """Reads crops of some training images, by which it is known how all are normalized and which show nothing."""
    most = MEAN_SAMPLE if has_user_images(config) else user_images.SAMPLE
    chosen = order.evenly_spaced(images.train_examples, most)
    crops = imagenet.sample(images, chosen)
    if has_user_images(config):
        images = _normalized(config, images, crops)
    if not images.root:
        return images
    flat = [
        inventory.name_image(images.train, i) for i in chosen[pixels.are_one_color(crops)].tolist()
    ]
    line = resized.describe_pixels(crops.shape[1:], len(chosen), flat)
    return images._replace(notes=(*images.notes, line))


def _copies(
    parts: Mapping[str, Split | Arrays], images: ImageSet | None, labels: Sequence[str] | None
) -> Iterator[str]:
    """Yields warnings of images that are in two splits of a user's own files.

    Args:
      parts: the splits by name.
      images: the images of a folder, or of a TFDS set, whose files nobody edits.
      labels: a network's classes, if the network is only tested; then there is nothing to compare.
    """
    if labels is None and (images is None or images.root):
        yield from copies.warnings(parts, images.titles if images is not None else {})


def _normalized(config: ConfigDict, images: ImageSet, crops: np.ndarray) -> ImageSet:
    """Takes mean and std from the config or, if the config has none, from crops of the training images."""
    mean, std = tuple(config.data.mean), tuple(config.data.std)
    if not mean or not std:
        sample_mean, sample_std = resized.mean_and_std(crops)
        mean, std = mean or sample_mean, std or sample_std
    resized.check_mean_and_std(mean, std, 3)
    return images._replace(mean=mean, std=std)


def alternates(config: ConfigDict) -> bool:
    """Tells whether each image is mirrored in every second epoch; only small data sets have the key."""
    return config.data.name in small.NUM_CLASSES and config.data.alternate_flip


def _check_validation(config: ConfigDict, count: int, *, has_validation: bool = False) -> None:
    """Refuses to hold out too many images, or any images where the data set has a validation split."""
    if has_validation and config.data.validation:
        raise InputError(
            f"config.data.validation: found {config.data.validation}, expected 0: {config.data.name} has images of "
            "its own to choose the best checkpoint by"
        )
    if config.data.validation >= count:
        raise InputError(
            f"config.data.validation: found {config.data.validation}, expected less than the {count} "
            f"training images of {config.data.name}"
        )


def _check_images(config: ConfigDict, source: Source) -> None:
    count, (height, width, _) = source.examples["train"], source.spec.shape
    images = config.train.images_per_epoch or count
    if config.train.batch_size > count:
        raise InputError(
            f"config.train.batch_size: found {config.train.batch_size}, expected at most the {count} images of "
            f"{config.data.name} to train on"
        )
    if not config.train.batch_size <= images <= count:
        raise InputError(
            f"config.train.images_per_epoch: found {config.train.images_per_epoch}, expected 0 (for all) "
            f"or from a batch of {config.train.batch_size} to the {count} images of {config.data.name}"
        )
    if source.spec.kind == SMALL:
        checks.check_padding(config.data.pad, source.spec.shape)
    least = AUXILIARY_SIZES[source.spec.kind]
    if config.train.auxiliary_weight > 0 and min(height, width) < least:
        raise InputError(
            f"config.train.auxiliary_weight: found {config.train.auxiliary_weight}, expected 0 for images "
            f"under {least}x{least} ({config.data.name} has {height}x{width})"
        )
