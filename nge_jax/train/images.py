"""The images of a training: this module opens them, and chooses from them the values that the config leaves open."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from nge_jax.console import banner
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
from nge_jax.settings.configs import differ, has_user_images
from nge_jax.space import genotype
from nge_jax.train.model import make_network, widest
from nge_jax.workdir import folder as workdir

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


class ImageSettings(NamedTuple):
    """The settings that say which images a training reads, how it divides them, and what they have to suit.

    A field with a default stands for a key that some kinds of data lack.

    Attributes:
      seed: the run's seed; decides which images `validation` holds out.
      is_user_data: whether the images are a user's own, see `keys.kind_of_data`.
      has_large_stem: whether ImageNet's network is trained on a user's own images, not CIFAR's.
      auxiliary_weight, batch_size, images_per_epoch, steps_per_dispatch: keys of `train` and `run`.
      name and all others: the keys of `data`.
    """

    seed: int
    is_user_data: bool
    auxiliary_weight: float
    batch_size: int
    images_per_epoch: int
    steps_per_dispatch: int
    name: str
    dir: str
    validation: int
    alternate_flip: bool = False
    pad: int = 0
    image_size: int = 0
    test_fraction: float = 0.0
    split_seed: int = 0
    skip_damaged: bool = False
    channels: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    device_budget_gb: float = 0.0
    has_large_stem: bool = False


class Sizes(NamedTuple):
    """The facts of a data set from which a network is made.

    Attributes:
      kind: SMALL or LARGE, see `data.spec`.
      shape: of an image, [H, W, C].
      classes: the number of classes.
      held_out: the number of images that validate; None: unknown until the data set is opened.
    """

    kind: str
    shape: tuple[int, int, int]
    classes: int
    held_out: int | None = None


def read_settings(config: ConfigDict) -> ImageSettings:
    """Takes from a config the settings of its images."""
    settings = ImageSettings(
        seed=config.seed,
        is_user_data=has_user_images(config),
        auxiliary_weight=config.train.auxiliary_weight,
        batch_size=config.train.batch_size,
        images_per_epoch=config.train.images_per_epoch,
        steps_per_dispatch=config.run.steps_per_dispatch,
        name=config.data.name,
        dir=config.data.dir,
        validation=config.data.validation,
    )
    if settings.name in small.NUM_CLASSES:
        return settings._replace(
            alternate_flip=config.data.alternate_flip,
            pad=config.data.pad,
            image_size=config.data.image_size,
        )
    settings = settings._replace(
        image_size=config.data.image_size,
        test_fraction=config.data.test_fraction,
        split_seed=config.data.split_seed,
        skip_damaged=config.data.skip_damaged,
    )
    if not settings.is_user_data:
        return settings
    return settings._replace(
        pad=config.data.pad,
        channels=config.data.channels,
        mean=tuple(config.data.mean),
        std=tuple(config.data.std),
        device_budget_gb=config.data.device_budget_gb,
        has_large_stem=user_images.has_large_stem(config.network.stem, config.data.image_size),
    )


def resolve(
    config: ConfigDict, path: Path | None = None, *, only_sizes: bool = False
) -> tuple[ConfigDict, UserImages | None]:
    """Chooses the values that a config leaves open as 0, see `data.choose.resolve`; the limits choose the channels.

    Raises:
      InputError: see `data.choose.resolve`, or there is no limit, or no network is within the limits.
      GenotypeError: there is no such cell.
    """
    config, images = choose.resolve(
        config,
        path,
        lambda config: open_user_images(read_settings(config)),
        _choose,
        only_sizes=only_sizes,
    )
    if config.network.channels:
        return config, images
    kept = {} if path is None else workdir.begun_with(path, ["network.channels"])
    config, chosen = config.copy_and_resolve_references(), {}
    if not kept:
        found, images = _sizes(read_settings(config), images)
        cells = genotype.load(config.genotype)

        def make(channels):
            config.network.channels = channels
            return make_network(config, cells, found.kind, found.classes)

        limits = dict(config.limits)
        chosen["network.channels"] = widest(make, found.kind, found.shape, limits)
    differ(config, kept | chosen)
    banner.show_chosen(kept, chosen, by="the limits")
    return config, images


def _sizes(settings: ImageSettings, opened: UserImages | None) -> tuple[Sizes, UserImages | None]:
    """Does as `describe`, but reads no pixels of a user's own files; also returns the images that it has opened."""
    on_disk = settings.name.startswith((imagenet.FOLDER, user_images.NPZ))
    if not settings.is_user_data or (opened is None and not on_disk):
        return describe(settings, opened), opened
    opened = opened or open_user_images(settings)
    large, size = settings.has_large_stem, settings.image_size
    channels = settings.channels or (3 if large else opened.channels)
    kind = LARGE if large else SMALL
    return Sizes(kind, (size, size, channels), len(opened.names)), opened


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


