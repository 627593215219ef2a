"""The images of a folder that a user names."""

from pathlib import Path

from nge_jax.data.imagenet import batches as imagenet
from nge_jax.errors import InputError


def find(folder: Path) -> list[Path]:
    """JPEG and PNG files, also in folders below, in the order of their names; InputError for none."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in imagenet.FORMATS)
    if not paths:
        raise InputError(f"--images: found no {', '.join(imagenet.FORMATS)} file in {folder}")
    return paths


def unreadable(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:200]
    return InputError(f"--images: {path} cannot be read as an image ({reason})")
