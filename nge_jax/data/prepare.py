"""A prepared data set of TFDS: found on the disk, or downloaded if that needs no account."""

import contextlib
import importlib.util
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from absl import logging

from nge_jax.data.photographs import folder
from nge_jax.devices import host_tf
from nge_jax.errors import ArgumentError

INFO = "dataset_info.json"  # the last file that TFDS writes of a data set
REACH_SECONDS = 10  # how long to wait for the data set's site before giving up
PACKAGES = {"tensorflow_datasets": "tensorflow-datasets", "tensorflow": "tensorflow"}


def builder(name: str, data_dir: str = "", *, instead: str = "") -> Any:
    """Finds the `tfds` builder of a data set; downloads and prepares it in `data_dir` when absent.

    Args:
      name: "cifar10", or "imagenette/320px-v2" with the name of a configuration.
      data_dir: tfds folder; "" means TFDS's own default.
      instead: what the error advises where the data cannot be downloaded.

    Raises:
      ArgumentError: unknown name, or the data is neither there nor downloadable, or TFDS is not installed.
    """
    dataset = _find(name, data_dir)
    import tensorflow_datasets as tfds

    with quietly():
        if dataset.is_prepared():
            return dataset
        _refuse_too_deep(dataset, data_dir)
        _refuse_images(name, data_dir)
        if dataset.MANUAL_DOWNLOAD_INSTRUCTIONS:
            archives = f"{dataset.data_dir.removesuffix(dataset.info.full_name)}downloads/manual"
            raise ArgumentError(
                "data_dir",
                f"no prepared {name} in {dataset.data_dir}{_what_lies_there(dataset)}, and its archives need an "
                f"account: put those of {dataset.info.homepage} into {archives} and run {_prepare_command(name)}",
                "data_dir",
            )
        try:
            _reach(dataset)
            dataset.download_and_prepare()
        except (OSError, tfds.download.DownloadError) as error:
            raise ArgumentError(
                "data_dir",
                f"no prepared {name} in {dataset.data_dir}{_what_lies_there(dataset)} and it cannot be downloaded "
                f"({' '.join(str(error).split())}); on a machine with a network run {_prepare_command(name)}"
                f"{instead}",
                "data_dir",
            ) from error
        return dataset


class Description(NamedTuple):
    """Describes a classification set without reading its images.

    Attributes:
      num_classes: how many labels there are.
      channels: of an image, 1 (gray) or 3.
    """

    num_classes: int
    channels: int


def describe(name: str, data_dir: str = "") -> Description:
    """Describes a set from TFDS's metadata, whether it is prepared or not.

    Raises:
      ArgumentError: unknown name, or no images with class labels.
    """
    dataset = _find(name, data_dir)
    image, label = image_and_label(dataset, name)
    features: Any = dataset.info.features
    channels = 1 if features[image].shape[-1] == 1 else 3
    return Description(features[label].num_classes, channels)


def image_and_label(dataset: Any, name: str) -> tuple[str, str]:
    """Returns the keys of a set's images and class labels; `dataset`: its builder.

    Raises:
      ArgumentError: it has others to learn.
    """
    import tensorflow_datasets as tfds

    keys: Any = dataset.info.supervised_keys or ()
    features = dataset.info.features
    kinds = [type(features[key]) for key in keys if isinstance(key, str)]
    if kinds != [tfds.features.Image, tfds.features.ClassLabel]:
        raise ArgumentError(
            "name", f"{name} has {keys or 'nothing'} to learn, expected images and class labels"
        )
    return keys


def _find(name, data_dir):
    """Finds a set's builder, be the set prepared or not."""
    tfds = tensorflow_datasets(name, "name")
    with quietly():
        try:
            return tfds.builder(name, data_dir=data_dir or None)
        except (ValueError, AssertionError) as error:  # no such set; configuration; version
            reason = str(error).strip().splitlines()[0]
            raise ArgumentError("name", f"tfds has no {name!r} ({reason})") from error


def tensorflow_datasets(data: str, argument: str) -> ModuleType:
    """Imports `tensorflow_datasets`, with TensorFlow kept away from GPUs and TPUs.

    Args:
      data: name of the data set that is asked for.
      argument: the one to refuse.

    Raises:
      ArgumentError: one of the two packages is not installed.
    """
    absent = [package for module, package in PACKAGES.items() if not _is_installed(module)]
    if absent:
        raise ArgumentError(
            argument,
            f"{data} is read by TFDS, found no {' and no '.join(absent)}, expected both: "
            f"pip install {' '.join(PACKAGES.values())}",
        )
    host_tf.tensorflow()
    import tensorflow_datasets as tfds

    return tfds


def _is_installed(module):
    return importlib.util.find_spec(module) is not None


def _refuse_too_deep(dataset, data_dir):
    """Refuses DIR/cifar10 and DIR/cifar10/3.0.2 where DIR is meant: below them it would be prepared once more."""
    full_name = dataset.info.full_name  # cifar10/3.0.2, imagenette/320px-v2/1.0.0
    given = Path(data_dir).expanduser().absolute()
    for up, root in enumerate(given.parents[: full_name.count("/") + 1], 1):
        inside = "/".join(given.parts[-up:])
        if f"{full_name}/".startswith(f"{inside}/") and (root / full_name / INFO).is_file():
            raise ArgumentError(
                "data_dir",
                f"found the folder of the data set itself, {given}, expected the one that {full_name} lies in: {root}",
            )


def _refuse_images(name, data_dir):
    """Refuses a folder of the user's own images, into which a data set would be downloaded."""
    if data_dir and folder.is_images(data_dir):
        raise ArgumentError(
            "data_dir",
            f"found images in folders of classes in {data_dir}, expected the folder of TFDS where {name} is or may be "
            f"prepared; {for_own_images(data_dir)}",
        )


def for_own_images(data_dir: str) -> str:
    """Says by which commands a user's own images are used; ends the refusal of a folder that another set ignores."""
    return (
        f"images of your own are trained on by nge train train_folder --data {data_dir} (and searched on by "
        "search_folder)"
    )


def _what_lies_there(dataset):
    """Returns " (...)" about another version, or what was left half done, in place of a prepared data set; or ""."""
    full_name = dataset.info.full_name
    place = Path(dataset.data_dir)
    others = sorted(path.parent.name for path in place.parent.glob(f"*/{INFO}"))
    if complete := [name for name in others if "incomplete" not in name]:
        return f" (there is the version {', '.join(complete)}, expected {full_name.rpartition('/')[2]})"
    for half in (*sorted(place.parent.glob("*incomplete*")), place):
        if half.is_dir():
            return f" ({half} was left half done and may be removed)"
    return ""


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keeps tfds from warning about every folder that is not there yet."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _prepare_command(name):
    return (
        f'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', data_dir='DIR').download_and_prepare()\" and set `data_dir` to DIR"
    )


def _reach(builder):
    """Raises OSError within seconds when the data set's site is out of reach: tfds itself retries for minutes."""
    with urllib.request.urlopen(builder.info.homepage, timeout=REACH_SECONDS):
        pass
