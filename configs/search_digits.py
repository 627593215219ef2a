"""Search a small cell on scikit-learn's 1,797 handwritten digits: the whole tool in minutes, on a CPU, offline.

  nge search search_digits             or: python -m nge_jax.main --config=configs/search_digits.py
  nge search search_digits:gradient    by the paper's supernet and gradient

By default evolution proposes cells and each is trained (`:trained`), in about a minute on two CPU cores. These cells
are better than random cells of their size, and those of `:gradient` are not (docs/results.md).

`:gradient` is the search of `search_cifar.py` made small. It takes two minutes and stands for no experiment of the
paper. `:evolution`, `:reinforce` and `:random` rate cells by its supernet; `:random,trained` trains random cells.
`:gumbel` and `:partial` relax in other ways. `s1` to `s4` (other spaces) and `smoke` join other words: `:s2,smoke`.
"""

from ml_collections import ConfigDict

from nge_jax.settings import search
from nge_jax.settings.compose import Stated, make_config, with_default, words_for
from nge_jax.settings.configs import shipped_module

CIFAR = shipped_module("search_cifar")
SETTINGS = CIFAR.SETTINGS | {
    "data.name": "digits",
    "data.pad": Stated(1, "the images have 8 pixels; CIFAR's 4 of 32 would be too much"),
    "data.flip": Stated(False, "a mirrored digit is another sign"),
    "network.channels": 8,
    "network.cells": 3,
    "search.epochs": 30,
    "search.batch_size": Stated(8, "many small steps: 2,700 updates of the embedding"),
    "search.entropy_weight": 0.2,
    "search.keep_best_below": 0.7,
    "search.train_config": "configs/train_digits.py",
    "embedding.learning_rate": Stated(1.2e-3, "the paper's 6e-4 has four times as many updates"),
    "embedding.weight_decay": Stated(
        0.0, "the paper's 1e-3 outweighs gradients as small as the digits'"
    ),
    "run.steps_per_dispatch": 45,
}
# The strategies that ask for cells: fewer cells, each rated by more images.
BY_CELLS = {"search.epochs": 15, "search.batch_size": 32, "run.steps_per_dispatch": 11}
# Drawn operations need short steps, a larger rate (GDAS: 3e-4, 240 epochs), and logits that edges do not share.
BY_DRAWN = {
    "search.relaxation": "gumbel", "search.edge_model": "alpha", "search.epochs": 60, "embedding.learning_rate": 5e-3,
}  # fmt: skip
# Each cell is trained by itself, in a network so small that cells differ.
TRAINED = {
    "search.evaluator": "trained", "search.strategy": "evolution", "network.channels": 2,
    "evolution.population": 9, "evolution.tournament": 5, "run.steps_per_dispatch": 1000,
}  # fmt: skip
SHORT = {"trained.cells": 3, "trained.rungs": (1, 2), "trained.seeds": 1}
STRATEGIES = words_for("search.strategy")
ASKING = {word: keys | BY_CELLS for word, keys in STRATEGIES.items() if word != "gradient"}
SMOKE = {key: value for key, value in CIFAR.SMOKE.items() if key != "network.cells"} | SHORT
RELAXATIONS = CIFAR.RELAXATIONS | {"gumbel": BY_DRAWN}
WAYS = ({"trained": TRAINED}, STRATEGIES | ASKING, RELAXATIONS)
VARIANTS = (*WAYS, CIFAR.SPACES, {"smoke": SMOKE})


def get_config(words: str = "") -> ConfigDict:
    words = with_default(words, "trained", WAYS)
    return make_config(SETTINGS, words, VARIANTS, __file__, search.NEEDED)
