"""The place of a data set, as a command names it by --data. This module imports no jax."""

from pathlib import Path

from nge_jax.errors import InputError
from nge_jax.settings.key import Values


def data_keys(values: Values, place: str) -> dict[str, str]:
    """Returns the key that --data sets; a user's own folder or file, or a devkit, is the data set itself.

    Args:
      values: a config's, which nothing has checked yet.
      place: the value of --data.

    Raises:
      InputError: the place is empty.
    """
    if not place:  # a variable of the shell is not set; the current folder is "."
        raise InputError(
            "--data: found nothing, expected a folder or a file, such as --data photos"
        )
    expanded = str(Path(place).expanduser())
    if values.get("data.name", "").startswith(("folder:", "npz:")):
        kind = "npz" if expanded.endswith(".npz") else "folder"
        return {"data.name": f"{kind}:{expanded}"}
    if values.get("task") == "segment":
        from nge_jax.data.voc_segmentation import devkit

        if devkit.look_for(expanded) is not None:
            return {"data.devkit": expanded}
    return {"data.dir": expanded}
