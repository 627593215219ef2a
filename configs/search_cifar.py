"""Search a CIFAR cell with NGE (Li, Gong, Zhu, AAAI 2020, Sec. 4.1), by the paper's settings.

Expect cells about as good as random ones (docs/results.md). The printed embedding moves all edges alike. Where the
truth is known, half of its searches put one operation on all edges. `:alpha`, the better search, never did.

  nge search search_cifar              or: python -m nge_jax.main --config=configs/search_cifar.py
  nge search search_cifar:small        a scaled-down search for a CPU
  nge search search_cifar:rnn,small    another edge model (Table 4)
  nge search search_cifar:gumbel       another relaxation, whose steps take less time; or :partial
  nge search search_cifar:evolution    another strategy
  nge search search_cifar:s2           another space: RobustDARTS's s1 to s4, no_skip or all_skip

Words after the colon, joined by commas: a strategy, a relaxation, an edge model, a space, a size (`small`, `smoke`).
`gumbel` takes a sixteenth of the embedding's rate, and no decay, where edges share its parameters (all but `alpha`).

The paper's size is meant for one GPU: its authors report 0.1 GPU-days. On two CPU cores an epoch takes 50 minutes, and
`small` 20 to 40. "Paper silent" marks what the paper leaves open. DARTS (Liu et al., ICLR 2019) then gives the value.
"""

from ml_collections import ConfigDict

from nge_jax.settings import search
from nge_jax.settings.compose import make_config, words_for

SETTINGS = {
    "task": "search",
    "data.name": "cifar10",  # or cifar100
    "data.train_fraction": 0.5,  # half of the training images trains w, half trains P
    "network.channels": 16,
    "network.cells": 8,  # the third and the sixth are reduction cells
    "search.edge_model": "nge",
    "search.epochs": 25,
    "weights.learning_rate": 0.025,  # SGD, cosine decay to 0
    "weights.momentum": 0.9,
    "weights.weight_decay": 3e-4,
    "embedding.learning_rate": 6e-4,  # Adam, constant
    "embedding.weight_decay": 1e-3,
}  # batch 64, padding, flips, clipping at 5 and Adam's betas: paper silent, see the defaults
SMOKE = {  # does it run? A minute on two CPU cores, most of it compilation
    "network.channels": 2, "network.cells": 3, "search.epochs": 2, "search.batch_size": 8,
    "search.images_per_epoch": 32, "evolution.population": 4, "evolution.memory": 8, "final.candidates": 2,
    "final.batches": 2, "run.steps_per_dispatch": 2, "run.random_cells": 0,
}  # fmt: skip
# 2,000 updates of the embedding. Small batches, a larger rate, a penalty on entropy, no decay and few skip connections
# make so short a search end in a cell; none is the paper's. The decay outweighs a small network's gradients.
SMALL = {
    "network.channels": 4, "network.cells": 5, "search.epochs": 25, "search.batch_size": 16,
    "search.images_per_epoch": 1280, "search.entropy_weight": 0.3, "search.max_skips": 2,
    "embedding.learning_rate": 1.5e-3, "embedding.weight_decay": 0.0, "final.candidates": 5, "final.batches": 10,
}  # fmt: skip
PARTIAL = {"partial": {"search.relaxation": "partial", "search.warmup": 0.3}}  # PC-DARTS: 15 of 50
RELAXATIONS = words_for("search.relaxation") | PARTIAL
# RobustDARTS's spaces, and the paper's without skip connections, or with one beside each operation.
SPACES = {word: {"search.space": word} for word in ("s1", "s2", "s3", "s4", "no_skip", "all_skip")}
WAYS = (words_for("search.strategy"), RELAXATIONS, words_for("search.edge_model"), SPACES)
VARIANTS = (*WAYS, {"small": SMALL, "smoke": SMOKE})


def get_config(words: str = "") -> ConfigDict:
    return make_config(SETTINGS, words, VARIANTS, __file__, search.RULES)
