"""The images of a search: this module opens them, chooses what the config leaves open, and divides them in halves."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from nge_jax.data import choose, order, prepare, resized, small, user_images
from nge_jax.data.photographs import batches as imagenet
from nge_jax.data.photographs import folder
from nge_jax.data.spec import LARGE, SMALL, DatasetSpec
from nge_jax.data.user_images import UserImages
from nge_jax.errors import ArgumentError, arguments_as
from nge_jax.optim import EMBEDDING, WEIGHTS
from nge_jax.search.plan import Images
from nge_jax.search.steps.gradient import Preprocessing
from nge_jax.settings.configs import has_user_images

DATA_KEYS = {
    name: f"config.data.{key}"
    for name, key in (
        ("name", "name"), ("data_dir", "dir"), ("test_fraction", "test_fraction"), ("mean", "mean"),
        ("std", "std"), ("images", "name"), ("channels", "channels"), ("image_size", "image_size"),
    )
}  # fmt: skip


def open_user_images(config: ConfigDict) -> UserImages:
    """Opens a user's own images; reads only their sizes and colors.

    Raises:
      InputError: there is no such data set, it has one class, or it is refused.
    """
    with arguments_as(**DATA_KEYS):
        images = user_images.open_images(
            config.data.name,
            config.data.dir,
            skip_damaged=config.data.skip_damaged,
            seed=config.data.split_seed,
            test_fraction=config.data.test_fraction,
            class_fraction=config.data.class_fraction,
            channels=config.data.channels,
        )
        if len(images.names) < 2:
            raise ArgumentError("name", f"{config.data.name} has one class, expected two or more")
    return images


def describe(
    config: ConfigDict, opened: UserImages | None = None
) -> tuple[tuple[int, int, int], int]:
    """Returns the shape of an image and the number of classes, from which a supernet is made.

    A data set that TFDS knows need not be on this machine.

    Args:
      config: a resolved config of a search.
      opened: the images, if `open_user_images` has opened them already.

    Raises:
      InputError: there is no such data set, or it is refused.
    """
    name = config.data.name
    if not has_user_images(config):
        return small.shape_at(name, config.data.image_size), small.NUM_CLASSES[name]
    size = config.data.image_size
    if opened is not None or name.startswith((imagenet.FOLDER, user_images.NPZ)):
        opened = opened or open_user_images(config)
        channels = config.data.channels or opened.channels
        return (size, size, channels), len(opened.names)
    with arguments_as(**DATA_KEYS):
        found = prepare.describe(name, config.data.dir)
    return (size, size, config.data.channels or found.channels), found.num_classes


def resolve(
    config: ConfigDict, path: Path | None = None, *, only_sizes: bool = False
) -> tuple[ConfigDict, UserImages | None]:
    """Chooses the values that a config leaves open as 0, see `data.choose.resolve`."""
    return choose.resolve(config, path, open_user_images, _choose, only_sizes=only_sizes)


def _choose(config: ConfigDict, images: UserImages) -> dict[str, Any]:
    """Chooses what the config leaves open: the images' size and channels, the batch size, the lengths."""
    chosen: dict[str, Any] = {}
    size, epochs = config.search.batch_size, config.search.epochs
    if not config.data.image_size:
        chosen["data.image_size"] = user_images.image_size(images.side)
    if not config.data.channels:
        chosen["data.channels"] = images.channels
    first = round(images.count("train") * config.data.train_fraction)
    half = max(1, min(first, images.count("train") - first))
    if not size:
        chosen["search.batch_size"] = size = user_images.batch_size(half)
    if not epochs:
        steps = (config.search.images_per_epoch or half) // size
        chosen["search.epochs"] = user_images.epochs(steps, 1000, 10, 50)
    if "trained" in config:
        half = config.search.images_per_epoch or max(1, first)
        chosen |= _choose_trainings(half, tuple(config.trained.rungs), config.trained.cells)
    return chosen