def open_source(
    settings: ImageSettings, labels: Sequence[str] | None = None, opened: UserImages | None = None
) -> Source:
    """Opens the data set that the settings name.

    Args:
      settings: those of a checked config.
      labels: the network's classes, if the folder's classes may be a part of them.
      opened: a user's own images, if `open_user_images` has opened them already.

    Raises:
      InputError: the data set is unknown, cannot be found or downloaded, or is too small for the config.
    """
    name, folder = settings.name, settings.dir
    if settings.has_large_stem and settings.channels == 1:
        raise InputError(
            "config.data.channels: found 1, expected 3: ImageNet's network, by config.network.stem or for images from "
            f"{user_images.LARGE_FROM} pixels on, is trained on colors"
        )
    options: dict[str, Any] = {
        "seed": settings.seed,
        "validation": settings.validation,
        "batch_size": settings.batch_size,
    }
    if name in small.NUM_CLASSES:
        with arguments_as(**DATA_KEYS):
            data = small.load(name, folder, test=True, image_size=settings.image_size)
        _check_validation(settings, len(data.train_images))
        source = resident(data, data.labels, numbered=settings.alternate_flip, **options)
    elif settings.is_user_data and (
        name.startswith(user_images.NPZ) or not settings.has_large_stem
    ):
        source = _open_resident(settings, labels, opened, options)
    else:
        source = _open_streamed(settings, labels, opened, options)
    if len(source.spec.labels) < 2:
        raise InputError(f"config.data.name: {name} has one class, expected two or more")
    _check_images(settings, source)
    return source


def open_user_images(settings: ImageSettings, labels: Sequence[str] | None = None) -> UserImages:
    """Opens a user's own images; reads only sizes and colors. Arguments and errors: see `open_source`."""
    with arguments_as(**DATA_KEYS):
        return user_images.open_images(
            settings.name,
            settings.dir,
            channels=settings.channels,
            **_loading(settings, labels),
        )


def describe(settings: ImageSettings, opened: UserImages | None = None) -> Sizes:
    """Returns the sizes of a data set.

    A data set that TFDS knows need not be on this machine.

    Args:
      settings: those of a resolved config.
      opened: a user's own images, if `open_user_images` has opened them already.

    Raises:
      InputError: there is no such data set, or it is refused.
    """
    name, size = settings.name, settings.image_size
    if name in small.SHAPES:
        with arguments_as(**DATA_KEYS):
            small.check_size(name, size)
        shape, classes = small.shape_at(name, size), small.NUM_CLASSES[name]
        return Sizes(SMALL, shape, classes, settings.validation)
    if opened is not None or name.startswith((imagenet.FOLDER, user_images.NPZ)):
        source = open_source(settings, opened=opened)
        spec = source.spec
        return Sizes(spec.kind, spec.shape, len(spec.labels), source.examples["validation"])
    with arguments_as(**DATA_KEYS):
        found = prepare.describe(name, settings.dir)
    is_small = settings.is_user_data and not settings.has_large_stem
    channels = settings.channels or found.channels if is_small else 3
    kind = SMALL if is_small else LARGE
    return Sizes(kind, (size, size, channels), found.num_classes, settings.validation or None)


def _loading(settings: ImageSettings, labels: Sequence[str] | None) -> dict[str, Any]:
    return {
        "skip_damaged": settings.skip_damaged,
        "seed": settings.split_seed,
        "test_fraction": settings.test_fraction,
        "class_names": labels,
    }


