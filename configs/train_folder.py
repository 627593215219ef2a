"""Train the network of a cell on your own images: a folder, an .npz file, or any classification set of TFDS.

  nge train train_folder               or: python -m nge_jax.main --config=configs/train_folder.py
  nge train train_folder --data photos genotype=runs/search_folder
  nge train train_folder:smoke --data photos      does it run?

Words after the colon: `smoke`, a minute on two CPU cores; `large`, the size of the paper's network for ImageNet and its
optimizer, for a GPU; `sgd`, this optimizer at the small size.

The data choose where a value is 0 or "auto" here, and the run says what they chose. Images under 96 pixels are resized
once and train as CIFAR's do (`train_cifar10.py`); larger ones are cropped at random and train as ImageNet's do
(`train_imagenet.py`). The optimizer is AdamW, which a study of few images chose (docs/results.md). The network is an
own choice, small enough for a CPU: some hundred images take about half an hour on two cores.
"""

from ml_collections import ConfigDict

from nge_jax.settings.compose import Stated, make_config
from nge_jax.settings.configs import shipped_module

SETTINGS = shipped_module("train_imagenet").SETTINGS | {
    "data.name": Stated("folder:", "folder:DIR, npz:FILE, or a classification set of TFDS"),
    "data.image_size": 0,
    "data.cutout": Stated(0, "for images under 96 pixels"),
    "network.stem": "auto",
    "network.cells": Stated(6, "the third and the fifth are reduction cells"),
    "network.channels": 16,
    "train.epochs": 0,
    "train.batch_size": 0,
    "train.auxiliary_weight": 0.0,
    "train.warmup_epochs": 1,
    "train.decay": "cosine",
    "weights.optimizer": "adamw",
    "weights.learning_rate": Stated(0.003, "better than 0.001 and than SGD's 0.1 on few images"),
    "weights.weight_decay": 0.05,
    "run.checkpoint_every_steps": 500,
}
SGD = {
    "weights.optimizer": "sgd", "weights.learning_rate": 0.1, "weights.weight_decay": 3e-4,
}  # fmt: skip
LARGE = SGD | {"network.cells": 14, "network.channels": 48}
SMOKE = {  # does it run? A minute on two CPU cores, most of it compilation
    "data.image_size": 32, "network.cells": 3, "network.channels": 4, "train.epochs": 2, "train.batch_size": 2,
}  # fmt: skip
VARIANTS = ({"large": LARGE, "smoke": SMOKE}, {"sgd": SGD})


def get_config(words: str = "") -> ConfigDict:
    return make_config(SETTINGS, words, VARIANTS, __file__)
