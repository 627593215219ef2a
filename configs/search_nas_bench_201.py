"""Search a cell of NAS-Bench-201 (Dong and Yang, ICLR 2020) with NGE, where the truth about every cell is known.

  nge search search_nas_bench_201      or: python -m nge_jax.main --config=configs/search_nas_bench_201.py
  nge search search_nas_bench_201 data.table=nas_bench_201.npz      the accuracies of the cell found, too
  nge search search_nas_bench_201:small           scaled down, for a CPU
  nge search search_nas_bench_201:alpha,small     another edge model

Words after the colon, joined by commas: one relaxation of `softmax` (the default), `gumbel` (whose steps take from a
quarter to a half of the time on a CPU; the embedding is slower then); one edge model of `nge` (the default), `alpha`,
`plain`, `rnn`; one size of `small` and `smoke`.

The paper has no such experiment. The supernet is the benchmark's (16 channels, three stages of 5 cells); the search is
that of `search_cifar.py`, and what the benchmark's authors did otherwise (DARTS on their space: 50 epochs, weight decay
5e-4, Adam 3e-4) is marked. The network of the cell found needs no training: the table has its accuracies.

The default is meant for a GPU and has not been run to its end yet. By the time of its steps `small` takes half an hour
on two CPU cores that are busy with other work; `smoke` takes a minute.
"""

from pathlib import Path

from ml_collections import ConfigDict

from nge_jax.settings.compose import apply_words
from nge_jax.settings.configs import load_module
from nge_jax.settings.search import EDGE_MODELS

CIFAR = load_module(Path(__file__).with_name("search_cifar.py"))
VARIANTS = (
    {name: {"search.relaxation": name} for name in ("softmax", "gumbel")},
    {name: {"search.edge_model": name} for name in EDGE_MODELS},
    {
        "small": {
            "network.channels": 8,
            "network.cells": 1,
            "search.epochs": 25,
            "search.images_per_epoch": 6400,
        },
        "smoke": {  # does it run? A minute on two CPU cores, most of it compilation
            "network.channels": 2,
            "network.cells": 1,
            "search.epochs": 2,
            "search.batch_size": 8,
            "search.images_per_epoch": 32,
            "run.steps_per_dispatch": 2,
            "run.random_cells": 0,
        },
    },
)


def get_config(words: str = "") -> ConfigDict:
    config = ConfigDict()
    config.task = "search"
    config.seed = 0

    config.data = ConfigDict()
    config.data.name = "cifar10"  # what the benchmark's searches see; or cifar100, digits
    config.data.dir = ""  # tfds folder; empty: TFDS's own default, ~/tensorflow_datasets
    # The benchmark's accuracies, an .npz (experiments/convert_nas_bench_201.py makes it); empty: none are reported.
    # The search does not read it.
    config.data.table = ""
    config.data.train_fraction = 0.5  # of the training images for the weights, the rest for P
    config.data.pad = 4
    config.data.flip = True

    config.network = ConfigDict()
    config.network.channels = 16  # of the first stage; each other has twice as many
    config.network.cells = 5  # N, of each of the three stages
    config.network.dtype = "float32"  # of the computation; "bfloat16" for GPU and TPU
    config.network.remat = False  # recompute each cell in the backward pass, to save memory

    config.search = ConfigDict()
    config.search.space = "nas_bench_201"
    config.search.strategy = "gradient"
    # How its steps mix operations: all of them by P, or one an edge, drawn from P ("gumbel", GDAS).
    config.search.relaxation = "softmax"
    config.search.edge_model = "nge"
    config.search.adjacency = "printed"  # Eq. 6 as printed; "predecessors" as probably meant
    config.search.alternation = "epoch"  # Algorithm 1; "batch" alternates as DARTS does
    config.search.order = (
        1  # 2: DARTS's second order, by batches; an embedding step takes four gradients
    )
    config.search.epochs = 25  # of the paper's search; the benchmark's authors 50
    config.search.batch_size = 64
    config.search.images_per_epoch = 0  # of each half; 0: all of them
    # Against skip connections, which such searches like too well. The first is DARTS+'s sign to stop early, the others
    # P-DARTS's remedies.
    config.search.stop_on_skips = (
        0  # ends the search when the normal cell would have so many; 0: never
    )
    config.search.max_skips = (
        8  # in the normal cell derived; the weakest beyond give way. 8: no limit
    )
    config.search.skip_dropout = (
        0.0  # rate at which steps leave out skips, falling along a line to 0
    )
    # Of P's entropy in nats, added to the embedding's loss: a weight that grows along a line from 0 in the first epoch
    # to this in the last, by which a search ends in a choice (DA2S). The paper has none.
    config.search.entropy_weight = 0.0
    # Of the epochs, the first in which the embedding is held and w alone learns; PC-DARTS: 0.3 (15 of 50).
    config.search.warmup = 0.0
    # (0, 1, 2, 3): a search of each of these seeds, all in one program, and a folder for each in the workdir; `seed` is
    # not used then. (): one search, of `seed`.
    config.search.seeds = ()
    # ("nge", "alpha"): searches with each of these edge models, so too, each of every seed and with all other settings
    # in common; `edge_model` is not used then. (): that of `edge_model`.
    config.search.edge_models = ()

    # SGD on the supernet's weights; cosine decay to 0 over the search.
    config.weights = ConfigDict()
    config.weights.learning_rate = 0.025
    config.weights.momentum = 0.9
    config.weights.weight_decay = 3e-4  # the benchmark's authors 5e-4
    config.weights.clip_norm = 5.0

    # Adam on the graph embedding (or on what stands in for it), constant rate.
    config.embedding = ConfigDict()
    config.embedding.learning_rate = 6e-4  # the benchmark's authors 3e-4, on logits
    config.embedding.weight_decay = 1e-3
    config.embedding.b1 = 0.5
    config.embedding.b2 = 0.999

    # What belongs to the relaxation of this name; GDAS's values.
    config.gumbel = ConfigDict()
    config.gumbel.first_temperature = 10.0  # of the first epoch, falling along a line ...
    config.gumbel.last_temperature = 0.1  # ... to the last epoch's

    # Nothing here changes a result, so a search may be resumed with other values.
    config.run = ConfigDict()
    config.run.steps_per_dispatch = 20  # training steps compiled into one call
    config.run.checkpoint_every_steps = 100  # of either phase
    config.run.keep_checkpoints = 2
    # Updates that are not finite and may be left out, counted as skipped_updates; at one more the run stops.
    config.run.skip_nonfinite = 0
    # Random cells that are evaluated at the end beside the one found, in the same weights, for the report. 0: none.
    config.run.random_cells = 5

    apply_words(config, words, VARIANTS, __file__)
    CIFAR.slow_drawn(config)
    return config
