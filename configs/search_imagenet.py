"""Search a cell on a part of ImageNet, as PC-DARTS does (Xu et al., ICLR 2020): by NGE on a share of the channels.

  nge search search_imagenet           or: python -m nge_jax.main --config=configs/search_imagenet.py
  nge search search_imagenet --data DIR               where TFDS has prepared imagenet2012
  nge search search_imagenet data.name=folder:DIR     DIR/train/CLASS/*, DIR/val/CLASS/*
  nge search search_imagenet:alpha     without the graph, as PC-DARTS itself; or :plain, :rnn
  nge search search_imagenet:smoke data.name=folder:DIR     does it run?

Words after the colon, joined by commas: one relaxation of `partial` (the default), `softmax`, `gumbel`; one edge model
of `nge` (the default), `alpha`, `plain`, `rnn`; `smoke`.

Of the images of each class 10 % train the weights and 2.5 % the embedding; `data.split_seed` draws the 12.5 %. TFDS's
records are all read once at the start, to know their classes. The images drawn, 160,000 of the whole data set, are
resized once, to 24 GB in a file in the system's folder for temporary ones, and go to the devices batch by batch.

"PC-DARTS" marks its paper's or public code's values; the others are search_cifar.py's. Other than there: images are
cropped after padding, as on CIFAR (there at random sizes, with jittered colors), and an epoch's two phases follow each
other (Algorithm 1; there they alternate by batches). Meant for eight GPUs; for one, `search.batch_size=128
weights.learning_rate=0.0625 network.dtype=bfloat16`. Nobody has run it at full size yet.
"""

from pathlib import Path

from ml_collections import ConfigDict

from nge_jax.settings.compose import apply_words
from nge_jax.settings.configs import differ, load_module
from nge_jax.settings.search import EDGE_MODELS, RELAXATIONS

BASE = load_module(Path(__file__).with_name("search_folder.py"))
VARIANTS = (
    {name: {"search.relaxation": name} for name in RELAXATIONS},
    {name: {"search.edge_model": name} for name in EDGE_MODELS}
    | {"alpha": {"search.edge_model": "alpha", "embedding.learning_rate": 6e-3}},  # PC-DARTS's rate
    {
        "smoke": {  # does it run? A minute or two on two CPU cores, most of it compilation
            "data.image_size": 32,
            "data.pad": 4,
            "data.class_fraction": 0.5,
            "data.train_fraction": 0.5,
            "network.channels": 4,
            "network.cells": 2,
            "search.epochs": 2,
            "search.batch_size": 2,
            "run.steps_per_dispatch": 2,
        },
    },
)
DIFFERENCES = {
    "data.name": "imagenet2012",  # or folder:DIR, or another set of TFDS's
    "data.image_size": 224,
    "data.pad": 28,  # an eighth of a side, as on CIFAR
    "data.class_fraction": 0.125,  # PC-DARTS: 10 % and 2.5 % of the images of each class ...
    "data.train_fraction": 0.8,  # ... of which the 10 % are for the weights
    "network.stem": "large",  # three convolutions of stride 2: 28 pixels of a side are left
    "network.channels": 16,  # PC-DARTS
    "network.cells": 8,  # PC-DARTS
    "search.relaxation": "partial",
    "partial.share": 2,  # of the channels the operations mix so many-th (PC-DARTS's value for ImageNet)
    "search.epochs": 50,  # PC-DARTS
    "search.warmup": 0.7,  # the first 35 epochs hold the embedding (PC-DARTS)
    "search.batch_size": 1024,  # over eight GPUs (PC-DARTS)
    "search.train_config": "configs/train_imagenet.py",
    "weights.learning_rate": 0.5,  # PC-DARTS, for this batch
}


def get_config(words: str = "") -> ConfigDict:
    config = BASE.get_config()
    differ(config, DIFFERENCES)
    apply_words(config, words, VARIANTS, __file__)
    BASE.fit(config)
    return config
