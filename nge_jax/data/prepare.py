"""A prepared data set of TFDS: found on the disk, or downloaded if that needs no account."""

import urllib.request
from typing import Any

from absl import logging

from nge_jax.errors import InputError
from nge_jax.runtime import host_tf

REACH_SECONDS = 10  # how long to wait for the data set's site before giving up


def builder(name: str, data_dir: str = "") -> Any:
    """The `tfds` builder of a data set; downloads and prepares it in `data_dir` when absent.

    Args:
      name: "cifar10", or "imagenette/320px-v2" with the name of a configuration.
      data_dir: tfds folder; "" means TFDS's own default.

    Raises:
      InputError: unknown name, or the data is neither there nor downloadable.
    """
    host_tf.tensorflow()
    import tensorflow_datasets as tfds

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # tfds warns about every folder that is not there yet
    try:
        try:
            found = tfds.builder(name, data_dir=data_dir or None)
        except (ValueError, AssertionError) as error:  # no such set; configuration; version
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"config.data.name: tfds has no {name!r} ({reason})") from error
        if found.is_prepared():
            return found
        if found.MANUAL_DOWNLOAD_INSTRUCTIONS:
            archives = f"{found.data_dir.removesuffix(found.info.full_name)}downloads/manual"
            raise InputError(
                f"config.data.dir: no prepared {name} in {found.data_dir}, and its archives need an account: put "
                f"those of {found.info.homepage} into {archives} and run {_prepare_command(name)}"
            )
        _reach(found)
        found.download_and_prepare()
        return found
    except (OSError, tfds.download.DownloadError) as error:
        raise InputError(
            f"config.data.dir: no prepared {name} in {found.data_dir} and it cannot be downloaded "
            f"({' '.join(str(error).split())}); on a machine with a network run {_prepare_command(name)}"
        ) from error
    finally:
        logging.set_verbosity(verbosity)


def _prepare_command(name):
    return (
        f'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', data_dir='DIR').download_and_prepare()\" and pass --config.data.dir=DIR"
    )


def _reach(builder):
    """Raises OSError within seconds when the data set's site is out of reach: tfds itself retries for minutes."""
    with urllib.request.urlopen(builder.info.homepage, timeout=REACH_SECONDS):
        pass
