"""A VOCdevkit folder of PASCAL VOC 2012, or one laid out like it: which images and masks it holds.

    VOCdevkit/VOC2012/JPEGImages/ID.jpg                or of another of ENDINGS
    VOCdevkit/VOC2012/SegmentationClass/ID.png         masks of train and val
    VOCdevkit/VOC2012/SegmentationClassAug/ID.png      masks of train_aug: VOC's, and SBD's of the others
    VOCdevkit/VOC2012/ImageSets/Segmentation/{train,train_aug,val}.txt

The official folder has neither train_aug nor SegmentationClassAug; both come from the Semantic
Boundaries Dataset (Hariharan et al., ICCV 2011), in the form that DeepLab made common. Masks of train
and val are taken from SegmentationClassAug where SegmentationClass lacks them.

Without a train_aug.txt, SBD may lie there as its authors distribute it, see `sbd`. The folder
benchmark_RELEASE then lies in VOC2012, beside VOC2012 or beside VOCdevkit. train_aug then has the images
that SBD or VOC's train lists and VOC's val does not, sorted by name. A mask is VOC's if train lists it,
else SBD's. An image is VOC's if JPEGImages has it, else SBD's.

A file of class names beside JPEGImages gives the folder its own classes, see `class_names`. SBD is then not used.
"""

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from nge_jax import files
from nge_jax.data.voc_segmentation import class_names, sbd
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
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")  # images, in small or capital letters


class DevkitExample(NamedTuple):
    """An image that a list of the folder names, and its mask.

    Attributes:
      id: name without folder and ending.
      image: its file.
      mask: PNG whose pixels are class numbers, with a palette or gray; or SBD's .mat.
    """

    id: str
    image: Path
    mask: Path


def look_for(folder: str | Path) -> Path | None:
    """Finds the folder that holds JPEGImages, see `find`; None where there is none."""
    folder = Path(folder).expanduser()
    candidates = folder / "VOCdevkit" / "VOC2012", folder / "VOC2012", folder
    return next((root for root in candidates if os.path.isdir(root / IMAGES)), None)


def find(folder: str | Path) -> Path:
    """Finds VOC2012 in `folder`: VOC2012 itself, VOCdevkit, or the folder that holds VOCdevkit; "~" expands.

    Raises:
      InputError: there is none, or it is not laid out as above.
    """
    root = look_for(folder)
    if root is None:
        raise InputError(f"{folder}: no VOC2012/{IMAGES} in it, expected a VOCdevkit folder")
    for needed in (LISTS, f"{LISTS}/{VAL}.txt"):
        if not (root / needed).exists():
            raise InputError(f"{root}: no {needed}, expected the layout of VOC2012")
    if not ({TRAIN, TRAIN_AUG} & set(_lists(root))):
        raise InputError(f"{root / LISTS}: neither {TRAIN}.txt nor {TRAIN_AUG}.txt")
    return root


def own_classes(root: Path) -> tuple[str, ...] | None:
    """Reads the names of a folder's own classes; None where they are VOC's 21.

    Raises:
      InputError: as of `class_names.read`.
    """
    names = class_names.read(root)
    return None if names == CLASSES else names


def examples(root: Path) -> dict[str, list[DevkitExample]]:
    """Lists the examples of each split that a VOC2012 folder has a list of, in the lists' order.

    train_aug is listed, too, if the folder has no list of it and SBD is there.

    Raises:
      InputError: a listed image or mask is missing, or listed twice, or a list of SBD's is missing.
    """
    lists = _lists(root)
    if TRAIN_AUG in lists and not (root / MASKS_AUG).is_dir():
        raise InputError(
            f"{root}: {TRAIN_AUG}.txt without {MASKS_AUG}, expected both, or neither for the masks of "
            f"SBD's {sbd.RELEASE}"
        )
    splits = {split: _examples(root, split) for split in lists}
    dataset = sbd.find(root) if own_classes(root) is None else None
    if TRAIN_AUG not in splits and dataset is not None:
        splits[TRAIN_AUG] = _with_sbd(root, dataset, splits[TRAIN], splits[VAL])
    return splits


def _lists(root):
    names = TRAIN, TRAIN_AUG, VAL
    return [name for name in names if (root / LISTS / f"{name}.txt").is_file()]


def _examples(root, split):
    path = root / LISTS / f"{split}.txt"
    folders = [root / MASKS_AUG] if split == TRAIN_AUG else [root / MASKS, root / MASKS_AUG]
    return [
        _example(
            path, n, [_image_path(root, n)], [_file(folder, n, (".png",)) for folder in folders]
        )
        for n in _ids(path)
    ]


def _with_sbd(root, dataset, train, val):
    """Lists all that there is to train on, sorted by name; masks of `train` are finer and go before SBD's."""
    held_out = {example.id for example in val}
    examples = {example.id: example for example in train if example.id not in held_out}
    for path in (dataset / name for name in sbd.LISTS):
        for name in _ids(path):
            if name not in held_out and name not in examples:
                images = [_image_path(root, name), sbd.image_path(dataset, name)]
                examples[name] = _example(path, name, images, [sbd.mask_path(dataset, name)])
    return [examples[name] for name in sorted(examples)]


def _image_path(root, name):
    return _file(root / IMAGES, name, ENDINGS)


def _file(folder, name, endings):
    """Finds the file of this name; where there is none, returns what it would be with the first of the endings."""
    paths = [folder / f"{name}{e}" for ending in endings for e in (ending, ending.upper())]
    return next((path for path in paths if path.is_file()), paths[0])


def _ids(path):
    try:
        lines = files.read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({files.reason(error)})") from error
    ids = [line.strip() for line in lines if line.strip()]
    if not ids:
        raise InputError(f"{path}: found no name of an image, expected one a line")
    if twice := [name for name, count in Counter(ids).items() if count > 1]:
        raise InputError(f"{path}: found {twice[0]} twice, expected each name once")
    return ids


def _example(path, name, images, masks):
    """Makes the example `name` that the list `path` has, of the first image and mask that are there."""
    image, mask = (next((f for f in ways if f.is_file()), None) for ways in (images, masks))
    if image is None or mask is None:
        missing = " nor ".join(map(str, images if image is None else masks))
        raise InputError(f"{path}: {name} is listed, but there is no {missing}")
    return DevkitExample(name, image, mask)
