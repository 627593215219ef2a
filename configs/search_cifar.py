"""Search a CIFAR cell with NGE (Li, Gong, Zhu, AAAI 2020, Sec. 4.1), by the paper's settings.

  nge search search_cifar              or: python -m nge_jax.main --config=configs/search_cifar.py
  nge search search_cifar:small        a scaled-down search for a CPU
  nge search search_cifar:rnn          another edge model (Table 4)
  nge search search_cifar:rnn,small    both
  nge search search_cifar:gumbel       another relaxation, whose steps take less time; or :partial
  nge search search_cifar:evolution    another strategy

Words after the colon, joined by commas, in any order: one strategy of `gradient` (the default), `reinforce`,
`evolution`, `random`; one relaxation of the gradient's of `softmax` (the default), `gumbel`, `partial`; one edge model
of `nge` (the default), `alpha`, `plain`, `rnn`; one size of `small` and `smoke` (the paper's when neither is given).
`gumbel` takes a sixteenth of the embedding's rate, and no decay, where edges share its parameters (all but `alpha`).

The paper's size is meant for one GPU: its authors report 0.1 GPU-days. On two CPU cores a step takes 3 to 5 seconds,
which makes an epoch about 50 minutes, and one of `partial` or `gumbel` a second or two; `small` takes 20 minutes, and
40 on a busy machine.

"Paper silent" marks what the paper leaves open; the value is then that of DARTS (Liu et al., ICLR 2019), whose search
setting the paper follows.
"""

from ml_collections import ConfigDict

from nge_jax.settings.compose import apply_words
from nge_jax.settings.configs import differ
from nge_jax.settings.search import EDGE_MODELS, RELAXATIONS, STRATEGIES

