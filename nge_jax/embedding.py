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

These letters name the axes of arrays. The numbers, here and below, are for the paper's search space:

    C  cell types (2)    V  nodes of a cell (6)    E  edges of a cell (14)
    O  operations (7)    D  features of a layer (64 or 128)
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nge_jax.settings.search import ADJACENCIES, EDGE_MODELS
from nge_jax.space.mixture import Mixture, normalized_edges
from nge_jax.space.spaces import DARTS, Space

NODE_WIDTH = 64
GCN_WIDTHS = (NODE_WIDTH, 128, 128, 64)
RNN_WIDTHS = (NODE_WIDTH, 128, 64)  # paper silent: two layers, output as wide as the GCN's
EDGE_WIDTHS = (128, 64, 64)

Params = Any  # a tree of arrays


class EdgeModel(NamedTuple):
    """Computes the probabilities of a search from learned parameters; both functions are pure.

    Attributes:
        init: random key -> parameters, a tree of float32 arrays.
        probs: parameters -> P [C, E, O], where the probabilities of an edge sum to 1. If edges are normalized too, the
            result is a `Mixture` of P and of betas [C, E].
        name: one of EDGE_MODELS, or the name of the function that made the model, for `repr`.
    """

    init: Callable[[jax.Array], Params]
    probs: Callable[[Params], Any]
    name: str = ""

    def __repr__(self) -> str:
        return f"EdgeModel({self.name})"


def edge_model(
    name: str, adjacency: str = "printed", space: Space = DARTS, *, betas: bool = False
) -> EdgeModel:
    """Makes one of the edge models for a search space.

    Args:
        name: one of EDGE_MODELS.
        adjacency: one of ADJACENCIES; only "nge" uses it, but it is always checked.
        space: the search space of the cells.
        betas: whether edges are normalized too, as in PC-DARTS (paper silent). A second classifier with one output
            (theta_b) computes an edge's beta from the edge's embedding. In `alpha` a beta is a free logit, as in
            PC-DARTS.

    Raises:
        ValueError: for an unknown name or adjacency.
    """
    _check_known("name", name, EDGE_MODELS)
    _check_known("adjacency", adjacency, ADJACENCIES)
    if name == "alpha":
        return _alpha_model(space, betas)

    a = adjacency_matrix(adjacency, space.num_nodes, space.num_inputs)
    init_theta_n, embed_nodes = {
        "nge": (partial(_init_layers, GCN_WIDTHS), partial(graph_convolution, a)),
        "rnn": (_init_recurrent, recurrence),
        "plain": (lambda key: [], lambda x, theta_n: x),
    }[name]
    return _embedding_model(name, init_theta_n, embed_nodes, space, betas)


def _embedding_model(
    name: str, init_theta_n: Callable, embed_nodes: Callable, space: Space, betas: bool
) -> EdgeModel:
    """Makes a model with the edge MLP and the classifier of "nge", and other embeddings of nodes."""
    num_cells, _, num_operations = space.shape

    def init(key: jax.Array) -> Params:
        key_n, key_e, key_o = jax.random.split(key, 3)
        params = {
            "x": one_hot_nodes(num_cells, space.num_nodes),
            "theta_n": init_theta_n(key_n),
            "theta_e": _init_layers(EDGE_WIDTHS, key_e),
            "theta_o": _init_matrix(key_o, EDGE_WIDTHS[-1], num_operations),
        }
        if betas:
            params["theta_b"] = _init_matrix(jax.random.fold_in(key, 3), EDGE_WIDTHS[-1], 1)
        return params

    def probs(params: Params) -> Any:
        # Full precision is cheap here. It makes P, and thereby the derived cell, agree across devices.
        with jax.default_matmul_precision("float32"):
            z = embed_nodes(params["x"], params["theta_n"])
            e = edge_embedding(z, params["theta_e"], space.edges)
            operations = operation_probs(e, params["theta_o"])
            if not betas:
                return operations
            return Mixture(operations, normalized_edges((e @ params["theta_b"])[..., 0], space))

    return EdgeModel(init, probs, name)


def one_hot_nodes(num_cells: int, num_nodes: int) -> jax.Array:
    """Makes the initial X [C, V, 64]: another unit vector for each node, "sequentially" (paper Fig. 3).

    The paper does not say whether both cell types start alike. Here the second type continues the sequence. With equal
    vectors and shared Thetas both types would start with the same probabilities.
    """
    eye = jnp.eye(num_cells * num_nodes, NODE_WIDTH)
    return eye.reshape(num_cells, num_nodes, NODE_WIDTH)


