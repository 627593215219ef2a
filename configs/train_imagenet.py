"""Train the network of a cell on ImageNet's mobile setting from scratch (Li, Gong, Zhu, AAAI 2020, Sec. 4.3).

  nge train train_imagenet             or: python -m nge_jax.main --config=configs/train_imagenet.py
  nge train train_imagenet genotype=runs/search_cifar
  nge train train_imagenet data.name=folder:/data/birds     train/ and val/ in it
  nge train train_imagenet:imagenette  10 classes, small, for a CPU
  nge train train_imagenet:smoke       does it run?

Words after the colon, joined by commas: `imagenette`; `smoke`, which makes the network tiny and trains two epochs of
the data that the other keys name. `imagenette` takes ten minutes on a CPU core. DARTS_V2 with seed 0, trained on 400 of
its photographs, then names 55.5 % of 200 others rightly, where chance names 10 %.

ImageNet is not downloaded by itself: its archives need an account (the first command says where they go).
The paper reports 25.3 % top-1 and 7.9 % top-5 error at 5.0 M parameters for its own cell, which it does not print.
Nobody has run it at full size to its end yet. It is meant for several GPUs, four in the paper: days.
"""

from ml_collections import ConfigDict

from nge_jax.settings.compose import Stated, make_config

SETTINGS = {
    "task": "train",
    "data.name": Stated("imagenet2012", "or another set of TFDS; or folder:DIR with DIR/CLASS/*, or DIR/train/CLASS/* "
                        "beside DIR/val, DIR/test or both (val then chooses the best checkpoint)"),
    "data.image_size": Stated(224, "the mobile setting"),
    "network.cells": Stated(14, "paper Sec. 4.3"),
    "network.channels": Stated(48, "paper Sec. 4.3"),
    "train.epochs": Stated(250, "paper Sec. 4.3"),
    "train.batch_size": Stated(512, "paper Sec. 4.3, four devices"),
    "train.drop_path": Stated(0.0, "paper silent, DARTS value"),
    "train.label_smoothing": Stated(0.1, "paper Sec. 4.3"),
    "train.warmup_epochs": Stated(5, "paper Sec. 4.3"),
    "train.decay": Stated("linear", "paper Sec. 4.3"),
    "weights.learning_rate": Stated(0.25, "paper Sec. 4.3"),
    "weights.weight_decay": Stated(3e-5, "paper silent, DARTS value"),
    "run.steps_per_dispatch": 4,  # each brings its images
    "run.checkpoint_every_steps": 2502,  # an epoch
    "run.eval_batch_size": 128,
}  # fmt: skip
IMAGENETTE = {  # no experiment of the paper: 384 of 9,469 photographs an epoch; a smaller set wants 0
    "data.name": "imagenette/320px-v2", "data.image_size": 128, "network.cells": 6, "network.channels": 8,
    "train.epochs": 400, "train.images_per_epoch": 384, "train.batch_size": 32, "train.auxiliary_weight": 0.0,
    "train.warmup_epochs": 2, "weights.learning_rate": 0.1, "run.checkpoint_every_steps": 120,
}  # fmt: skip
SMOKE = {
    "data.image_size": 64, "network.cells": 3, "network.channels": 4, "train.epochs": 2, "train.batch_size": 16,
    "train.images_per_epoch": 64, "train.auxiliary_weight": 0.0, "train.warmup_epochs": 1,
}  # fmt: skip
VARIANTS = ({"imagenette": IMAGENETTE}, {"smoke": SMOKE})


def get_config(words: str = "") -> ConfigDict:
    return make_config(SETTINGS, words, VARIANTS, __file__)
