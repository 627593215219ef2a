"""Search a cell on your own images: a folder, an .npz file, or any classification set of TFDS.

  nge search search_folder             or: python -m nge_jax.main --config=configs/search_folder.py
  nge search search_folder --data photos          DIR/CLASS/*, or DIR/train/CLASS/* with DIR/val or DIR/test
  nge search search_folder --data images.npz      `images` uint8 [N, H, W, C], `labels` [N]
  nge search search_folder data.name=oxford_flowers102
  nge search search_folder:smoke --data photos    does it run?

Words after the colon are those of `search_cifar.py` but for the sizes: `smoke`, a minute on two CPU cores, and `large`,
the size of the paper's search, for a GPU.

What is 0 or "auto" here is chosen by the data, and said; images are resized once. The settings are those of
`search_cifar.py`, whose comments say where they come from, with a supernet small enough for a CPU: some hundred
images of 64x64 take about half an hour on two cores. The held-out images are never read by the search.
"""

from pathlib import Path

from ml_collections import ConfigDict

from nge_jax.settings.compose import apply_words
from nge_jax.settings.configs import differ, load_module

BASE = load_module(Path(__file__).with_name("search_cifar.py"))
VARIANTS = (
    *(table for table in BASE.VARIANTS if "smoke" not in table),
    {
        "large": {"network.channels": 16, "network.cells": 8},
        "smoke": {  # does it run? A minute on two CPU cores, most of it compilation
            "data.image_size": 16,
            "network.channels": 2,
            "network.cells": 3,
            "search.epochs": 2,
            "search.batch_size": 2,
            "evolution.population": 4,
            "evolution.memory": 8,
            "final.candidates": 2,
            "final.batches": 1,
            "run.steps_per_dispatch": 2,
            "run.random_cells": 0,
        },
    },
)
DIFFERENCES = {
    "data.name": "folder:",  # folder:DIR, npz:FILE, or a classification set of TFDS
    "network.channels": 8,
    "network.cells": 5,  # the second and the fourth are reduction cells
    "search.epochs": 0,  # 0: about 1,000 updates, 10 to 50 epochs
    "search.batch_size": 0,  # 0: at most 64, a fourth of a half or less
    "search.train_config": "configs/train_folder.py",
}
fit = BASE.fit


def get_config(words: str = "") -> ConfigDict:
    config = BASE.get_config()
    differ(config, DIFFERENCES)
    # Pixels of a side to which the images are resized, the largest square in their middle. 0: their own size up to 64,
    # else 128.
    config.data.image_size = 0
    # As the images are read: 1, gray, or 3. 0: gray if every image is.
    config.data.channels = 0
    # Of pixels in 0..1, one for each channel; none: those of the training images.
    config.data.mean = ()
    config.data.std = ()
    # Of a folder without val and test: the part of each class that is held out, and the seed that draws it. The same
    # in train_folder.py, so that what is tested there has not been searched on.
    config.data.test_fraction = 0.2
    config.data.split_seed = 0
    # Of each class's images to search on, the part that is used, drawn by the same seed. Below 1 each class is divided
    # between the weights and P as `data.train_fraction` says, else all images together are.
    config.data.class_fraction = 1.0
    # Decode every image once before the search, and leave out those that are damaged. Else they end it.
    config.data.skip_damaged = False
    # Of a device's memory, in gigabytes, for the resized images. Beyond that they stay on the host.
    config.data.device_budget_gb = 2.0
    # "small" is CIFAR's, "large" ImageNet's: it makes an eighth of the size. "auto": large from 96 pixels on.
    config.network.stem = "auto"
    apply_words(config, words, VARIANTS, __file__)
    fit(config)
    return config