def adjacency_matrix(
    reading: str, num_nodes: int = DARTS.num_nodes, num_inputs: int = DARTS.num_inputs
) -> np.ndarray:
    """Makes A [V, V] (paper Eq. 6): A[i, j] = 1 / (i + 1) for an inner node i and each of its partners j.

    The reading "printed" takes the partners that the paper prints, i < j. An inner node then hears *later* nodes, and
    the inputs neither hear nor are heard. The reading "predecessors" takes j < i. The authors probably meant it,
    because the normalizer i + 1 counts node i and its predecessors.
    """
    i, j = np.indices((num_nodes, num_nodes))
    partners = {"printed": i < j, "predecessors": j < i}[reading]
    return np.where(partners & (i >= num_inputs), 1 / (i + 1), 0).astype(np.float32)


def graph_convolution(a: np.ndarray, x: jax.Array, theta_n: list[jax.Array]) -> jax.Array:
    """Embeds nodes: layers H' = ReLU((A + I) H W) from H = X [C, V, D] to Z (paper Eq. 5, 7 and 8)."""
    a_hat = a + np.eye(len(a), dtype=np.float32)
    h = x
    for w in theta_n:
        h = jax.nn.relu(a_hat @ h @ w)
    return h


def recurrence(x: jax.Array, theta_n: list[dict[str, jax.Array]]) -> jax.Array:
    """Embeds nodes: layers h_v = tanh(x_v W + h_(v-1) U), h_(-1) = 0, over the nodes in order (paper Table 4).

    The paper does not name the kind of recurrence. This is the simplest kind, without gates.
    """

    def step(u, h_CxD, xw_CxD):
        h_CxD = jnp.tanh(xw_CxD + h_CxD @ u)
        return h_CxD, h_CxD

    h_VxCxD = x.swapaxes(0, 1)  # the loop runs over the leading axis
    for layer in theta_n:
        xw_VxCxD = h_VxCxD @ layer["input"]
        start_CxD = jnp.zeros_like(xw_VxCxD[0])
        _, h_VxCxD = jax.lax.scan(partial(step, layer["recurrent"]), start_CxD, xw_VxCxD)
    return h_VxCxD.swapaxes(0, 1)


def edge_embedding(
    z: jax.Array, theta_e: list[jax.Array], edges: Sequence[tuple[int, int]] = DARTS.edges
) -> jax.Array:
    """Embeds edges [C, E, D]: an MLP, FC-ReLU-FC, of the concatenated z_i and z_k of Z [C, V, D] (paper Eq. 9)."""
    sources, targets = np.asarray(edges).T
    pairs_CxEx2D = jnp.concatenate([z[:, sources], z[:, targets]], axis=-1)
    first, second = theta_e
    return jax.nn.relu(pairs_CxEx2D @ first) @ second


def operation_probs(e: jax.Array, theta_o: jax.Array) -> jax.Array:
    """Classifies edge embeddings [C, E, D]: softmax over the operations, P [C, E, O] (paper Eq. 10)."""
    return jax.nn.softmax(e @ theta_o)


def entropy(probs: jax.Array) -> jax.Array:
    """Computes the entropy of probabilities [C, E, O] in nats: [C], the mean over the edges of each cell type."""
    return jax.scipy.special.entr(probs).sum(-1).mean(-1)


def _alpha_model(space: Space, betas: bool) -> EdgeModel:
    """Makes the model of free logits, which start as 1e-3 N(0, 1) (DARTS and PC-DARTS values)."""

    def init(key: jax.Array) -> Params:
        params = {"alpha": 1e-3 * jax.random.normal(key, space.shape)}
        if betas:
            key = jax.random.fold_in(key, 3)
            params["beta"] = 1e-3 * jax.random.normal(key, space.shape[:2])
        return params

    def probs(params: Params) -> Any:
        operations = jax.nn.softmax(params["alpha"])
        if not betas:
            return operations
        return Mixture(operations, normalized_edges(params["beta"], space))

    return EdgeModel(init, probs, "alpha")


def _init_matrix(key: jax.Array, num_inputs: int, num_outputs: int) -> jax.Array:
    return jax.random.normal(key, (num_inputs, num_outputs)) * num_inputs**-0.5


def _init_layers(widths: Sequence[int], key: jax.Array) -> list[jax.Array]:
    keys = jax.random.split(key, len(widths) - 1)
    return [_init_matrix(k, n, m) for k, (n, m) in zip(keys, pairwise(widths), strict=True)]


def _init_recurrent(key: jax.Array) -> list[dict[str, jax.Array]]:
    key_input, key_recurrent = jax.random.split(key)
    inputs = _init_layers(RNN_WIDTHS, key_input)
    keys = jax.random.split(key_recurrent, len(inputs))
    return [
        {"input": w, "recurrent": _init_matrix(k, w.shape[1], w.shape[1])}
        for k, w in zip(keys, inputs, strict=True)
    ]


def _check_known(argument: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{argument}: found {value!r}, expected one of {', '.join(known)}")
