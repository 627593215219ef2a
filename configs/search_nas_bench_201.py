"""Search a cell of NAS-Bench-201 (Dong and Yang, ICLR 2020) with NGE, where the truth about every cell is known.

  nge search search_nas_bench_201      or: python -m nge_jax.main --config=configs/search_nas_bench_201.py
  nge search search_nas_bench_201 data.table=nas_bench_201.npz      the accuracies of the cell found, too
  nge search search_nas_bench_201:small           scaled down, for a CPU
  nge search search_nas_bench_201:alpha,small     another edge model
  nge search search_nas_bench_201:no_none,small   cells without `none`, as in the paper's space

Words after the colon, joined by commas, name a space, a relaxation, an edge model and a size. The space is whole, or
`no_none`; the relaxation is `softmax` by default, or `gumbel`; the size is `small` or `smoke`. With
`data.image_size=16` a step takes a fourth of the time. A step of `gumbel` takes from a quarter to a half of the time on
a CPU; the embedding is slower then.

The paper has no such experiment. The supernet is the benchmark's (16 channels, three stages of 5 cells); the search is
that of `search_cifar.py`. The benchmark's authors ran DARTS on their space with 50 epochs, weight decay 5e-4 and Adam
3e-4. The network of the cell found needs no training: the table has its accuracies.

Without `none`, `search.edge_mutation=0.1` makes the search reliable: all of twenty cells have over 92.7 % on CIFAR-10.
Free logits alone have 90.5 ± 8.6 % (docs/results.md).

The default is meant for a GPU and has not been run to its end yet. By the time of its steps `small` takes half an hour
on two CPU cores that are busy with other work; `smoke` takes a minute.
"""

from ml_collections import ConfigDict

from nge_jax.settings import search
from nge_jax.settings.compose import Stated, make_config, words_for
from nge_jax.settings.configs import shipped_module

SETTINGS = shipped_module("search_cifar").SETTINGS | {
    "data.name": Stated("cifar10", "the benchmark's searches see it; or cifar100, digits"),
    "search.space": "nas_bench_201",
    "network.channels": Stated(16, "the first stage; each other has twice as many"),
    "network.cells": Stated(5, "N, in each of the three stages"),
    "search.epochs": Stated(25, "the paper's search; the benchmark's authors 50"),
    "weights.weight_decay": Stated(3e-4, "the paper's search; the benchmark's authors 5e-4"),
    "embedding.learning_rate": Stated(
        6e-4, "the paper's search; the benchmark's authors 3e-4, on logits"
    ),
}
SMALL = {
    "network.channels": 8, "network.cells": 1, "search.epochs": 25, "search.images_per_epoch": 6400,
}  # fmt: skip
SMOKE = {  # does it run? A minute on two CPU cores, most of it compilation
    "network.channels": 2, "network.cells": 1, "search.epochs": 2, "search.batch_size": 8,
    "search.images_per_epoch": 32, "run.steps_per_dispatch": 2, "run.random_cells": 0,
}  # fmt: skip
RELAXATIONS = {name: {"search.relaxation": name} for name in ("softmax", "gumbel")}
SPACES = {"no_none": {"search.space": "nas_bench_201_no_none"}}
VARIANTS = (SPACES, RELAXATIONS, words_for("search.edge_model"), {"small": SMALL, "smoke": SMOKE})


def get_config(words: str = "") -> ConfigDict:
    return make_config(SETTINGS, words, VARIANTS, __file__, (search.slow_drawn,))
