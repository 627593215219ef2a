"""Train the network of a cell on CIFAR-100 from scratch (Li, Gong, Zhu, AAAI 2020, Sec. 4.2).

  nge train train_cifar100               or: python -m nge_jax.main --config=configs/train_cifar100.py
  nge train train_cifar100 genotype=runs/search_cifar
  nge train train_cifar100:lr0.025       the learning rate of the sibling codes
  nge train train_cifar100:small         scaled down, for a CPU
  nge train train_cifar100:lr0.025,smoke

Words after the colon are those of `train_cifar10.py`: `lr0.025`; one recipe of `small`, `tiny` and `smoke`, or of
`fast`, `fast_small`, `fast_tiny` and `fast_smoke`.

The setting is that of DARTS (Liu et al., ICLR 2019), which the paper follows: `train_cifar10.py` but for the data set
and the weight decay.

The paper reports 16.53 % test error for its own cell, which it does not print.
Nobody has run this file to its end yet. It is meant for a GPU: two CPU cores would need more than a month.
"""

from pathlib import Path

from ml_collections import ConfigDict

from nge_jax.settings.compose import apply_words
from nge_jax.settings.configs import differ, load_module

BASE = load_module(Path(__file__).with_name("train_cifar10.py"))
VARIANTS = BASE.VARIANTS
DIFFERENCES = {
    "data.name": "cifar100",
    "weights.weight_decay": 5e-4,  # paper; 3e-4 on CIFAR-10
}


def get_config(words: str = "") -> ConfigDict:
    config = BASE.get_config()
    differ(config, DIFFERENCES)
    return apply_words(config, words, VARIANTS, __file__)
