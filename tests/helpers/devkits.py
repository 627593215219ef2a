"""A small VOCdevkit folder, as a user has one, and the batches of one epoch."""

import shutil

import numpy as np
from PIL import Image

from nge_jax.data.voc_segmentation import batches as voc
from nge_jax.data.voc_segmentation.palette import voc_palette

SEED, CROP = 3, 33
COLORS = {0: (0, 0, 0), 1: (200, 0, 0), 2: (0, 200, 0), 255: (0, 0, 200)}  # an image's, by label


def write_example(root, name, number, folder, mode="P"):
    """A flat image for each label, so that image and mask can be told to move together."""
    size = 24 + number, 40 - number  # height, width
    labels = np.zeros(size, np.uint8)
    labels[:12, :16], labels[12:, :16], labels[:5, 16:] = 1, 2, 255
    labels[-8:, 24:] = 1 + number % 2  # no two neighboring images are equal
    pixels = np.zeros((*size, 3), np.uint8)
    for label, color in COLORS.items():
        pixels[labels == label] = color
    Image.fromarray(pixels).save(root / "JPEGImages" / f"{name}.jpg", quality=100, subsampling=0)
    mask = Image.fromarray(labels)
    if mode == "P":
        mask.putpalette(voc_palette().tobytes())
    mask.save(root / folder / f"{name}.png")
    return labels


def write_devkit(parent):
    """VOCdevkit with 2 images of train, 7 of train_aug, 3 of val; the masks by name."""
    root = parent / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationClassAug"):
        (root / folder).mkdir(parents=True)
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    names = [f"2007_{number:06d}" for number in range(10)]
    lists = {"train": names[:2], "train_aug": names[:7], "val": names[7:]}
    for split, listed in lists.items():
        (root / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(listed) + "\n")
    masks = {}
    for number, name in enumerate(names):
        folder = "SegmentationClass" if name in lists["val"] else "SegmentationClassAug"
        masks[name] = write_example(root, name, number, folder, "L" if number == 5 else "P")
    for name in lists["train"]:
        shutil.copy(root / f"SegmentationClassAug/{name}.png", root / "SegmentationClass")
    return root, masks


def epoch_of(data, *args, **kwargs):
    batches = list(voc.train_batches(data, SEED, *args, crop=CROP, **kwargs))
    return [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]


def remove(path):
    return lambda root: (
        shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()
    )