VARIANTS = (
    {name: {"search.strategy": name} for name in STRATEGIES},
    {name: {"search.relaxation": name} for name in RELAXATIONS}
    | {"partial": {"search.relaxation": "partial", "search.warmup": 0.3}},
    {name: {"search.edge_model": name} for name in EDGE_MODELS},
    {
        # 2,000 updates of the embedding in 20 to 40 minutes on two CPU cores. What ends so short a search in a cell is
        # none of the paper's: small batches, a larger rate, a penalty on entropy, no decay (it outweighs the gradients
        # of a small network), and a limit to the skip connections, which take most edges without one.
        "small": {
            "network.channels": 4,
            "network.cells": 5,
            "search.epochs": 25,
            "search.batch_size": 16,
            "search.images_per_epoch": 1280,
            "search.entropy_weight": 0.3,
            "search.max_skips": 2,
            "embedding.learning_rate": 1.5e-3,
            "embedding.weight_decay": 0.0,
            "final.candidates": 5,
            "final.batches": 10,
        },
        "smoke": {  # does it run? A minute on two CPU cores, most of it compilation
            "network.channels": 2,
            "network.cells": 3,
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
# Logits without a network before them: what did well on NAS-Bench-201 is larger. The gradient reads none of these.
ALPHA_RATES = {
    "reinforce.learning_rate": 0.3,
    "reinforce.entropy_weight": 0.02,
    "evolution.learning_rate": 0.03,
}


# Of the embedding's rate, what is left where operations are drawn and edges share what prefers them: by it P has
# decided at the end of a search, not before.
DRAWN_PART = 1 / 16


def fit(config: ConfigDict) -> None:
    """Gives keys the values that go with those of the words, when all of these are there."""
    slow_drawn(config)
    if config.search.relaxation == "partial":  # the sizes for CPUs have too few channels to share
        least = 2 * config.partial.share
        differ(config, {"network.channels": max(config.network.channels, least)})
    if config.search.strategy != "gradient" and config.search.edge_model == "alpha":
        differ(config, ALPHA_RATES)


def slow_drawn(config: ConfigDict) -> None:
    """Slows an embedding by whose steps all edges move at once, where operations are drawn.

    The gradient through a draw is weaker than the decay, of which Adam makes steps as long: the paper's settings end in
    a uniform P, of matrices that have decayed to nothing. Without decay the paper's rate settles on an operation before
    its weights are trained. Free logits have the paper's rate and, as GDAS's, a decay.
    """
    if config.search.relaxation == "gumbel" and config.search.edge_model != "alpha":
        slow = DRAWN_PART * config.embedding.learning_rate
        differ(config, {"embedding.learning_rate": slow, "embedding.weight_decay": 0.0})


def get_config(words: str = "") -> ConfigDict:
    config = ConfigDict()
    config.task = "search"
    config.seed = 0

    config.data = ConfigDict()
    config.data.name = "cifar10"  # or cifar100
    config.data.dir = ""  # tfds folder; empty: TFDS's own default, ~/tensorflow_datasets
    config.data.train_fraction = 0.5  # of the training images for the weights, the rest for P
    config.data.pad = 4  # crop after padding by this; paper silent on the search, DARTS value
    config.data.flip = True  # paper silent on the search, DARTS value

    config.network = ConfigDict()
    config.network.channels = 16
    config.network.cells = 8  # the third and the sixth are reduction cells
    config.network.dtype = "float32"  # of the computation; "bfloat16" for GPU and TPU
    config.network.remat = False  # recompute each cell in the backward pass, to save memory

    config.search = ConfigDict()
    # How: by the gradient as the paper does, or asking for one cell after another, which the supernet evaluates.
    config.search.strategy = "gradient"
    config.search.space = "darts"  # the paper's; search_nas_bench_201.py searches the other
    # How the gradient's steps mix operations: all by P, or one an edge, drawn from P ("gumbel", GDAS), or all by P on
    # a part of the channels, with learned weights of the edges ("partial", PC-DARTS).
    config.search.relaxation = "softmax"
    config.search.edge_model = "nge"
    config.search.adjacency = "printed"  # Eq. 6 as printed; "predecessors" as probably meant
    config.search.alternation = "epoch"  # Algorithm 1; "batch" alternates as DARTS does
    config.search.order = (
        1  # 2: DARTS's second order, by batches; an embedding step takes four gradients
    )
    config.search.epochs = 25
    config.search.batch_size = 64  # paper silent, DARTS value
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
    # Trains the cell found; only named, not run.
    config.search.train_config = "configs/train_cifar10.py"

    # SGD on the supernet's weights; cosine decay to 0 over the search.
    config.weights = ConfigDict()
    config.weights.learning_rate = 0.025
    config.weights.momentum = 0.9
    config.weights.weight_decay = 3e-4
    config.weights.clip_norm = 5.0  # paper silent, DARTS value

    # Adam on the graph embedding (or on what stands in for it), constant rate.
    config.embedding = ConfigDict()
    config.embedding.learning_rate = 6e-4
    config.embedding.weight_decay = 1e-3
    config.embedding.b1 = 0.5  # paper silent, DARTS value
    config.embedding.b2 = 0.999  # paper silent, DARTS value

    # What belongs to the relaxation of this name; GDAS's values.
    config.gumbel = ConfigDict()
    config.gumbel.first_temperature = 10.0  # of the first epoch, falling along a line ...
    config.gumbel.last_temperature = 0.1  # ... to the last epoch's

    config.partial = ConfigDict()
    config.partial.share = 4  # of the channels the operations mix so many-th; PC-DARTS's value

    # The strategies that ask for cells. The paper promises reinforcement learning and evolution and gives no setting:
    # the values are those that did well on NAS-Bench-201 (experiments/nas_bench_201.py), untuned on a supernet.
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

    # Their last choice: the best of the history are compared on more images, the same for all. Paper silent: one
    # batch is a noisy reward, and w was worse for the earlier cells.
    config.final = ConfigDict()
    config.final.candidates = 10
    config.final.batches = 20  # of the validation half, for each candidate

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
    fit(config)
    return config
