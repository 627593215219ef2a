"""Train the network of a cell on CIFAR-10 from scratch (Li, Gong, Zhu, AAAI 2020, Sec. 4.2).

  nge train train_cifar10               or: python -m nge_jax.main --config=configs/train_cifar10.py
  nge train train_cifar10 genotype=runs/search_cifar
  nge train train_cifar10:lr0.025       the learning rate of the sibling codes
  nge train train_cifar10:small         scaled down, for a CPU
  nge train train_cifar10:fast          a second recipe, a few minutes of a GPU
  nge train train_cifar10:lr0.025,smoke

Words after the colon, joined by commas: `lr0.025`; one recipe of `small` and `tiny`, scaled down, by which cells are
compared on a CPU, `fast`, by which they are on a GPU (after the public CIFAR speed runs), `fast_small` and `fast_tiny`,
that one scaled down as much, `smoke` and `fast_smoke`, two short epochs that show that it runs (the paper's when none
is given). Which of two cells is better may depend on the recipe: `experiments/recipes.py` tells how much.

The setting is that of DARTS (Liu et al., ICLR 2019), which the paper follows; "paper" marks where it departs.

The paper reports 2.60 % test error at 3.5 M parameters for its own cell, which it does not print.
Nobody has run it at full size to its end yet. It is meant for a GPU: two CPU cores would need more than a month.
"""

from ml_collections import ConfigDict

from nge_jax.settings.compose import apply_words

# Some ten minutes on a CPU core; no experiment of the paper. Every image is seen about once: nothing that keeps a
# network from learning them by heart.
SMALL = {
    "data.pad": 0,
    "data.cutout": 0,
    "network.cells": 5,
    "network.channels": 16,
    "train.epochs": 6,
    "train.batch_size": 32,
    "train.images_per_epoch": 10_000,  # others in every epoch
    "train.drop_path": 0.0,
    "train.auxiliary_weight": 0.0,
    "weights.learning_rate": 0.025,
    "run.steps_per_dispatch": 20,
    "run.checkpoint_every_steps": 300,
}
TINY = SMALL | {"network.channels": 8, "train.epochs": 4}  # three to four of those minutes
SMOKE = {  # does it run? A minute on two CPU cores, most of it compilation
    "network.cells": 3,
    "network.channels": 4,
    "train.epochs": 2,
    "train.batch_size": 32,
    "train.images_per_epoch": 256,
    "run.steps_per_dispatch": 4,
}
# After the public speed runs on CIFAR-10, which train another kind of network: a one-cycle rate, batches of 512, weight
# decay and cutout of D. Page's "How to train your ResNet" (2018), label smoothing and alternating flip of K. Jordan's
# "94% on CIFAR-10 in 3.29 seconds" (2024). Untuned on cells; no experiment of the paper.
ONE_CYCLE = {
    "data.alternate_flip": True,
    "train.decay": "linear",
    "train.drop_path": 0.0,
    "train.auxiliary_weight": 0.0,
    "train.label_smoothing": 0.2,
    "weights.weight_decay": 5e-4,
}
FAST = ONE_CYCLE | {
    "data.cutout": 8,
    "network.cells": 8,  # of the search's size
    "network.channels": 16,
    "train.epochs": 24,
    "train.batch_size": 512,
    "train.warmup_epochs": 5,
    "weights.learning_rate": 0.4,
}
# Of the networks and images of the scaled-down recipes. So few steps leave no room for batches of 512; the rate is as
# large for an image, and the warm-up as large a part.
FEW_STEPS = ONE_CYCLE | {
    "train.batch_size": 128,
    "train.warmup_epochs": 1,
    "weights.learning_rate": 0.1,
}
VARIANTS = (
    {"lr0.025": {"weights.learning_rate": 0.025}},
    {
        "small": SMALL,
        "tiny": TINY,
        "smoke": SMOKE,
        "fast": FAST,
        "fast_small": SMALL | FEW_STEPS,
        "fast_tiny": TINY | FEW_STEPS,
        "fast_smoke": SMOKE | ONE_CYCLE,
    },
)


def get_config(words: str = "") -> ConfigDict:
    config = ConfigDict()
    config.task = "train"
    config.seed = 0
    # A published cell by name, a genotype's JSON file (or the search's workdir), or random:SEED.
    config.genotype = "DARTS_V2"
    # Workdir of a training with the same cell, cells and channels, to begin with its weights: with all of them if it
    # has the same classes, else with those of the backbone. Empty: from random weights.
    config.init_from = ""

    config.data = ConfigDict()
    config.data.name = "cifar10"
    config.data.dir = ""  # tfds folder; empty: TFDS's own default, ~/tensorflow_datasets
    config.data.pad = 4  # zero padding, then a random crop of 32x32
    config.data.flip = True  # half of the images
    # Of the flipped: each image of two epochs in one, which one being random; else anew in every epoch.
    config.data.alternate_flip = False
    config.data.cutout = 16  # side of the square, in pixels
    # Training images set aside to choose the best checkpoint by, after each epoch. 0: none, as in the paper; the last
    # network counts, and there is no best one.
    config.data.validation = 0

    config.network = ConfigDict()
    config.network.cells = 20  # the seventh and the fourteenth are reduction cells
    config.network.channels = 36  # of the first cells' operations
    config.network.dtype = "float32"  # of the computation; "bfloat16" for GPU and TPU

    config.train = ConfigDict()
    config.train.epochs = 600
    config.train.batch_size = 128  # over all devices (paper; DARTS 96)
    config.train.images_per_epoch = 0  # 0: all 50,000
    config.train.drop_path = 0.3  # at the end, linearly from 0 (paper; DARTS 0.2)
    config.train.auxiliary_weight = 0.4  # of the auxiliary head's loss
    config.train.label_smoothing = 0.0  # used on ImageNet only
    # "balanced": a class counts as much as any other, however few images it has; "none": an image as any other.
    config.train.class_weights = "none"
    config.train.warmup_epochs = 0  # in which the learning rate grows linearly from 0
    config.train.decay = "cosine"  # after them, step by step to 0 (paper); or "linear"
    config.train.accumulate = 1  # micro-batches to a step, one after the other, for small memories
    # Batch statistics of the whole batch (or micro-batch), however many devices; else each device's own
    config.train.sync_batch_norm = False

    # SGD
    config.weights = ConfigDict()
    # As the paper prints it. Every sibling code (DARTS, PC-DARTS, P-DARTS) has 0.025, so that the paper's may be a
    # misprint; `:lr0.025` takes theirs.
    config.weights.learning_rate = 0.25
    config.weights.momentum = 0.9
    config.weights.weight_decay = 3e-4
    config.weights.clip_norm = 5.0  # of the whole gradient's norm

    # Nothing here changes a result, so a training may be resumed with other values.
    config.run = ConfigDict()
    config.run.steps_per_dispatch = 30  # training steps compiled into one call
    config.run.checkpoint_every_steps = 390  # an epoch
    config.run.keep_checkpoints = 2
    # Updates that are not finite and may be left out, counted as skipped_updates; at one more the run stops.
    config.run.skip_nonfinite = 0
    config.run.eval_batch_size = 250  # of each device, in the final test

    return apply_words(config, words, VARIANTS, __file__)
