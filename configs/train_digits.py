"""Train a small network of a cell on scikit-learn's digits: does the cell learn? In a minute, on a CPU, offline.

  nge train train_digits               or: python -m nge_jax.main --config=configs/train_digits.py
  nge train train_digits genotype=runs/search_digits

Meant for two CPU cores: about a minute, most of it compilation. It trains on 1,442 images of 8x8 pixels and tests on
355 others. DARTS_V2, PC_DARTS_cifar and random cells reach 98.9 to 99.7 %: that shows that a cell works, not which is
best. The settings are those of `train_cifar10.py` made small; they stand for no experiment of the paper.
`train_digits.py:smoke` runs one epoch of a still smaller network.
"""

from ml_collections import ConfigDict

from nge_jax.settings.compose import Stated, make_config
from nge_jax.settings.configs import shipped_module

SETTINGS = shipped_module("train_cifar10").SETTINGS | {
    "data.name": "digits",
    "data.pad": Stated(
        1, "the images have 8 pixels; half of CIFAR's 4 of 32 would be too much for strokes"
    ),
    "data.flip": Stated(False, "a mirrored digit is another sign"),
    "data.cutout": Stated(0, "the strokes are all there is"),
    "network.cells": Stated(3, "the second and the third are reduction cells: 8x8, 4x4, 2x2"),
    "network.channels": 16,
    "train.epochs": 25,
    "train.batch_size": 64,
    "train.drop_path": Stated(0.0, "the network is too small to need it"),
    "train.auxiliary_weight": Stated(0.0, "the auxiliary head needs images of 32x32"),
    "weights.learning_rate": 0.1,
    "run.steps_per_dispatch": 22,
    "run.checkpoint_every_steps": 110,
    "run.eval_batch_size": 128,
}
SMOKE = {"network.channels": 4, "train.epochs": 1, "train.images_per_epoch": 256}
VARIANTS = ({"smoke": SMOKE},)


def get_config(words: str = "") -> ConfigDict:
    return make_config(SETTINGS, words, VARIANTS, __file__)
