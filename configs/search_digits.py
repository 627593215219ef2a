"""Search a small cell on scikit-learn's 1,797 handwritten digits: the whole tool in minutes, on a CPU, offline.

  nge search search_digits             or: python -m nge_jax.main --config=configs/search_digits.py

Meant for two CPU cores: about three minutes from command to report, compilation included. The settings are the search
of `search_cifar.py` made small (8x8 gray images need fewer channels and cells); they stand for no experiment of the
paper. `search_digits.py:smoke` runs in a minute; `search_digits.py:evolution`, `:reinforce` and `:random` search by
another strategy than the gradient, `:evolution,smoke` is both; `search_digits.py:gumbel` and `:partial` relax in other
ways, the first with free logits, as GDAS has them.
"""

from ml_collections import ConfigDict

from nge_jax.settings.compose import apply_words
from nge_jax.settings.configs import differ
from nge_jax.settings.search import RELAXATIONS, STRATEGIES

# The strategies that ask for cells: fewer of them, each rated by more images.
BY_CELLS = {
    "search.epochs": 15,
    "search.batch_size": 32,
    "run.steps_per_dispatch": 11,
}
# Drawn operations need more steps, which are short, and a larger rate (GDAS: 3e-4, 240 epochs); and logits that edges
# do not share: what is drawn more often is trained more, and one edge's preference becomes that of all where they do.
BY_DRAWN = {
    "search.relaxation": "gumbel",
    "search.edge_model": "alpha",
    "search.epochs": 60,
    "embedding.learning_rate": 5e-3,
}
VARIANTS = (
    {name: {"search.strategy": name} | BY_CELLS for name in STRATEGIES}
    | {"gradient": {"search.strategy": "gradient"}},
    {name: {"search.relaxation": name} for name in RELAXATIONS}
    | {"gumbel": BY_DRAWN, "partial": {"search.relaxation": "partial", "search.warmup": 0.3}},
    {
        "smoke": {  # does it run? A minute on two CPU cores
            "network.channels": 2,
            "search.epochs": 2,
            "search.batch_size": 8,
            "search.images_per_epoch": 32,
            "evolution.population": 4,
            "evolution.memory": 8,
            "final.candidates": 2,
            "final.batches": 2,
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
    config.data.name = "digits"
    config.data.dir = ""  # none: the digits come with scikit-learn
    config.data.train_fraction = 0.5  # of the 1,442 training images for the weights, the rest for P
    config.data.pad = 1  # of 8 pixels; half of CIFAR's 4 of 32 would be too much for strokes
    config.data.flip = False  # a mirrored digit is another sign

    config.network = ConfigDict()
    config.network.channels = 8
    config.network.cells = 3
    config.network.dtype = "float32"
    config.network.remat = False

    config.search = ConfigDict()
    config.search.strategy = "gradient"
    config.search.space = "darts"  # the paper's; search_nas_bench_201.py searches the other
    # How the gradient's steps mix operations: all by P, or one an edge, drawn from P ("gumbel", GDAS), or all by P on
    # a part of the channels, with learned weights of the edges ("partial", PC-DARTS).
    config.search.relaxation = "softmax"
    config.search.edge_model = "nge"
    config.search.adjacency = "printed"
    config.search.alternation = "epoch"
    config.search.order = (
        1  # 2: DARTS's second order, by batches; an embedding step takes four gradients
    )
    config.search.epochs = 30
    config.search.batch_size = 8  # many small steps: 2,700 updates of the embedding
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
    config.search.entropy_weight = 0.2
    # Of the epochs, the first in which the embedding is held and w alone learns; PC-DARTS: 0.3 (15 of 50).
    config.search.warmup = 0.0
    # (0, 1, 2, 3): a search of each of these seeds, all in one program, and a folder for each in the workdir; `seed` is
    # not used then. (): one search, of `seed`.
    config.search.seeds = ()
    # ("nge", "alpha"): searches with each of these edge models, so too, each of every seed and with all other settings
    # in common; `edge_model` is not used then. (): that of `edge_model`.
    config.search.edge_models = ()
    # Trains the cell found; only named, not run.
    config.search.train_config = "configs/train_digits.py"

    config.weights = ConfigDict()
    config.weights.learning_rate = 0.025
    config.weights.momentum = 0.9
    config.weights.weight_decay = 3e-4
    config.weights.clip_norm = 5.0

    config.embedding = ConfigDict()
    config.embedding.learning_rate = 1.2e-3  # the paper's is 6e-4, for four times as many updates
    config.embedding.weight_decay = (
        0.0  # the paper's 1e-3 outweighs gradients as small as the digits'
    )
    config.embedding.b1 = 0.5
    config.embedding.b2 = 0.999

    # What belongs to the relaxation of this name; GDAS's values.
    config.gumbel = ConfigDict()
    config.gumbel.first_temperature = 10.0  # of the first epoch, falling along a line ...
    config.gumbel.last_temperature = 0.1  # ... to the last epoch's

    config.partial = ConfigDict()
    config.partial.share = 4  # of the channels the operations mix so many-th; PC-DARTS's value

    # The strategies that ask for cells, as in search_cifar.py.
    config.reinforce = ConfigDict()
    config.reinforce.learning_rate = 1e-3  # Adam's, on the edge model
    config.reinforce.entropy_weight = 1e-3  # of the policy's entropy in nats, beside the reward
    config.reinforce.baseline_decay = 0.9  # of the moving average of rewards

    config.evolution = ConfigDict()
    # The latest cells, of which parents are chosen; the first are random.
    config.evolution.population = 30
    config.evolution.tournament = 20  # of them, drawn with replacement; the best is the parent
    config.evolution.proposals = 16  # children, of which the edge model's favorite is evaluated
    config.evolution.memory = 100  # latest cells that teach the edge model; rewards grow with w
    config.evolution.train_steps = 3  # of Adam on the edge model after each cell
    config.evolution.learning_rate = 1e-3  # Adam's
    config.evolution.rank_scale = 3.0  # a cell of rank r teaches with weight exp(-r / rank_scale)
    config.evolution.entropy_weight = 0.03  # of the distribution's entropy in nats

    # Their last choice: the best of the history are compared on more images, the same for all.
    config.final = ConfigDict()
    config.final.candidates = 10
    config.final.batches = 20  # of the validation half, for each candidate

    # Nothing here changes a result, so a search may be resumed with other values.
    config.run = ConfigDict()
    config.run.steps_per_dispatch = 45
    config.run.checkpoint_every_steps = 100
    config.run.keep_checkpoints = 2
    # Updates that are not finite and may be left out, counted as skipped_updates; at one more the run stops.
    config.run.skip_nonfinite = 0
    # Random cells that are evaluated at the end beside the one found, in the same weights, for the report. 0: none.
    config.run.random_cells = 5

    apply_words(config, words, VARIANTS, __file__)
    if config.search.relaxation == "partial":  # the smoke run has too few channels to share
        least = 2 * config.partial.share
        differ(config, {"network.channels": max(config.network.channels, least)})
    return config
