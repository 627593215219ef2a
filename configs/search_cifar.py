"""Search a CIFAR cell with NGE (Li, Gong, Zhu, AAAI 2020, Sec. 4.1), by the paper's settings.

  python -m nge_jax.main --config=configs/search_cifar.py
  python -m nge_jax.main --config=configs/search_cifar.py:small        a scaled-down search for a CPU
  python -m nge_jax.main --config=configs/search_cifar.py:rnn          another edge model (Table 4)
  python -m nge_jax.main --config=configs/search_cifar.py:rnn,small    both
  python -m nge_jax.main --config=configs/search_cifar.py:evolution    another strategy

Words after the colon, joined by commas, in any order: one strategy of `gradient` (the default), `reinforce`,
`evolution`, `random`; one edge model of `nge` (the default), `alpha`, `plain`, `rnn`; one size of `small` and `smoke`
(the paper's when neither is given).

The paper's size is meant for one GPU: its authors report 0.1 GPU-days. On two CPU cores a step takes 3 to 5 seconds,
which makes an epoch about 50 minutes; `small` takes about a quarter of an hour on one core.
"Paper silent" marks what the paper leaves open; the value is then that of DARTS (Liu et al., ICLR 2019), whose search
setting the paper follows.
"""

from ml_collections import ConfigDict

STRATEGIES = ("gradient", "reinforce", "evolution", "random")
EDGE_MODELS = ("nge", "alpha", "plain", "rnn")
SIZES = ("small", "smoke")


def get_config(arg: str = "") -> ConfigDict:
    words = arg.split(",") if arg else []
    for word in words:
        known = STRATEGIES + EDGE_MODELS + SIZES
        if word not in known:
            raise ValueError(
                f"search_cifar.py: unknown variant {word!r}, expected one of {', '.join(known)}"
            )
    for group in (EDGE_MODELS, STRATEGIES, SIZES):
        if len(set(words).intersection(group)) > 1 or len(set(words)) < len(words):
            raise ValueError(f"search_cifar.py: {arg!r} names two of {', '.join(group)}")

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
    config.search.edge_model = "nge"
    config.search.adjacency = "printed"  # Eq. 6 as printed; "predecessors" as probably meant
    config.search.alternation = "epoch"  # Algorithm 1; "batch" alternates as DARTS does
    config.search.epochs = 25
    config.search.batch_size = 64  # paper silent, DARTS value
    config.search.images_per_epoch = 0  # of each half; 0: all of them
    config.search.train_config = (
        "configs/train_cifar10.py"  # trains the cell found; only named, not run
    )

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

    # The strategies that ask for cells. The paper promises reinforcement learning and evolution and gives no setting:
    # the values are those that did well on NAS-Bench-201 (experiments/nas_bench_201.py), untuned on a supernet.
    config.reinforce = ConfigDict()
    config.reinforce.learning_rate = 1e-3  # Adam's, on the edge model
    config.reinforce.entropy_weight = 1e-3  # of the policy's entropy in nats, beside the reward
    config.reinforce.baseline_decay = 0.9  # of the moving average of rewards

    config.evolution = ConfigDict()
    config.evolution.population = (
        30  # the latest cells, of which parents are chosen; the first are random
    )
    config.evolution.tournament = 20  # of them, drawn with replacement; the best is the parent
    config.evolution.proposals = 16  # children, of which the edge model's favourite is evaluated
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

    for word in words:
        if word in STRATEGIES:
            config.search.strategy = word
        if word in EDGE_MODELS:
            config.search.edge_model = word
    if config.search.strategy != "gradient" and config.search.edge_model == "alpha":
        # Logits without a network before them: what did well on NAS-Bench-201 is larger.
        config.reinforce.learning_rate = 0.3
        config.reinforce.entropy_weight = 0.02
        config.evolution.learning_rate = 0.03
    if "small" in words:  # ten epochs in a quarter of an hour on a CPU core
        config.network.channels = 4
        config.network.cells = 5
        config.search.epochs = 10
        config.search.images_per_epoch = 1280
        config.final.candidates = 5
        config.final.batches = 10
    if "smoke" in words:  # does it run? A minute on two CPU cores, most of it compilation
        config.network.channels = 2
        config.network.cells = 3
        config.search.epochs = 2
        config.search.batch_size = 8
        config.search.images_per_epoch = 32
        config.evolution.population = 4
        config.evolution.memory = 8
        config.final.candidates = 2
        config.final.batches = 2
        config.run.steps_per_dispatch = 2
    return config
