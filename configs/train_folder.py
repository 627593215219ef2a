"""Train the network of a cell on your own images: a folder, an .npz file, or any classification set of TFDS.

  nge train train_folder               or: python -m nge_jax.main --config=configs/train_folder.py
  nge train train_folder --data photos genotype=runs/search_folder
  nge train train_folder:smoke --data photos      does it run?

Words after the colon: `smoke`, a minute on two CPU cores; `large`, the size of the paper's network for ImageNet, for a
GPU.

What is 0 or "auto" here is chosen by the data, and said. Images under 96 pixels are resized once and train as CIFAR's
do (`train_cifar10.py`); larger ones are cropped at random and train as ImageNet's do (`train_imagenet.py`). The network
is an own choice, small enough for a CPU: some hundred images take about half an hour on two cores.
"""

from pathlib import Path

from ml_collections import ConfigDict

from nge_jax.settings.compose import apply_words
from nge_jax.settings.configs import differ, load_module

BASE = load_module(Path(__file__).with_name("train_imagenet.py"))
VARIANTS = (
    {
        "large": {"network.cells": 14, "network.channels": 48},
        "smoke": {  # does it run? A minute on two CPU cores, most of it compilation
            "data.image_size": 32,
            "network.cells": 3,
            "network.channels": 4,
            "train.epochs": 2,
            "train.batch_size": 2,
        },
    },
)
DIFFERENCES = {
    "data.name": "folder:",  # folder:DIR, npz:FILE, or a classification set of TFDS
    # Pixels of a side. 0: the images' own size up to 64, else 128.
    "data.image_size": 0,
    "network.cells": 6,  # the third and the fifth are reduction cells
    "network.channels": 16,
    "train.epochs": 0,  # 0: about 3,000 updates, 10 to 200 epochs
    "train.batch_size": 0,  # 0: at most 64, a fourth of the images or less
    "train.auxiliary_weight": 0.0,
    "train.warmup_epochs": 1,
    "train.decay": "cosine",
    "weights.learning_rate": 0.1,
    "weights.weight_decay": 3e-4,
    "run.checkpoint_every_steps": 500,
}


def get_config(words: str = "") -> ConfigDict:
    config = BASE.get_config()
    differ(config, DIFFERENCES)
    # Of images under 96 pixels: zero padding before the random crop, and the side of the square that is cut out.
    config.data.pad = 4
    config.data.cutout = 0
    # As the images are read: 1, gray, or 3. 0: gray if every image is. ImageNet's stem takes 3.
    config.data.channels = 0
    # Of pixels in 0..1, one for each channel; none: those of the training images.
    config.data.mean = ()
    config.data.std = ()
    # Of a device's memory, in gigabytes, for resized images. Beyond that they stay on the host.
    config.data.device_budget_gb = 2.0
    # "small" is CIFAR's, "large" ImageNet's: it makes an eighth of the size. "auto": large from 96 pixels on.
    config.network.stem = "auto"
    return apply_words(config, words, VARIANTS, __file__)