def _open_resident(
    settings: ImageSettings,
    labels: Sequence[str] | None,
    opened: UserImages | None,
    options: dict[str, Any],
) -> Source:
    """Reads a user's own images; each is resized once."""
    images = opened or open_user_images(settings, labels)
    notes = (*images.notes, *_copies(images.parts, images.images, labels))
    large = settings.has_large_stem
    channels = settings.channels or (3 if large else images.channels)
    with arguments_as(**DATA_KEYS):
        data = resized.load(
            images._replace(channels=channels, notes=notes),
            settings.image_size,
            mean=settings.mean,
            std=settings.std,
            test=True,
            budget_gb=settings.device_budget_gb,
        )
    _check_validation(
        settings, len(data.train_images), has_validation=data.validation_images is not None
    )
    too_many = data.train_images.nbytes > settings.device_budget_gb * resized.GIGABYTE
    stream = settings.steps_per_dispatch if too_many else 0
    kind = LARGE if large else SMALL
    return resident(data, data.labels, kind=kind, stream=stream, **options)


def _open_streamed(
    settings: ImageSettings,
    labels: Sequence[str] | None,
    opened: UserImages | None,
    options: dict[str, Any],
) -> Source:
    """Opens photographs, which are cropped at random when a batch is read."""
    size = settings.image_size
    with arguments_as(**DATA_KEYS):
        if opened is not None and opened.images is not None:
            images = opened.images._replace(image_size=size)
        else:
            loading = _loading(settings, labels)
            images = imagenet.load(settings.name, settings.dir, size, **loading)
        if settings.is_user_data or images.root:
            images = _looked_at(settings, images)
    copied = _copies(images.splits, images, labels)
    images = images._replace(notes=(*images.notes, *copied))
    _check_validation(settings, images.train_examples, has_validation=images.validation is not None)
    return streamed(images, steps_per_dispatch=settings.steps_per_dispatch, **options)


def _looked_at(settings: ImageSettings, images: ImageSet) -> ImageSet:
    """Reads crops of some training images, by which it is known how all are normalized and which show nothing."""
    most = MEAN_SAMPLE if settings.is_user_data else user_images.SAMPLE
    chosen = order.evenly_spaced(images.train_examples, most)
    crops = imagenet.sample(images, chosen)
    if settings.is_user_data:
        mean, std = resized.normalization(settings.mean, settings.std, crops)
        images = images._replace(mean=mean, std=std)
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


def _check_validation(settings: ImageSettings, count: int, *, has_validation: bool = False) -> None:
    """Refuses to hold out too many images, or any images where the data set has a validation split."""
    if has_validation and settings.validation:
        raise InputError(
            f"config.data.validation: found {settings.validation}, expected 0: {settings.name} has images of "
            "its own to choose the best checkpoint by"
        )
    if settings.validation >= count:
        raise InputError(
            f"config.data.validation: found {settings.validation}, expected less than the {count} "
            f"training images of {settings.name}"
        )


def _check_images(settings: ImageSettings, source: Source) -> None:
    count, (height, width, _) = source.examples["train"], source.spec.shape
    images = settings.images_per_epoch or count
    if settings.batch_size > count:
        raise InputError(
            f"config.train.batch_size: found {settings.batch_size}, expected at most the {count} images of "
            f"{settings.name} to train on"
        )
    if not settings.batch_size <= images <= count:
        raise InputError(
            f"config.train.images_per_epoch: found {settings.images_per_epoch}, expected 0 (for all) "
            f"or from a batch of {settings.batch_size} to the {count} images of {settings.name}"
        )
    if source.spec.kind == SMALL:
        checks.check_padding(settings.pad, source.spec.shape)
    least = AUXILIARY_SIZES[source.spec.kind]
    if settings.auxiliary_weight > 0 and min(height, width) < least:
        raise InputError(
            f"config.train.auxiliary_weight: found {settings.auxiliary_weight}, expected 0 for images "
            f"under {least}x{least} ({settings.name} has {height}x{width})"
        )
