"""The keys of a search alone, a row each in the paper's order, and the rules by which some follow from others."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nge_jax.settings.key import (
    COUNT,
    FLOAT,
    FRACTION,
    PART,
    RATE,
    SEED,
    USER,
    Key,
    Limits,
    Values,
)
from nge_jax.space.spaces import SPACES

# The paper's edge model (Sec. 3.3) and its ablation's (Table 4), see `embedding`.
EDGE_MODELS = ("nge", "alpha", "plain", "rnn")
ADJACENCIES = ("printed", "predecessors")
# The forms of the edge models, the paper's first, see `embedding.Form`.
CLASSIFIERS = ("shared", "per_edge")
NORMS = ("none", "center", "pairnorm", "pairnorm_center")
STARTS = ("random", "uniform")
RESIDUALS = ("none", "free")
# The ways of Adam on the embedding, the paper's or DARTS's first.
DECAYS = ("coupled", "decoupled")
RATES = ("absolute", "matched")
# The ways of a search by gradient to mix operations, see `search.steps.relaxation`.
RELAXATIONS = ("softmax", "gumbel", "partial", "sigmoid", "dirichlet", "concrete")
# The paper's gradient, which needs no strategy, and the strategies that ask for cells.
STRATEGIES = ("gradient", "reinforce", "evolution", "random")
# The ways to rate the cells that a strategy asks for.
EVALUATORS = ("supernet", "trained")
SCREENS = ("model", "ridge")  # predictors of evolution's children, see `strategies.evolution`

PAPER, SILENT = "paper Sec. 4.1", "paper silent, DARTS value"
POSITIVE = Limits(float, 0, FLOAT, above=True)
SKIPS = Limits(int, 0, 64)  # the paper's cell has eight edges; a space limits them further
BENCH = ("nas_bench_201", "nas_bench_201_no_none")  # a table has the accuracies of the cells
DARTS = ("darts",)  # the space whose cells are trained, and for which strategies ask


def _has_nge(models: str | Sequence[str]) -> bool:
    return "nge" in ((models,) if isinstance(models, str) else models)


# The searches that read a key which others have and do not read: the key that decides, and whether its value does.
READERS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "gradient": ("search.strategy", lambda strategy: strategy == "gradient"),
    "gradient and reinforce": (
        "search.strategy",
        lambda strategy: strategy in ("gradient", "reinforce"),
    ),
    "strategies": ("search.strategy", lambda strategy: strategy != "gradient"),
    "all but random": ("search.strategy", lambda strategy: strategy != "random"),
    "edge model nge": ("search.edge_model", _has_nge),
    "supernet": ("search.evaluator", lambda evaluator: evaluator == "supernet"),
}

# fmt: off
KEYS = (
    Key("data.train_fraction", 0.5, PART, PAPER,
        "Part of the training images that trains the weights; the others train P."),
    Key("data.class_fraction", 1.0, Limits(float, 0, 1, above=True), "",
        "Part of each class's images that is used, drawn by data.split_seed. Below 1 each class is divided between the "
        "weights and P; else all images together are.",
        kinds=(USER,), since="0.2"),
    Key("data.table", "", None, "",
        "The benchmark's accuracies, an .npz by experiments/convert_nas_bench_201.py. The search does not read them. "
        "Empty: none are reported.",
        spaces=BENCH, since="0.2", changes_result=False),
    Key("network.remat", False, None, "",
        "Computes each cell again in the backward pass, to save memory.", read_by=("supernet",)),

    Key("search.strategy", "gradient", STRATEGIES, "paper Algorithm 1",
        "How a cell is found: by the gradient, or by a strategy that asks the supernet for one cell after another.",
        outside="part", label="Strategy"),
    Key("search.evaluator", "supernet", EVALUATORS, "",
        "How the cells that a strategy asks for are rated: by one batch in the weights that all cells share, or each "
        "by a training of its own. The training is the one of train_config, as short as trained.rungs.",
        spaces=DARTS, since="0.3", label="Evaluator"),
    Key("search.space", "darts", tuple(SPACES), "paper Sec. 4.1",
        "The search space: the paper's; RobustDARTS's S1 to S4; the paper's without skip connections, or with one "
        "beside each operation; a user's own, module:attribute. search_nas_bench_201 searches the benchmark's.",
        since="0.2", outside="space"),
    Key("search.relaxation", "softmax", RELAXATIONS, "paper Eq. 11",
        "How a step mixes operations: all by P; one an edge, drawn from P (gumbel, GDAS); all by P on a part of the "
        "channels, with learned weights of the edges (partial, PC-DARTS); each by a sigmoid (sigmoid, FairDARTS); all "
        "by a draw from a Dirichlet (dirichlet, DrNAS) or from a concrete distribution (concrete, SNAS).",
        since="0.2", outside="part", label="Relaxation"),
    Key("search.edge_model", "nge", EDGE_MODELS, "paper Sec. 3.3; the others Table 4",
        "How P is computed: by graph convolution, or by one of the ablation's models.",
        outside="part", label="Edge model", read_by=("all but random",)),
    Key("search.adjacency", "printed", ADJACENCIES, "paper Eq. 6 as printed",
        'Edges of the graph of nge; "predecessors" is what Eq. 6 probably means.',
        read_by=("all but random", "edge model nge")),
    Key("search.alternation", "epoch", ("epoch", "batch"), "paper Algorithm 1",
        'Turns of the weights and the embedding; "batch" alternates as DARTS does.'),
    Key("search.order", 1, Limits(int, 1, 2), "",
        "2: DARTS's second order, which needs alternation by batches. An embedding step takes four gradients then.",
        since="0.2"),
    Key("search.batch_size", 64, Limits(int, 1, 1_048_576), SILENT,
        "Images of a step, over all devices.", by_data="at most 64, a fourth of a half or less", read_by=("supernet",)),
    Key("search.epochs", 25, Limits(int, 1, 100_000), PAPER,
        "Epochs.", by_data="about 1,000 updates, 10 to 50 epochs", in_program=False, read_by=("supernet",)),
    Key("search.images_per_epoch", 0, Limits(int, 0, COUNT), "", "Images of each half in an epoch. 0: all of them."),
    Key("search.stop_on_skips", 0, SKIPS, "DARTS+; the paper has none",
        "Skip connections in the normal cell at which the search ends early. 0: never.", since="0.2"),
    Key("search.max_skips", 8, SKIPS, "P-DARTS; the paper has none",
        "Skip connections in the normal cell derived; the weakest beyond give way. 8: no limit.",
        since="0.2", read_by=("gradient",)),
    Key("search.keep_best_below", 0.0, FRACTION, "the paper has none",
        "If the supernet's validation accuracy ends below this part of the best, and one operation has 80 % of a "
        "cell's edges, the cells are derived from P after the best epoch. 0: never.",
        since="0.3", in_program=False, read_by=("gradient",)),
    Key("search.skip_dropout", 0.0, FRACTION, "P-DARTS; the paper has none",
        "Rate at which the first steps leave out skip connections, falling along a line to 0.",
        since="0.2", in_program=False),
    Key("search.edge_mutation", 0.0, FRACTION, "EM-DARTS (0.125; NAS-Bench-201: 0.2); the paper has none",
        "Probability that an edge has a single operation in a step of the weights, drawn among the operations with "
        "weights. It rises along a line from 0 in the first epoch to this in the last. Steps of the embedding are as "
        "without it.",
        since="0.3", in_program=False),
    Key("search.layer_correlation", 0.0, RATE, "Lambda-DARTS (0.125; its scripts: 0.25); the paper has none",
        "Weight of the mean cosine between the normal cells' gradients by P, which steps of the weights raise. It "
        "grows along a line from 0 in the first epoch to this in the last. A step of the weights takes three gradients "
        "then. It needs the relaxation softmax, float32 and the first order.",
        since="0.3", in_program=False),
    Key("search.entropy_weight", 0.0, RATE, "DA2S; the paper has none",
        "Weight of P's entropy, in nats, in the embedding's loss. It grows along a line from 0 in the first epoch to "
        "this in the last, and makes a search end in a choice.",
        since="0.2", in_program=False, read_by=("gradient",)),
    Key("search.warmup", 0.0, FRACTION, "the paper has none; PC-DARTS: 0.3 (15 of 50)",
        "Part of the epochs, at the start, in which w alone learns and the embedding is held.",
        since="0.2", in_program=False),
    Key("search.seeds", (), SEED._replace(length=(0, 64)), "",
        "(0, 1, 2, 3): a search of each of these seeds, all in one program, each with a folder in the workdir; `seed` "
        "is not used then. (): one search.",
        since="0.2"),
    Key("search.edge_models", (), EDGE_MODELS, "",
        '("nge", "alpha"): searches with each of these edge models, likewise, each of every seed; '
        "`search.edge_model` is not used then. (): one edge model.",
        since="0.2", outside="part"),
    Key("search.cost_weight", 0.0, RATE, "the paper has none",
        "Weight of P's expected parameters in the embedding's loss, as a part of their mean over all cells. The "
        "parameters are those of the network that search.train_config builds.",
        spaces=DARTS, since="0.3", in_program=False),
    Key("search.cost_weights", (), RATE._replace(length=(0, 64)), "",
        "(0, 0.01, 0.1): searches with each of these weights, likewise, each of every seed; `cost_weight` is not used "
        "then. (): one weight.",
        spaces=DARTS, since="0.3"),
    Key("search.sources", (), None, "",
        "The parts, the space and the operations from outside, module:attribute, each with a hash of the file. The "
        "search fills this in. A config that states it is refused once a file has changed.",
        since="0.3"),
    Key("limits.milliseconds", 0.0, Limits(float, 0, 1e9), "",
        "The most milliseconds for an image, of the network that search.train_config builds: the sum of its parts in "
        "limits.latency_table. 0: no limit.",
        spaces=DARTS, since="0.3", in_program=False),
    Key("limits.latency_table", "", None, "",
        "The milliseconds of the network's parts on the device that the network is for, a CSV by nge latency --table. "
        "Empty: no limit on milliseconds.",
        spaces=DARTS, since="0.3", in_program=False),
    Key("limits.weight", 1.0, RATE, "",
        "Weight of the part by which P's expected cost exceeds a limit, in the embedding's loss. A cell beyond a limit "
        "gives reinforce so much less reward.",
        spaces=DARTS, since="0.3", in_program=False, read_by=("gradient and reinforce",)),
    Key("search.train_config", "configs/train_cifar10.py", None, "",
        "The config that trains the cell found; it is named, not run. With the evaluator trained it trains every cell.",
        spaces=DARTS),

    Key("embedding.learning_rate", 6e-4, RATE, PAPER, "Learning rate.", in_program=False, read_by=("gradient",)),
    Key("embedding.weight_decay", 1e-3, RATE, PAPER, "Weight decay, as a part of the gradient.",
        in_program=False, read_by=("gradient",)),
    Key("embedding.b1", 0.5, FRACTION, SILENT, "Adam's first beta.", read_by=("gradient",)),
    Key("embedding.b2", 0.999, FRACTION, SILENT, "Adam's second beta.", read_by=("gradient",)),
    Key("embedding.rate", "absolute", RATES, PAPER,
        "Absolute: embedding.learning_rate is the rate. Matched: the rate is lower by as much as a step of the edge "
        "model moves logits farther than a step of free logits; metrics.jsonl has it as embedding_rate.",
        since="0.3", read_by=("all but random",)),
    Key("embedding.decay", "coupled", DECAYS, "DARTS",
        "Coupled: the decay is a part of the gradient. Decoupled: the decay is a part of the step (AdamW).",
        since="0.3"),
    Key("embedding.classifier", "shared", CLASSIFIERS, "paper Eq. 10",
        "The classifier of the edges' embeddings: one for all edges, or one for each edge of each cell type.",
        since="0.3", read_by=("all but random",)),
    Key("embedding.norm", "none", NORMS, "the paper has none",
        "Pairnorm normalizes the nodes' embeddings after each layer (PairNorm). Center takes the mean over a cell's "
        "edges off the edges' embeddings. Pairnorm_center does both.",
        since="0.3", read_by=("all but random",)),
    Key("embedding.start", "random", STARTS, "the paper has none",
        "Uniform subtracts the initial logits, so that a search starts with equal probabilities.",
        since="0.3", read_by=("all but random",)),
    Key("embedding.residual", "none", RESIDUALS, "the paper has none",
        "Free adds a free logit for each edge and operation, at embedding.learning_rate whatever embedding.rate is.",
        since="0.3", read_by=("all but random",)),

    Key("gumbel.first_temperature", 10.0, POSITIVE, "GDAS",
        "Temperature of the first epoch; it falls along a line.", since="0.2", in_program=False),
    Key("gumbel.last_temperature", 0.1, POSITIVE, "GDAS",
        "Temperature of the last epoch.", since="0.2", in_program=False),
    Key("gumbel.all_scalars", False, None, "GDAS's paper",
        "Adds the scalars of operations that were not drawn: 0, with the output's summed gradient. GDAS's published "
        "accuracy on NAS-Bench-201 (93.61 %) is by this form.",
        spaces=BENCH, since="0.2"),
    Key("partial.share", 4, Limits(int, 2, 2048), "PC-DARTS",
        "The operations mix one channel in so many.", spaces=DARTS, since="0.2"),

    Key("sigmoid.zero_one_weight", 10.0, RATE, "FairDARTS",
        "Weight of the zero-one loss, which pushes P to 0 or 1.", since="0.3", in_program=False),
    Key("dirichlet.anchor_weight", 1e-3, RATE, "DrNAS",
        "Weight of the divergence from equal concentrations.", since="0.3", in_program=False),
    Key("concrete.first_temperature", 1.0, POSITIVE, "",
        "Temperature of the first epoch; it falls along a line.", since="0.3", in_program=False),
    Key("concrete.last_temperature", 0.1, POSITIVE, "",
        "Temperature of the last epoch.", since="0.3", in_program=False),

    Key("reinforce.learning_rate", 1e-3, RATE, "", "Adam's learning rate, on the edge model.",
        spaces=DARTS, in_program=False),
    Key("reinforce.entropy_weight", 1e-3, RATE, "", "Weight of the policy's entropy, in nats, beside the reward.",
        spaces=DARTS),
    Key("reinforce.baseline_decay", 0.9, FRACTION, "", "Decay of the moving average of rewards.", spaces=DARTS),
    Key("evolution.population", 30, Limits(int, 1, 100_000), "",
        "The latest cells, among which parents are chosen. The first are random.", spaces=DARTS),
    Key("evolution.tournament", 20, Limits(int, 1, 100_000), "",
        "Cells of the population that are drawn with replacement; the best is the parent.", spaces=DARTS),
    Key("evolution.proposals", 16, Limits(int, 1, 10_000), "",
        "Children of a parent. The favorite among them is evaluated, see `evolution.screen`.", spaces=DARTS),
    Key("evolution.screen", "model", SCREENS, "",
        "How the child is chosen among the proposals: by the edge model's P, or by a ridge regression of the rewards "
        "on the edges' operations.", spaces=DARTS, since="0.3"),
    Key("evolution.memory", 100, Limits(int, 1, 1_000_000), "",
        "The latest cells that teach the edge model; older rewards are lower, because w was worse.", spaces=DARTS),
    Key("evolution.train_steps", 3, Limits(int, 0, 10_000), "",
        "Steps of Adam on the edge model after each cell.", spaces=DARTS),
    Key("evolution.learning_rate", 1e-3, RATE, "", "Adam's learning rate.", spaces=DARTS, in_program=False),
    Key("evolution.rank_scale", 3.0, POSITIVE, "",
        "A cell of rank r teaches with weight exp(-r / rank_scale).", spaces=DARTS, in_program=False),
    Key("evolution.entropy_weight", 0.03, RATE, "", "Weight of the distribution's entropy, in nats.", spaces=DARTS),
    Key("trained.cells", 27, Limits(int, 1, 100_000), "", "Cells that are trained; equal cells are trained once.",
        spaces=DARTS, by_data="about 17,000 updates to the first rung, 9 to 36 cells", since="0.3", in_program=False),
    Key("trained.minutes", 0.0, Limits(float, 0, 1e6), "",
        "Minutes of the search, in which fewer cells may be trained. No new cell begins when the rest would take "
        "longer. 0: no limit.",
        spaces=DARTS, since="0.3", in_program=False),
    Key("trained.rungs", (3, 9, 27), Limits(int, 1, 1_000_000, length=(1, 8)), "successive halving",
        "Epochs at which a cell is rated, ascending. The best third at each number is trained on to the next, at the "
        "rate of a training of that length. A single number: every cell is trained so long.",
        spaces=DARTS, by_data="one of about 470 updates, 2 to 40 epochs", since="0.3",
        in_program=False),
    Key("trained.seeds", 2, Limits(int, 0, 64), "",
        "Other seeds with which final.candidates of the last rung's cells are trained again. The mean decides.",
        spaces=DARTS, since="0.3", in_program=False),
    Key("final.candidates", 10, Limits(int, 1, 10_000), "", "The best cells of the history that are compared.",
        spaces=DARTS, read_by=("strategies",)),
    Key("final.batches", 20, Limits(int, 1, 1_000_000), "",
        "Batches of the validation half for each candidate. Paper silent: one batch is a noisy reward.",
        spaces=DARTS, read_by=("strategies", "supernet")),

    Key("run.random_cells", 5, Limits(int, 0, 1000), "",
        "Random cells that the report shows beside the cell found, evaluated in the same weights. 0: none.",
        since="0.2", changes_result=False, read_by=("supernet",)),
    Key("run.ray", "", None, "",
        "Trains cells on the workers of a Ray cluster, each on a core or a GPU, with the evaluator trained: its "
        "HOST:PORT, or auto for the one of RAY_ADDRESS or of this machine, or one that is started here. With several "
        "workers a search may end otherwise than with one. Empty: this process trains the cells.",
        spaces=DARTS, since="0.3", changes_result=False),
)  # fmt: on


# The part of the embedding's rate that is left where operations are drawn and edges share the embedding. At this rate P
# has decided at the end of a search, not before.
DRAWN_PART = 1 / 16


def slow_drawn(values: Values) -> dict[str, float]:
    """Slows an embedding whose steps move all edges at once, where operations are drawn.

    The gradient through a draw is weaker than the decay, and Adam makes steps of the same length from both. By the
    paper's settings the matrices decay to nothing and P ends uniform. Without decay the paper's rate settles on an
    operation before its weights are trained. Free logits keep the paper's rate and, as GDAS's, a decay.
    """
    if values["search.relaxation"] != "gumbel" or values["search.edge_model"] == "alpha":
        return {}
    rate = "embedding.learning_rate"
    return {rate: DRAWN_PART * values[rate], "embedding.weight_decay": 0.0}


def widen_partial(values: Values) -> dict[str, int]:
    """Gives the sizes for CPUs enough channels to share with the relaxation partial."""
    if values["search.relaxation"] != "partial":
        return {}
    least = 2 * values["partial.share"]
    return {"network.channels": max(values["network.channels"], least)}


def speed_free_logits(values: Values) -> dict[str, float]:
    """Gives strategies the rates for logits without a network before them, which did well on NAS-Bench-201.

    The search by gradient reads none of these keys.
    """
    if values["search.strategy"] == "gradient" or values["search.edge_model"] != "alpha":
        return {}
    return {
        "reinforce.learning_rate": 0.3,
        "reinforce.entropy_weight": 0.02,
        "evolution.learning_rate": 0.03,
    }


def drop_entropy(values: Values) -> dict[str, float]:
    """Takes off the weight of P's entropy where the rows of P are no probabilities."""
    return {"search.entropy_weight": 0.0} if values["search.relaxation"] == "sigmoid" else {}


NEEDED = (widen_partial, drop_entropy)  # else a relaxation is refused
RULES = (slow_drawn, speed_free_logits, *NEEDED)
