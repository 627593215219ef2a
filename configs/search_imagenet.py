"""Search a cell on a part of ImageNet, as PC-DARTS does (Xu et al., ICLR 2020): on a share of the channels.

  nge search search_imagenet           or: python -m nge_jax.main --config=configs/search_imagenet.py
  nge search search_imagenet --data DIR               where TFDS has prepared imagenet2012
  nge search search_imagenet data.name=folder:DIR     DIR/train/CLASS/*, DIR/val/CLASS/*
  nge search search_imagenet:nge       by the graph embedding; or :plain, :rnn
  nge search search_imagenet:smoke data.name=folder:DIR     does it run?

Words after the colon, joined by commas, name a relaxation (`partial` by default), an edge model, and `smoke`.

In each class 10 % of the images train the weights and 2.5 % the embedding; `data.split_seed` draws the 12.5 %. The
start reads all of TFDS's records once, for their classes. The images drawn from the whole data set are 160,000. They
are resized once, to 24 GB in the system's folder for temporary files, and go to the devices batch by batch.

By default free logits search, as in PC-DARTS, because the embedding found worse cells with `partial` (docs/results.md).
"PC-DARTS" marks its paper's or public code's values; the others are search_cifar.py's. Other than there, images are
cropped after padding, as on CIFAR, and an epoch's two phases follow each other (Algorithm 1). Meant for eight GPUs; for
one, `search.batch_size=128 weights.learning_rate=0.0625 network.dtype=bfloat16`. Nobody has run it at full size yet.
"""

from ml_collections import ConfigDict

from nge_jax.settings import search
from nge_jax.settings.compose import Stated, make_config, words_for
from nge_jax.settings.configs import shipped_module

PC_DARTS = "PC-DARTS"
SETTINGS = shipped_module("search_folder").SETTINGS | {
    "data.name": Stated("imagenet2012", "or folder:DIR, or another set of TFDS"),
    "data.image_size": Stated(224, PC_DARTS),
    "data.pad": Stated(28, "an eighth of a side, as on CIFAR"),
    "data.class_fraction": Stated(0.125, "PC-DARTS: 10 % and 2.5 % of each class's images"),
    "data.train_fraction": Stated(0.8, "PC-DARTS: the 10 % are for the weights"),
    "network.stem": Stated("large", "three convolutions of stride 2 leave 28 pixels of a side"),
    "network.channels": Stated(16, PC_DARTS),
    "network.cells": Stated(8, PC_DARTS),
    "search.relaxation": Stated("partial", PC_DARTS),
    "search.edge_model": Stated("alpha", PC_DARTS),
    "embedding.learning_rate": Stated(6e-3, PC_DARTS),
    "partial.share": Stated(2, "PC-DARTS's value for ImageNet"),
    "search.epochs": Stated(50, PC_DARTS),
    "search.warmup": Stated(0.7, "PC-DARTS: the first 35 epochs hold the embedding"),
    "search.batch_size": Stated(1024, "PC-DARTS, over eight GPUs"),
    "search.train_config": "configs/train_imagenet.py",
    "weights.learning_rate": Stated(0.5, "PC-DARTS, for this batch"),
}
SMOKE = {  # does it run? A minute or two on two CPU cores, most of it compilation
    "data.image_size": 32, "data.pad": 4, "data.class_fraction": 0.5, "data.train_fraction": 0.5,
    "network.channels": 4, "network.cells": 2, "search.epochs": 2, "search.batch_size": 2, "run.steps_per_dispatch": 2,
}  # fmt: skip
# The paper's rate; `alpha` has PC-DARTS's.
EDGE_MODELS = {
    word: keys | ({} if word == "alpha" else {"embedding.learning_rate": 6e-4})
    for word, keys in words_for("search.edge_model").items()
}
VARIANTS = (words_for("search.relaxation"), EDGE_MODELS, {"smoke": SMOKE})


def get_config(words: str = "") -> ConfigDict:
    return make_config(SETTINGS, words, VARIANTS, __file__, search.RULES)
