"""Search a small cell on scikit-learn's 1,797 handwritten digits: the whole tool in minutes, on a CPU, offline.

  nge search search_digits             or: python -m nge_jax.main --config=configs/search_digits.py

Meant for two CPU cores: about three minutes from command to report, compilation included. The settings are the search
of `search_cifar.py` made small, because 8x8 gray images need fewer channels and cells. They stand for no experiment of
the paper. `search_digits.py:smoke` runs in a minute. `search_digits.py:evolution`, `:reinforce` and `:random` search by
another strategy than the gradient; `:evolution,smoke` is both. `search_digits.py:gumbel` and `:partial` relax in other
ways, the first with free logits, as GDAS has them. `:trained` rates each cell by a training; `:random,trained` too.
"""

from ml_collections import ConfigDict

from nge_jax.settings import search
from nge_jax.settings.compose import Stated, make_config, words_for
from nge_jax.settings.configs import shipped_module

CIFAR = shipped_module("search_cifar")
SETTINGS = CIFAR.SETTINGS | {
    "data.name": "digits",
    "data.pad": Stated(
        1, "the images have 8 pixels; half of CIFAR's 4 of 32 would be too much for strokes"
    ),
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
# Drawn operations need more steps, which are short, and a larger rate (GDAS: 3e-4, 240 epochs). They need logits that
# edges do not share: else one edge's preference becomes the preference of all, as drawing it trains it.
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
VARIANTS = ({"trained": TRAINED}, STRATEGIES | ASKING, RELAXATIONS, {"smoke": SMOKE})


def get_config(words: str = "") -> ConfigDict:
    return make_config(SETTINGS, words, VARIANTS, __file__, (search.widen_partial,))
