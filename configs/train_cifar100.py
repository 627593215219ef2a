"""Train the network of a cell on CIFAR-100 from scratch (Li, Gong, Zhu, AAAI 2020, Sec. 4.2).

  nge train train_cifar100               or: python -m nge_jax.main --config=configs/train_cifar100.py
  nge train train_cifar100 genotype=runs/search_cifar
  nge train train_cifar100:lr0.025       the learning rate of the sibling codes
  nge train train_cifar100:small         scaled down, for a CPU
  nge train train_cifar100:lr0.025,smoke

Words after the colon are those of `train_cifar10.py`: `lr0.025`; one recipe of `small`, `tiny` and `smoke`, or of
`fast`, `fast_small`, `fast_tiny` and `fast_smoke`.

The setting is that of DARTS (Liu et al., ICLR 2019), which the paper follows: `train_cifar10.py` with another data set
and another weight decay.

The paper reports 16.53 % test error for its own cell, which it does not print.
Nobody has run this file to its end yet. It is meant for a GPU: two CPU cores would need more than a month.
"""

from ml_collections import ConfigDict

from nge_jax.settings.compose import Stated, make_config
from nge_jax.settings.configs import shipped_module

CIFAR10 = shipped_module("train_cifar10")
SETTINGS = CIFAR10.SETTINGS | {
    "data.name": "cifar100",
    "weights.weight_decay": Stated(5e-4, "paper Sec. 4.2; 3e-4 on CIFAR-10"),
}
VARIANTS = CIFAR10.VARIANTS


def get_config(words: str = "") -> ConfigDict:
    return make_config(SETTINGS, words, VARIANTS, __file__)
