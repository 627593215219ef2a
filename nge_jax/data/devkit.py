"""A VOCdevkit folder of PASCAL VOC 2012: which images and masks it holds, read and checked.

    VOCdevkit/VOC2012/JPEGImages/ID.jpg
    VOCdevkit/VOC2012/SegmentationClass/ID.png         masks of train and val
    VOCdevkit/VOC2012/SegmentationClassAug/ID.png      masks of train_aug: VOC's, and SBD's of the others
    VOCdevkit/VOC2012/ImageSets/Segmentation/{train,train_aug,val}.txt

The official folder has neither train_aug nor SegmentationClassAug; both come from the Semantic
Boundaries Dataset (Hariharan et al., ICCV 2011), in the form that DeepLab made common. Masks of train
and val are taken from SegmentationClassAug where SegmentationClass lacks them.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from nge_jax.errors import InputError

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
IGNORE = 255  # borders of objects, and what nobody could tell
TRAIN, TRAIN_AUG, VAL = "train", "train_aug", "val"
LISTS, IMAGES, MASKS = "ImageSets/Segmentation", "JPEGImages", "SegmentationClass"
MASKS_AUG = "SegmentationClassAug"


class Example(NamedTuple):
    id: str
    image: Path  # JPEG
    mask: Path  # PNG whose pixels are class numbers: with a palette, or grey


def find(folder: str | Path) -> Path:
    """The VOC2012 folder in `folder`, which may be it, VOCdevkit, or what VOCdevkit lies in.

    Raises:
      InputError: there is none, or it is not laid out as above.
    """
    folder = Path(folder)
    candidates = folder / "VOCdevkit" / "VOC2012", folder / "VOC2012", folder
    for root in candidates:
        if (root / IMAGES).is_dir():
            break
    else:
        raise InputError(f"{folder}: no VOC2012/{IMAGES} in it, expected a VOCdevkit folder")
    for needed in (LISTS, f"{LISTS}/{VAL}.txt"):
        if not (root / needed).exists():
            raise InputError(f"{root}: no {needed}, expected the layout of VOC2012")
    if not ({TRAIN, TRAIN_AUG} & set(_lists(root))):
        raise InputError(f"{root / LISTS}: neither {TRAIN}.txt nor {TRAIN_AUG}.txt")
    return root


def examples(root: Path) -> dict[str, list[Example]]:
    """The examples of each split that a VOC2012 folder has a list of, in the lists' order.

    Raises:
      InputError: a listed image or mask is missing, or listed twice.
    """
    return {split: _examples(root, split) for split in _lists(root)}


def read_mask(example: Example) -> np.ndarray:
    """Class numbers, uint8 [H, W]: 0 to 20, and 255 where there is no label.

    Raises:
      InputError: a file that is no picture, a mask in colours, of another size than its image, or
        with an unknown label.
    """
    try:
        with Image.open(example.image) as image:
            size = image.size
        with Image.open(example.mask) as mask:
            mode, labels = mask.mode, np.asarray(mask)
    except OSError as error:
        raise InputError(f"{example.mask} or its image cannot be read: {error}") from error
    if mode not in ("P", "L"):
        raise InputError(
            f"{example.mask}: a picture of mode {mode}, expected a palette or grey PNG"
        )
    if labels.shape != size[::-1]:
        found = "{1}x{0}".format(*labels.shape)
        raise InputError(
            f"{example.mask}: {found} pixels, expected {size[0]}x{size[1]} as {example.image} has"
        )
    unknown = np.setdiff1d(labels, [*range(len(CLASSES)), IGNORE])
    if unknown.size:
        raise InputError(
            f"{example.mask}: unknown label {unknown[0]}, expected 0 to {len(CLASSES) - 1} or {IGNORE}"
        )
    return labels


def _lists(root):
    names = TRAIN, TRAIN_AUG, VAL
    return [name for name in names if (root / LISTS / f"{name}.txt").is_file()]


def _examples(root, split):
    path = root / LISTS / f"{split}.txt"
    ids = path.read_text(encoding="utf-8").split()
    if not ids or len(set(ids)) < len(ids):
        raise InputError(f"{path}: {len(ids)} images, {len(set(ids))} different ones")
    folders = [root / MASKS_AUG] if split == TRAIN_AUG else [root / MASKS, root / MASKS_AUG]
    found = []
    for name in ids:
        image = root / IMAGES / f"{name}.jpg"
        masks = [folder / f"{name}.png" for folder in folders]
        mask = next((mask for mask in masks if mask.is_file()), None)
        if not image.is_file() or mask is None:
            missing = image if not image.is_file() else masks[0]
            raise InputError(f"{path}: {name} is listed, but there is no {missing}")
        found.append(Example(name, image, mask))
    return found
