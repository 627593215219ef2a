"""Train the network of a cell on ImageNet's mobile setting from scratch (Li, Gong, Zhu, AAAI 2020, Sec. 4.3).

  nge train train_imagenet             or: python -m nge_jax.main --config=configs/train_imagenet.py
  nge train train_imagenet genotype=runs/search_cifar
  nge train train_imagenet data.name=folder:/data/birds     train/ and val/ in it
  nge train train_imagenet:imagenette  10 classes, small, for a CPU
  nge train train_imagenet:smoke       does it run?

Words after the colon, joined by commas: `imagenette`; `smoke`, which makes the network tiny and trains two epochs of
the data that the other keys name. `imagenette` takes ten minutes on a CPU core; DARTS_V2 with seed 0, trained on 400 of
its photographs, then names 55.5 % of 200 others rightly, where chance names 10 %.

ImageNet is not downloaded by itself: its archives need an account (the first command says where they go).
The paper reports 25.3 % top-1 and 7.9 % top-5 error at 5.0 M parameters for its own cell, which it does not print.
Nobody has run it at full size to its end yet. It is meant for several GPUs, four in the paper: days.
"""

from ml_collections import ConfigDict

from nge_jax.settings.compose import apply_words

VARIANTS = (
    {
        "imagenette": {  # own choice, no experiment of the paper: real photographs on a CPU
            "data.name": "imagenette/320px-v2",
            "data.image_size": 128,
            "network.cells": 6,
            "network.channels": 8,
            "train.epochs": 400,
            "train.images_per_epoch": 384,  # of 9,469; a smaller set wants 0
            "train.batch_size": 32,
            "train.auxiliary_weight": 0.0,
            "train.warmup_epochs": 2,
            "weights.learning_rate": 0.1,
            "run.checkpoint_every_steps": 120,
        },
    },
    {
        "smoke": {
            "data.image_size": 64,
            "network.cells": 3,
            "network.channels": 4,
            "train.epochs": 2,
            "train.batch_size": 16,
            "train.images_per_epoch": 64,
            "train.auxiliary_weight": 0.0,
            "train.warmup_epochs": 1,
        },
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
    # A classification set of TFDS (name or name/config), or folder:DIR: DIR/CLASS/*, or DIR/train/CLASS/* with
    # DIR/val or DIR/test, or both (then val chooses the best checkpoint).
    config.data.name = "imagenet2012"
    config.data.dir = ""  # tfds folder; empty: TFDS's own default, ~/tensorflow_datasets
    config.data.image_size = 224  # of the crops; a multiple of 32
    config.data.flip = True  # half of the images
    # Strengths of brightness, contrast, saturation and hue (paper silent, DARTS values).
    config.data.jitter = (0.4, 0.4, 0.4, 0.2)
    # Of a folder without val and test: the part of each class that is held out, and the seed that draws it.
    config.data.test_fraction = 0.2
    config.data.split_seed = 0
    # Decode every image once before the training, and leave out those that are damaged. Else they end it.
    config.data.skip_damaged = False
    # Training images set aside to choose the best checkpoint by, after each epoch. 0: none, as in the paper; the last
    # network counts, and there is no best one.
    config.data.validation = 0

    config.network = ConfigDict()
    config.network.cells = 14  # the fifth and the tenth are reduction cells
    config.network.channels = 48  # of the first cells' operations
    config.network.dtype = "float32"  # of the computation; "bfloat16" for GPU and TPU

    config.train = ConfigDict()
    config.train.epochs = 250
    config.train.batch_size = 512  # over all devices of all processes
    config.train.images_per_epoch = 0  # 0: all 1,281,167
    config.train.drop_path = 0.0  # paper silent, DARTS value
    config.train.auxiliary_weight = 0.4  # of the auxiliary head's loss; needs images of 224x224
    config.train.label_smoothing = 0.1
    # "balanced": a class counts as much as any other, however few images it has; "none": an image as any other.
    config.train.class_weights = "none"
    config.train.warmup_epochs = 5  # in which the learning rate grows linearly from 0
    config.train.decay = "linear"  # after them, step by step to 0; or "cosine"
    config.train.accumulate = 1  # micro-batches to a step, one after the other, for small memories
    # Batch statistics of the whole batch (or micro-batch), however many devices; else each device's own
    config.train.sync_batch_norm = False

    config.weights = ConfigDict()  # SGD
    config.weights.learning_rate = 0.25
    config.weights.momentum = 0.9
    config.weights.weight_decay = 3e-5  # paper silent, DARTS value
    config.weights.clip_norm = 5.0  # of the whole gradient's norm

    # Nothing here changes a result, so a training may be resumed with other values.
    config.run = ConfigDict()
    config.run.steps_per_dispatch = 4  # training steps compiled into one call, with their images
    config.run.checkpoint_every_steps = 2502  # an epoch
    config.run.keep_checkpoints = 2
    # Updates that are not finite and may be left out, counted as skipped_updates; at one more the run stops.
    config.run.skip_nonfinite = 0
    config.run.eval_batch_size = 128  # of each device, in the final test

    return apply_words(config, words, VARIANTS, __file__)
