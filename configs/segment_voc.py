"""Fine-tune the network of a cell as DeepLabv3's backbone on PASCAL VOC 2012 (Li, Gong, Zhu, AAAI 2020).

  nge segment segment_voc              or: python -m nge_jax.main --config=configs/segment_voc.py
  nge segment segment_voc genotype=... init_from=runs/train_imagenet
  nge segment segment_voc:small        a small network, for a CPU

Words after the colon, joined by commas: `small`, for a backbone of train_imagenet.py:imagenette's size; `smoke`, does
it run?

`data.devkit=VOCdevkit` names the data the first time; it is prepared in TFDS's folder. SBD's annotations are used where
they are there: VOC2012/SegmentationClassAug and train_aug.txt, or benchmark_RELEASE beside VOC2012 or VOCdevkit. A
folder with a labels.txt beside JPEGImages has classes of its own, named there line by line, and is read as it is
(docs/data.md).

The paper names DeepLabv3 and the pre-training on ImageNet, no more; all other values are DeepLab's. It reports 75.96 %
mIoU at 10.31 M parameters for its own cell, which it does not print; DARTS_V2 has 9.99 M. Nobody has run it at full
size to its end yet. It is meant for a GPU; three steps on a CPU core took 5 GB with train.accumulate=8.
"""

from ml_collections import ConfigDict

from nge_jax.settings.compose import make_config

SETTINGS = {
    "task": "segment",
    "data.crop": 513,
    "data.test_size": 513,
    "network.output_stride": 16,
    "network.rates": (6, 12, 18),
    "network.image_pooling": True,
    "network.width": 256,
    "network.dropout": 0.1,
    "train.steps": 30_000,
    "train.batch_size": 16,
    "weights.learning_rate": 0.007,
    "weights.power": 0.9,
    "weights.weight_decay": 4e-5,  # DeepLab's for mobile networks
}
SMALL = {  # no experiment of the paper: a few hundred images, where DeepLab's rate learns the background alone
    "data.crop": 161, "network.cells": 6, "network.channels": 8, "network.width": 64,
    "network.rates": (2, 4, 6),  # crops of 161 have 11x11 features
    "train.steps": 750, "weights.learning_rate": 0.1, "run.checkpoint_every_steps": 100,
}  # fmt: skip
SMOKE = {
    "data.crop": 97, "network.cells": 3, "network.channels": 4, "network.width": 16, "network.rates": (2, 4),
    "train.steps": 4, "train.batch_size": 4,
}  # fmt: skip
VARIANTS = ({"small": SMALL}, {"smoke": SMOKE})


def get_config(words: str = "") -> ConfigDict:
    return make_config(SETTINGS, words, VARIANTS, __file__)
