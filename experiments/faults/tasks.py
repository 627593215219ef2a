"""The runs that faults hit: networks of one or two cells, with a checkpoint after every step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nge_jax.settings.configs import load_config
from nge_jax.space import genotype
from nge_jax.space.genotype import Genotype

PAIRS = (("dil_conv_3x3", 0), ("skip_connect", 1))
CELL = Genotype(PAIRS, (2,), PAIRS, (2,))
IMAGES, PREPARED = "images", "tfds"
# Data that a task reads while it runs. A trial may take these folders away.
DATA = {"train on a folder": IMAGES, "segment": PREPARED}


def search_config(folder: Path, alternation: str = "epoch", strategy: str = "gradient") -> Any:
    config = load_config("search_digits", f"{strategy},smoke")
    config.network.cells = 1
    config.search.alternation = alternation
    config.search.images_per_epoch = 24
    config.run.steps_per_dispatch = config.run.checkpoint_every_steps = 1
    return config


def train_config(folder: Path) -> Any:
    config = load_config("train_digits", "smoke")
    (folder / "cell.json").write_text(genotype.to_json(CELL))
    config.genotype = str(folder / "cell.json")
    config.network.cells = 1
    config.data.validation = 64
    config.train.epochs, config.train.batch_size, config.train.images_per_epoch = 3, 32, 160
    config.run.steps_per_dispatch = config.run.checkpoint_every_steps = 1
    return config


def folder_config(folder: Path) -> Any:
    """Makes the config of a training that reads images while it runs."""
    config = load_config("train_folder", "smoke")
    if not (folder / IMAGES).exists():
        write_folder(folder / IMAGES)
    config.genotype = str(folder / "cell.json")
    (folder / "cell.json").write_text(genotype.to_json(CELL))
    config.data.name, config.network.stem = f"folder:{folder / IMAGES}", "large"
    config.network.cells, config.train.epochs, config.train.batch_size = 1, 3, 4
    config.run.steps_per_dispatch = config.run.checkpoint_every_steps = 1
    config.run.eval_batch_size = 4
    return config


def segment_config(folder: Path) -> Any:
    config = load_config("segment_voc", "smoke")
    if not (folder / "VOCdevkit").exists():
        write_devkit(folder / "VOCdevkit" / "VOC2012")
    config.genotype = str(folder / "cell.json")
    (folder / "cell.json").write_text(genotype.to_json(CELL))
    config.data.devkit, config.data.dir = str(folder / "VOCdevkit"), str(folder / PREPARED)
    config.data.crop, config.data.test_size = 33, 49
    config.network.cells, config.network.width, config.network.rates = 2, 4, (1, 2)
    config.train.steps, config.train.batch_size = 6, 2
    config.run.steps_per_dispatch = config.run.checkpoint_every_steps = 1
    config.run.eval_batch_size = 2
    return config


TASKS: dict[str, Callable[[Path], Any]] = {
    "train": train_config,
    "train on a folder": folder_config,
    "search": search_config,
    "search by batch": lambda folder: search_config(folder, alternation="batch"),
    "evolution": lambda folder: search_config(folder, strategy="evolution"),
    "segment": segment_config,
}


def write_folder(root: Path) -> None:
    """Writes a folder of two classes. Each class has some held-out images."""
    rng = np.random.RandomState(0)
    for label in ("ant", "bee"):
        (root / label).mkdir(parents=True)
        for number in range(12):
            image = rng.randint(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(image).save(root / label / f"{number}.png")


def write_devkit(root: Path) -> None:
    """Writes a VOC2012 folder of six images to train on and two to test on."""
    rng = np.random.RandomState(0)
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / part).mkdir(parents=True)
    names = [f"2007_{number:06d}" for number in range(8)]
    for name in names:
        Image.fromarray(rng.randint(0, 256, (40, 48, 3), np.uint8)).save(
            root / f"JPEGImages/{name}.jpg"
        )
        Image.fromarray(rng.randint(0, 21, (40, 48), np.uint8)).save(
            root / f"SegmentationClass/{name}.png"
        )
    for split, listed in (("train", names[:6]), ("val", names[6:])):
        (root / f"ImageSets/Segmentation/{split}.txt").write_text("\n".join(listed) + "\n")
