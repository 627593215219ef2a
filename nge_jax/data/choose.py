"""Decides on values that a config leaves open as 0: as the workdir's run began, or by a user's own images."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from nge_jax.console import banner
from nge_jax.data import user_images
from nge_jax.data.user_images import UserImages
from nge_jax.settings import keys
from nge_jax.settings.configs import differ, flatten
from nge_jax.workdir import folder as workdir


def resolve(
    config: ConfigDict,
    path: Path | None,
    open_images: Callable[[ConfigDict], UserImages],
    choose: Callable[[ConfigDict, UserImages], Mapping[str, Any]],
    *,
    only_sizes: bool = False,
) -> tuple[ConfigDict, UserImages | None]:
    """Decides on the open values of a config, and says so of the values that are read.

    Args:
      config: of a search or a training; only for a user's own images it leaves values open.
      path: the workdir, if a run in it is to go on; that run's values hold.
      open_images: opens the images.
      choose: `(config, images) -> {key: value}` for the values that are still open.
      only_sizes: whether the sizes of a network are all that is asked. TFDS knows those of its sets, except for the
        channels, so that images of such a set need not be opened; the channels then stay open.

    Returns:
      The config without open values, and the images where they had to be opened.

    Raises:
      InputError: the workdir's record cannot be read, or `open_images` refuses the images.
    """
    names = keys.left_open(flatten(config.to_dict()))
    is_on_disk = config.data.name.startswith((user_images.FOLDER, user_images.NPZ))
    if not names or (only_sizes and not is_on_disk and names == ["data.channels"]):
        return config, None
    images = open_images(config)
    config = config.copy_and_resolve_references()
    kept = {} if path is None else workdir.begun_with(path, names)
    differ(config, kept)
    chosen = choose(config, images)
    differ(config, chosen)
    unread = keys.unread(flatten(config.to_dict())).keys()
    banner.show_chosen(_without(unread, kept), _without(unread, chosen))
    return config, images


def _without(names: Collection[str], values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}
