"""Neural graph embedding: from node vectors to the probabilities of operations (paper Eq. 5-10).

Each cell type is a graph whose nodes have learned vectors X. The cell types share three groups of weights, Theta_n,
Theta_e and Theta_o, and none has a bias:

    A_ij = 1 / (i + 1)              for an inner node i and each of its partners j       (Eq. 6)
    H'   = ReLU((A + I) H W)        graph convolution, from H = X to Z: Theta_n          (Eq. 5, 7, 8)
    e_ik = ReLU([z_i, z_k] W) W'    the embedding of edge i -> k: Theta_e                (Eq. 9)
    p_ik = softmax(e_ik W)          the probabilities of its operations: Theta_o         (Eq. 10)

Weights start normal with deviation 1/sqrt(fan_in) (paper silent on the deviation), and X starts one-hot.

The paper's ablation (Table 4) replaces parts of this model. Every model here is an `EdgeModel`:

    nge    X -> graph convolution -> edge MLP -> classifier   45,504 + 2 * 384 parameters
    rnn    X -> recurrent layers  -> edge MLP -> classifier   49,600 + 2 * 384
    plain  X ->                      edge MLP -> classifier   12,736 + 2 * 384
    alpha  a logit for each edge and operation (DARTS)        2 * 98

All edges share Theta_e and Theta_o, so that a step for one edge moves all others (see `movement`). A `Form` lets edges
decide more by themselves.

These letters name the axes of arrays. The numbers, here and below, are for the paper's search space:

    C  cell types (2)    V  nodes of a cell (6)    E  edges of a cell (14)
    O  operations (7)    D  features of a layer (64 or 128)
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nge_jax.embedding import nodes
from nge_jax.embedding.nodes import init_layers, init_matrix
from nge_jax.kernels.selection import take_rows
from nge_jax.settings.search import (
    ADJACENCIES,
    CLASSIFIERS,
    EDGE_MODELS,
    NORMS,
    RESIDUALS,
    STARTS,
)
from nge_jax.space.architecture import only_allowed
from nge_jax.space.mixture import Mixture, normalized_edges
from nge_jax.space.spaces import DARTS, Space

EDGE_WIDTHS = (128, 64, 64)

Params = Any  # a tree of arrays


class EdgeModel(NamedTuple):
    """Computes the probabilities of a search from learned parameters; both functions are pure.

    Attributes:
        init: random key -> parameters, a tree of float32 arrays.
        probs: parameters -> P [C, E, O], where the probabilities of an edge sum to 1. If edges are normalized too, the
            result is a `Mixture` of P and of betas [C, E].
        name: one of EDGE_MODELS, or the name of the function that made the model, for `repr`.
        logits: parameters -> the logits [C, E, O] whose softmax is P; None where P has no logits.
    """

    init: Callable[[jax.Array], Params]
    probs: Callable[[Params], Any]
    name: str = ""
    logits: Callable[[Params], jax.Array] | None = None

    def __repr__(self) -> str:
        return f"EdgeModel({self.name})"


class Form(NamedTuple):
    """Says how an edge model differs from the paper's; the defaults are the paper's form. `alpha` has only `start`.

    Attributes:
        classifier: "per_edge" gives each edge of each cell type a classifier (Theta_o is [C, E, D, O]), and another
            for its beta.
        norm: "pairnorm" normalizes the nodes' embeddings by `nodes.pair_norm`, in "nge" after each layer. "center"
            takes the mean over a cell's edges off the edges' embeddings. "pairnorm_center" does both.
        start: "uniform" subtracts the initial logits, so that all probabilities are equal at first.
        residual: "free" adds a free logit for each edge and operation, at first 0.
    """

    classifier: str = "shared"
    norm: str = "none"
    start: str = "random"
    residual: str = "none"


PAPER = Form()
OF_ALPHA = ("start",)  # the fields of a form that `alpha` has
# The names of a form's parameters beside the paper's: free logits, and initial logits, which are never updated.
FREE, START = "free", "start"


def edge_model(
    name: str,
    adjacency: str = "printed",
    space: Space = DARTS,
    *,
    betas: bool = False,
    form: Form = PAPER,
) -> EdgeModel:
    """Makes one of the edge models for a search space.

    Args:
        name: one of EDGE_MODELS.
        adjacency: one of ADJACENCIES; only "nge" uses it, but it is always checked.
        space: the search space of the cells.
        betas: whether edges are normalized too, as in PC-DARTS (paper silent). A second classifier with one output
            (theta_b) computes an edge's beta from the edge's embedding. In `alpha` a beta is a free logit, as in
            PC-DARTS.
        form: the differences from the paper's form.

    Raises:
        ValueError: for an unknown name, adjacency or form.
    """
    _check_known("name", name, EDGE_MODELS)
    _check_known("adjacency", adjacency, ADJACENCIES)
    for field, known in zip(Form._fields, (CLASSIFIERS, NORMS, STARTS, RESIDUALS), strict=True):
        _check_known(f"form.{field}", getattr(form, field), known)
    if name == "alpha":
        return _alpha_model(space, betas, form)

    a = nodes.adjacency_matrix(adjacency, space.num_nodes, space.num_inputs)
    init_theta_n, embed_nodes = {
        "nge": (partial(init_layers, nodes.GCN_WIDTHS), partial(nodes.graph_convolution, a)),
        "rnn": (nodes.init_recurrent, nodes.recurrence),
        "plain": (lambda key: [], nodes.keep_nodes),
    }[name]
    if "pairnorm" in form.norm:
        embed_nodes = partial(embed_nodes, normalize=nodes.pair_norm)
    return _embedding_model(name, init_theta_n, embed_nodes, space, betas, form)


def model_of_nodes(
    init: Callable[[jax.Array], Params],
    embed_nodes: Callable[[jax.Array, Params], jax.Array],
    space: Space = DARTS,
    *,
    betas: bool = False,
    form: Form = PAPER,
) -> EdgeModel:
    """Makes an edge model of one's own embeddings of nodes, with the edge MLP and the classifier of "nge".

    Args:
        init: random key -> theta_n, a tree of float32 arrays.
        embed_nodes: (X [C, V, 64], theta_n) -> the nodes' embeddings Z [C, V, 64]. X starts one-hot and is learned.
        space, betas, form: see `edge_model`. PairNorm normalizes Z once.
    """

    def normalized(x: jax.Array, theta_n: Params) -> jax.Array:
        return nodes.pair_norm(embed_nodes(x, theta_n))

    embed = normalized if "pairnorm" in form.norm else embed_nodes
    return _embedding_model("nodes", init, embed, space, betas, form)


def _embedding_model(
    name: str, init_theta_n: Callable, embed_nodes: Callable, space: Space, betas: bool, form: Form
) -> EdgeModel:
    """Makes a model with the edge MLP and the classifier of "nge", and other embeddings of nodes."""
    outputs = {"theta_o": space.shape[2]} | ({"theta_b": 1} if betas else {})

    def init(key: jax.Array) -> Params:
        params = _init_params(key, init_theta_n, space, outputs, form)
        if form.start == "uniform":
            with jax.default_matmul_precision("float32"):
                e = embed(params)
                params[START] = {theta: classify(e, params[theta]) for theta in outputs}
        return params

    def embed(params: Params) -> jax.Array:
        z = embed_nodes(params["x"], params["theta_n"])
        e = edge_embedding(z, params["theta_e"], space.edges)
        return e - e.mean(-2, keepdims=True) if "center" in form.norm else e

    def score(params: Params, e: jax.Array, theta: str) -> jax.Array:
        scores = classify(e, params[theta])
        if form.start == "uniform":
            scores = scores - lax.stop_gradient(params[START][theta])
        scores = scores + params[FREE][theta] if form.residual == "free" else scores
        return only_allowed(scores, space) if theta == "theta_o" else scores

    def logits(params: Params) -> jax.Array:
        with jax.default_matmul_precision("float32"):
            return score(params, embed(params), "theta_o")

    def probs(params: Params) -> Any:
        # Full precision is cheap here. It makes P, and thereby the derived cell, agree across devices.
        with jax.default_matmul_precision("float32"):
            e = embed(params)
            operations = jax.nn.softmax(score(params, e, "theta_o"))
            if not betas:
                return operations
            return Mixture(operations, normalized_edges(score(params, e, "theta_b")[..., 0], space))

    return EdgeModel(init, probs, name, logits)


def _init_params(
    key: jax.Array, init_theta_n: Callable, space: Space, outputs: dict[str, int], form: Form
) -> dict[str, Any]:
    """Draws the parameters except for initial logits; `outputs`: of each classifier."""
    key_n, key_e, key_o = jax.random.split(key, 3)
    keys = {"theta_o": key_o, "theta_b": jax.random.fold_in(key, 3)}
    num_cells, num_edges, _ = space.shape
    leading = (num_cells, num_edges) if form.classifier == "per_edge" else ()
    params: dict[str, Any] = {
        "x": nodes.one_hot_nodes(num_cells, space.num_nodes),
        "theta_n": init_theta_n(key_n),
        "theta_e": init_layers(EDGE_WIDTHS, key_e),
    }
    for theta, count in outputs.items():
        params[theta] = init_matrix(keys[theta], EDGE_WIDTHS[-1], count, leading)
    if form.residual == "free":
        params[FREE] = {theta: jnp.zeros((num_cells, num_edges, n)) for theta, n in outputs.items()}
    return params


def edge_embedding(
    z: jax.Array, theta_e: list[jax.Array], edges: Sequence[tuple[int, int]] = DARTS.edges
) -> jax.Array:
    """Embeds edges [C, E, D]: an MLP, FC-ReLU-FC, of the concatenated z_i and z_k of Z [C, V, D] (paper Eq. 9)."""
    sources, targets = np.asarray(edges).T
    pairs_CxEx2D = jnp.concatenate([take_rows(z, sources), take_rows(z, targets)], axis=-1)
    first, second = theta_e
    return jax.nn.relu(pairs_CxEx2D @ first) @ second


def classify(e: jax.Array, theta: jax.Array) -> jax.Array:
    """Computes logits [C, E, O] of edge embeddings [C, E, D] (paper Eq. 10), by a theta [D, O] or [C, E, D, O]."""
    return e @ theta if theta.ndim == 2 else jnp.einsum("ced,cedo->ceo", e, theta)


def entropy(probs: jax.Array) -> jax.Array:
    """Computes the entropy of probabilities [C, E, O] in nats: [C], the mean over the edges of each cell type."""
    return jax.scipy.special.entr(probs).sum(-1).mean(-1)


def _alpha_model(space: Space, betas: bool, form: Form) -> EdgeModel:
    """Makes the model of free logits, which start as 1e-3 N(0, 1) (DARTS and PC-DARTS values), or as 0."""

    def init(key: jax.Array) -> Params:
        params = {"alpha": 1e-3 * jax.random.normal(key, space.shape)}
        if betas:
            key = jax.random.fold_in(key, 3)
            params["beta"] = 1e-3 * jax.random.normal(key, space.shape[:2])
        return jax.tree.map(jnp.zeros_like, params) if form.start == "uniform" else params

    def probs(params: Params) -> Any:
        operations = jax.nn.softmax(only_allowed(params["alpha"], space))
        if not betas:
            return operations
        return Mixture(operations, normalized_edges(params["beta"], space))

    return EdgeModel(init, probs, "alpha", lambda params: only_allowed(params["alpha"], space))


def _check_known(argument: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{argument}: found {value!r}, expected one of {', '.join(known)}")
