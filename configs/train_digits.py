"""Train a small network of a cell on scikit-learn's digits: does the cell learn? In a minute, on a CPU, offline.

  nge train train_digits               or: python -m nge_jax.main --config=configs/train_digits.py
  nge train train_digits genotype=runs/search_digits

Meant for two CPU cores: about a minute, most of it compilation. It trains on 1,442 images of 8x8 pixels and tests on
355 others. DARTS_V2, PC_DARTS_cifar and random cells reach 98.9 to 99.7 %: that shows that a cell works, not which is
best. The settings are those of `train_cifar10.py` made small; they stand for no experiment of the paper.
`train_digits.py:smoke` runs one epoch of a still smaller network.
"""

from ml_collections import ConfigDict

from nge_jax.settings.compose import apply_words

VARIANTS = ({"smoke": {"network.channels": 4, "train.epochs": 1, "train.images_per_epoch": 256}},)


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
    config.data.name = "digits"
    config.data.dir = ""  # none: the digits come with scikit-learn
    config.data.pad = 1  # of 8 pixels; half of CIFAR's 4 of 32 would be too much for strokes
    config.data.flip = False  # a mirrored digit is another sign
    config.data.alternate_flip = False
    config.data.cutout = 0  # the strokes are all there is
    # Training images set aside to choose the best checkpoint by, after each epoch. 0: none, as in the paper; the last
    # network counts, and there is no best one.
    config.data.validation = 0

    config.network = ConfigDict()
    config.network.cells = 3  # the second and the third are reduction cells: 8x8, 4x4, 2x2
    config.network.channels = 16
    config.network.dtype = "float32"

    config.train = ConfigDict()
    config.train.epochs = 25
    config.train.batch_size = 64
    config.train.images_per_epoch = 0  # 0: all of them
    config.train.drop_path = 0.0  # the network is too small to need it
    config.train.auxiliary_weight = 0.0  # the auxiliary head needs images of 32x32
    config.train.label_smoothing = 0.0
    # "balanced": a class counts as much as any other, however few images it has; "none": an image as any other.
    config.train.class_weights = "none"
    config.train.warmup_epochs = 0
    config.train.decay = "cosine"  # of the learning rate, to 0
    config.train.accumulate = 1  # micro-batches to a step, one after the other, for small memories
    # Batch statistics of the whole batch (or micro-batch), however many devices; else each device's own
    config.train.sync_batch_norm = False

    config.weights = ConfigDict()
    config.weights.learning_rate = 0.1
    config.weights.momentum = 0.9
    config.weights.weight_decay = 3e-4
    config.weights.clip_norm = 5.0

    # Nothing here changes a result, so a training may be resumed with other values.
    config.run = ConfigDict()
    config.run.steps_per_dispatch = 22
    config.run.checkpoint_every_steps = 110
    config.run.keep_checkpoints = 2
    # Updates that are not finite and may be left out, counted as skipped_updates; at one more the run stops.
    config.run.skip_nonfinite = 0
    config.run.eval_batch_size = 128

    return apply_words(config, words, VARIANTS, __file__)
