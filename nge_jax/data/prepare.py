"""A prepared data set of TFDS: found on the disk, or downloaded if that needs no account."""

import contextlib
import urllib.request
from collections.abc import Iterator
from typing import Any

from absl import logging

from nge_jax.errors import ArgumentError
from nge_jax.runtime import host_tf

REACH_SECONDS = 10  # how long to wait for the data set's site before giving up


def builder(name: str, data_dir: str = "", *, instead: str = "") -> Any:
    """Finds the `tfds` builder of a data set; downloads and prepares it in `data_dir` when absent.

    Args:
      name: "cifar10", or "imagenette/320px-v2" with the name of a configuration.
      data_dir: tfds folder; "" means TFDS's own default.
      instead: what the error advises where the data cannot be downloaded.

    Raises:
      ArgumentError: unknown name, or the data is neither there nor downloadable.
    """
    host_tf.tensorflow()
    import tensorflow_datasets as tfds

    with quietly():
        try:
            dataset = tfds.builder(name, data_dir=data_dir or None)
        except (ValueError, AssertionError) as error:  # no such set; configuration; version
            reason = str(error).strip().splitlines()[0]
            raise ArgumentError("name", f"tfds has no {name!r} ({reason})") from error
        if dataset.is_prepared():
            return dataset
        if dataset.MANUAL_DOWNLOAD_INSTRUCTIONS:
            archives = f"{dataset.data_dir.removesuffix(dataset.info.full_name)}downloads/manual"
            raise ArgumentError(
                "data_dir",
                f"no prepared {name} in {dataset.data_dir}, and its archives need an account: put "
                f"those of {dataset.info.homepage} into {archives} and run {_prepare_command(name)}",
            )
        try:
            _reach(dataset)
            dataset.download_and_prepare()
        except (OSError, tfds.download.DownloadError) as error:
            raise ArgumentError(
                "data_dir",
                f"no prepared {name} in {dataset.data_dir} and it cannot be downloaded "
                f"({' '.join(str(error).split())}); on a machine with a network run {_prepare_command(name)}"
                f"{instead}",
            ) from error
        return dataset


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