def _choose_trainings(images: int, rungs: tuple[int, ...], cells: int) -> dict[str, Any]:
    """Chooses, where they are left open, the epochs after which a cell is rated and the number of cells.

    About 470 updates tell random cells apart on 10,000 photographs as well as 2,100 do (docs/results.md). Therefore
    many cells are trained so long, and none longer. Few images need more epochs for these updates.

    Args:
      images: how many images train a cell in an epoch.
      rungs: the epochs at which a cell is rated; none are to be chosen.
      cells: the number of cells; 0 is to be chosen.
    """
    chosen: dict[str, Any] = {}
    steps = images // user_images.batch_size(images)
    if not rungs:
        chosen["trained.rungs"] = rungs = (user_images.epochs(steps, 470, 2, 40),)
    if not cells:
        chosen["trained.cells"] = user_images.epochs(rungs[0] * steps, 17_000, 9, 36)
    return chosen


def check_size(name: str, size: int) -> None:
    """Refuses a size that a small data set does not have; a user's images may have any size.

    Raises:
      InputError: the size is none of the data set's.
    """
    if name in small.SHAPES:
        with arguments_as(**DATA_KEYS):
            small.check_size(name, size)


def load_data(config: ConfigDict, images: UserImages | None = None) -> small.ArrayDataset:
    """Reads the training images of a resolved config.

    Args:
      config: a config of a search.
      images: the images, if `open_user_images` has opened them already.

    Raises:
      InputError: there is no such data set, or it is refused.
    """
    if has_user_images(config):
        images = images or open_user_images(config)
        channels = config.data.channels or images.channels
        with arguments_as(**DATA_KEYS):
            return resized.load(
                images._replace(channels=channels),
                config.data.image_size,
                mean=config.data.mean,
                std=config.data.std,
                budget_gb=config.data.device_budget_gb,
            )
    with arguments_as(**DATA_KEYS):
        return small.load(config.data.name, config.data.dir, image_size=config.data.image_size)


def plan_images(config: ConfigDict, data: small.ArrayDataset) -> Images:
    """Plans how a search reads its images."""
    spec, stream = None, 0
    if has_user_images(config):
        spec = make_spec(data, has_large_stem(config))
        if data.train_images.nbytes > config.data.device_budget_gb * resized.GIGABYTE:
            stream = config.run.steps_per_dispatch
    return Images(
        name=config.data.name,
        data=data,
        spec=spec,
        divide=make_divide(config, data.train_labels),
        stream=stream,
        preprocessing=Preprocessing(data.mean, data.std, config.data.pad, config.data.flip),
    )


def make_divide(config: ConfigDict, labels: np.ndarray) -> Callable[[int], dict[str, np.ndarray]]:
    """Makes `seed -> halves`, see `divide`.

    The halves get equal parts of each class when only a fraction of each class is used, because some classes then have
    few images.
    """
    by_class = has_user_images(config) and config.data.class_fraction != 1
    return functools.partial(divide, labels, config.data.train_fraction, by_class=by_class)


def divide(
    labels: np.ndarray, fraction: float, seed: int, *, by_class: bool
) -> dict[str, np.ndarray]:
    """Divides the training images: one half trains the weights, the other half the embedding.

    Args:
      labels: the images' labels [N].
      fraction: the fraction of the images that trains the weights.
      seed: decides which images go where.
      by_class: whether the halves get equal parts of each class.

    Returns:
      Indices of the images, by group.

    Raises:
      ArgumentError: one of the halves would be empty.
    """
    if not by_class:
        first, second = order.split(len(labels), fraction, seed)
        return {WEIGHTS: first, EMBEDDING: second}
    held = folder.hold_out(labels, seed, 1 - fraction)
    if not held.any():
        raise ArgumentError("train_fraction", "found one image of each class, expected two or more")
    first, second = (np.flatnonzero(mask).astype(np.int32) for mask in (~held, held))
    return {WEIGHTS: first, EMBEDDING: second}


def has_large_stem(config: ConfigDict) -> bool:
    """Tells whether the supernet begins with ImageNet's stem; only a user's own images have the choice."""
    if not has_user_images(config):
        return False
    return user_images.has_large_stem(config.network.stem, config.data.image_size)


def make_spec(data: small.ArrayDataset, large_stem: bool) -> DatasetSpec:
    """Describes a user's own images as the supernet sees them."""
    return DatasetSpec(
        kind=LARGE if large_stem else SMALL,
        shape=data.train_images.shape[1:],
        mean=data.mean,
        std=data.std,
        labels=data.labels,
    )
