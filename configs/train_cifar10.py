"""Train the network of a cell on CIFAR-10 from scratch (Li, Gong, Zhu, AAAI 2020, Sec. 4.2).

  nge train train_cifar10               or: python -m nge_jax.main --config=configs/train_cifar10.py
  nge train train_cifar10 genotype=runs/search_cifar
  nge train train_cifar10:lr0.025       the learning rate of the sibling codes
  nge train train_cifar10:small         scaled down, for a CPU
  nge train train_cifar10:fast          a second recipe, a few minutes of a GPU

Words after the colon, joined by commas: `lr0.025`, and one recipe. `small` and `tiny` are scaled down, to compare cells
on a CPU. `fast` compares cells on a GPU; `fast_small` and `fast_tiny` are scaled down as much. `smoke` and `fast_smoke`
show that it runs. The better of two cells may depend on the recipe (`experiments/recipes.py`).

The setting is that of DARTS (Liu et al., ICLR 2019), which the paper follows. The paper reports 2.60 % test error at
3.5 M parameters for its own cell, which it does not print. Nobody has run it at full size to its end yet. It is meant
for a GPU: two CPU cores would need more than a month.
"""

from ml_collections import ConfigDict

from nge_jax.settings.compose import make_config

SETTINGS = {
    "task": "train", "data.name": "cifar10", "data.pad": 4, "data.flip": True, "data.cutout": 16,
    "network.cells": 20, "network.channels": 36, "train.epochs": 600, "train.auxiliary_weight": 0.4,
    "train.batch_size": 128, "train.drop_path": 0.3,  # paper; DARTS 96 and 0.2
    "weights.learning_rate": 0.25,  # as the paper prints it; every sibling code has 0.025
    "weights.momentum": 0.9, "weights.weight_decay": 3e-4, "weights.clip_norm": 5.0, "train.decay": "cosine",
}  # fmt: skip
# Ten minutes on a CPU core; no experiment of the paper. Images are seen about once: nothing guards against overfitting.
SMALL = {
    "data.pad": 0, "data.cutout": 0, "network.cells": 5, "network.channels": 16, "train.epochs": 6,
    "train.batch_size": 32, "train.images_per_epoch": 10_000, "train.drop_path": 0.0, "train.auxiliary_weight": 0.0,
    "weights.learning_rate": 0.025, "run.steps_per_dispatch": 20, "run.checkpoint_every_steps": 300,
}  # fmt: skip
TINY = SMALL | {"network.channels": 8, "train.epochs": 4}  # three or four minutes
SMOKE = {  # does it run? A minute on two CPU cores, most of it compilation
    "network.cells": 3, "network.channels": 4, "train.epochs": 2, "train.batch_size": 32,
    "train.images_per_epoch": 256, "run.steps_per_dispatch": 4,
}  # fmt: skip
# Values of the public speed runs, untuned on cells: rate, batches of 512, weight decay and cutout of D. Page's ("How to
# train your ResNet", 2018), smoothing and alternating flips of K. Jordan's ("94% on CIFAR-10 in 3.29 seconds", 2024).
ONE_CYCLE = {
    "data.alternate_flip": True, "train.decay": "linear", "train.drop_path": 0.0, "train.auxiliary_weight": 0.0,
    "train.label_smoothing": 0.2, "weights.weight_decay": 5e-4,
}  # fmt: skip
FAST = ONE_CYCLE | {  # the network has the search's size
    "data.cutout": 8, "network.cells": 8, "network.channels": 16, "train.epochs": 24, "train.batch_size": 512,
    "train.warmup_epochs": 5, "weights.learning_rate": 0.4,
}  # fmt: skip
# Scaled-down recipes have too few steps for batches of 512. The rate is as large for an image, the warm-up too.
FEW_STEPS = {**ONE_CYCLE, "train.batch_size": 128, "train.warmup_epochs": 1, "weights.learning_rate": 0.1}  # fmt: skip
RECIPES = {
    "small": SMALL, "tiny": TINY, "smoke": SMOKE, "fast": FAST, "fast_small": SMALL | FEW_STEPS,
    "fast_tiny": TINY | FEW_STEPS, "fast_smoke": SMOKE | ONE_CYCLE,
}  # fmt: skip
VARIANTS = ({"lr0.025": {"weights.learning_rate": 0.025}}, RECIPES)


def get_config(words: str = "") -> ConfigDict:
    return make_config(SETTINGS, words, VARIANTS, __file__)
