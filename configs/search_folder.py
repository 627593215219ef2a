"""Search a cell on your own images: a folder, an .npz file, or any classification set of TFDS.

  nge search search_folder             or: python -m nge_jax.main --config=configs/search_folder.py
  nge search search_folder --data photos          DIR/CLASS/*, or DIR/train/CLASS/* with DIR/val or DIR/test
  nge search search_folder --data images.npz      `images` uint8 [N, H, W, C], `labels` [N]
  nge search search_folder data.name=oxford_flowers102
  nge search search_folder:gradient --data photos by a supernet and its gradient
  nge search search_folder:smoke --data photos    does it run?

By default evolution proposes cells and each is trained (`:trained`). On the digits these cells are better than those by
the gradient. On 10,000 photographs a gain on random cells is likely, not shown: 0.7 ± 0.4 points (docs/results.md). 160
photographs take five minutes of a core. `trained.minutes=10` bounds the time; `:random,trained` trains random cells.

`:gradient` is the search of `search_cifar.py` made small. Some hundred images of 64x64 take it about half an hour on
two cores. Free logits search (`alpha`), because no form of the graph embedding has found better cells than they did.
`:evolution`, `:reinforce` and `:random` rate cells by the supernet. A relaxation, an edge model (`:nge`) and `large`,
the paper's size for a GPU, are for the gradient too. A space (`s2`) and `smoke` join other words: `:s2,smoke`.

The data choose where a value is 0 or "auto", and the run says what. The search never reads the held-out images.
"""

from ml_collections import ConfigDict

from nge_jax.settings import search
from nge_jax.settings.compose import Stated, make_config, with_default, words_for
from nge_jax.settings.configs import shipped_module

CIFAR = shipped_module("search_cifar")
SETTINGS = CIFAR.SETTINGS | {
    "data.name": Stated("folder:", "folder:DIR, npz:FILE, or a classification set of TFDS"),
    "network.channels": 8,
    "network.cells": 5,  # the second and the fourth are reduction cells
    "search.edge_model": Stated("alpha", "the paper's is nge, see above"),
    "search.epochs": 0,
    "search.keep_best_below": Stated(0.7, "a small search may end in one operation everywhere"),
    "search.batch_size": 0,
    "search.train_config": "configs/train_folder.py",
}
# Each cell is trained by itself, in a network so small that cells differ.
TRAINED = {
    "search.evaluator": "trained", "search.strategy": "evolution", "search.edge_model": "nge",
    "network.channels": 4, "network.cells": 3, "evolution.population": 18, "evolution.tournament": 5,
    "trained.cells": 0, "trained.rungs": (), "run.steps_per_dispatch": 100,
}  # fmt: skip
SHORT = {"trained.cells": 3, "trained.rungs": (1, 2), "trained.seeds": 1}
LARGE = {"network.channels": 16, "network.cells": 8}
SMOKE = CIFAR.SMOKE | SHORT | {"data.image_size": 16, "search.batch_size": 2, "final.batches": 1}
del SMOKE["search.images_per_epoch"]
# Where cells are asked for and rated, `nge` is no worse than free logits.
ASKING = {
    word: keys | {"search.edge_model": "nge"} for word, keys in words_for("search.strategy").items()
}
STRATEGIES = ASKING | {"gradient": {"search.strategy": "gradient"}}
WAYS = ({"trained": TRAINED}, STRATEGIES, *CIFAR.WAYS[1:3], {"large": LARGE})
VARIANTS = (*WAYS, CIFAR.SPACES, {"smoke": SMOKE})


def get_config(words: str = "") -> ConfigDict:
    words = with_default(words, "trained", WAYS)
    return make_config(SETTINGS, words, VARIANTS, __file__, search.RULES)
