"""Neural graph embedding: from node vectors to the probabilities of operations (paper Eq. 5-10).

Each cell type is a graph whose nodes have learned vectors X. A graph convolutional network,
Theta_n, spreads them along the adjacency; an MLP, Theta_e, turns a pair of nodes into an edge
vector; a linear classifier, Theta_o, with softmax gives the probabilities of the edge's operations.
Each cell type has an X of its own; the three Thetas are shared. No layer has a bias. Weights start
normal (the paper is silent on the deviation: 1/sqrt(fan_in)), X one-hot.

The paper's ablation (Table 4) replaces parts of this; every model here is an `EdgeModel`:

    nge    X -> graph convolution -> edge MLP -> classifier   45,504 + 2 * 384 parameters
    rnn    X -> recurrent layers  -> edge MLP -> classifier   49,600 + 2 * 384
    plain  X ->                      edge MLP -> classifier   12,736 + 2 * 384
    alpha  a logit for each edge and operation (DARTS)        2 * 98

Letters in the names of arrays; numbers, here and below, are those of the paper's search space:

    C  cell types (2)    V  nodes of a cell (6)    E  edges of a cell (14)
    O  operations (7)    D  features, as many as the layer at hand has (64 or 128)
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nge_jax.space.spaces import DARTS, Space

EDGE_MODELS = ("nge", "alpha", "plain", "rnn")
ADJACENCIES = ("printed", "predecessors")

NODE_WIDTH = 64
GCN_WIDTHS = (NODE_WIDTH, 128, 128, 64)
RNN_WIDTHS = (NODE_WIDTH, 128, 64)  # paper silent: two layers, output as wide as the GCN's
EDGE_WIDTHS = (128, 64, 64)

Params = Any  # a tree of arrays


class EdgeModel(NamedTuple):
    """Where the probabilities of a search come from; both functions are pure.

    init: random key -> parameters, a tree of float32 arrays.
    probs: parameters -> probs_CxExO; those of an edge sum to 1.
    """

    init: Callable[[jax.Array], Params]
    probs: Callable[[Params], jax.Array]


def edge_model(name: str, adjacency: str, space: Space = DARTS) -> EdgeModel:
    """One of EDGE_MODELS for a search space.

    `adjacency`, one of ADJACENCIES, matters to "nge" alone but is always checked.
    Raises ValueError for an unknown name, with the config key that holds it.
    """
    if name not in EDGE_MODELS:
        raise ValueError(f"search.edge_model: {_expected(name, EDGE_MODELS)}")
    if adjacency not in ADJACENCIES:
        raise ValueError(f"search.adjacency: {_expected(adjacency, ADJACENCIES)}")
    if name == "alpha":
        return _alpha_model(space.shape)

    num_cells, _, num_operations = space.shape
    adjacency_VxV = adjacency_matrix(adjacency, space.num_nodes, space.num_inputs)
    init_theta_n, embed_nodes = {
        "nge": (partial(_init_layers, GCN_WIDTHS), partial(graph_convolution, adjacency_VxV)),
        "rnn": (_init_recurrent, recurrence),
        "plain": (lambda key: [], lambda nodes_CxVxD, theta_n: nodes_CxVxD),
    }[name]

    def init(key: jax.Array) -> Params:
        key_n, key_e, key_o = jax.random.split(key, 3)
        return {
            "x": one_hot_nodes(num_cells, space.num_nodes),
            "theta_n": init_theta_n(key_n),
            "theta_e": _init_layers(EDGE_WIDTHS, key_e),
            "theta_o": _init_matrix(key_o, EDGE_WIDTHS[-1], num_operations),
        }

    def probs(params: Params) -> jax.Array:
        # Cheap at full precision, which keeps P and so the derived cell alike across devices.
        with jax.default_matmul_precision("float32"):
            nodes_CxVxD = embed_nodes(params["x"], params["theta_n"])
            edges_CxExD = edge_embedding(nodes_CxVxD, params["theta_e"], space.edges)
            return operation_probs(edges_CxExD, params["theta_o"])

    return EdgeModel(init, probs)


def one_hot_nodes(num_cells: int, num_nodes: int) -> jax.Array:
    """Initial X [C, V, 64]: another unit vector for each node, "sequentially" (paper Fig. 3).

    Paper silent on whether the two cell types start alike. Here the sequence runs on from one to
    the next: with the same vectors and shared Thetas both would start with the same probabilities.
    """
    eye = jnp.eye(num_cells * num_nodes, NODE_WIDTH)
    return eye.reshape(num_cells, num_nodes, NODE_WIDTH)


def adjacency_matrix(
    reading: str, num_nodes: int = DARTS.num_nodes, num_inputs: int = DARTS.num_inputs
) -> np.ndarray:
    """A [V, V] (paper Eq. 6): A[i, j] = 1 / (i + 1) for an inner node i and each of its partners j.

    "printed" takes the partners as the paper prints them, i < j: an inner node hears *later* ones,
    and the inputs neither hear nor are heard. "predecessors" takes j < i: the normaliser i + 1
    counts node i's predecessors and itself, which suggests that the authors meant this.
    """
    i, j = np.indices((num_nodes, num_nodes))
    partners = {"printed": i < j, "predecessors": j < i}[reading]
    return np.where(partners & (i >= num_inputs), 1 / (i + 1), 0).astype(np.float32)


def graph_convolution(
    adjacency_VxV: np.ndarray, nodes_CxVxD: jax.Array, theta_n: list[jax.Array]
) -> jax.Array:
    """Layers H' = ReLU((A + I) H W) from H = X to the node embeddings Z (paper Eq. 5, 7 and 8)."""
    adjacency_VxV = adjacency_VxV + np.eye(len(adjacency_VxV), dtype=np.float32)
    for weights in theta_n:
        nodes_CxVxD = jax.nn.relu(adjacency_VxV @ nodes_CxVxD @ weights)
    return nodes_CxVxD


def recurrence(nodes_CxVxD: jax.Array, theta_n: list[dict[str, jax.Array]]) -> jax.Array:
    """Layers h_v = tanh(x_v W + h_(v-1) U), h_(-1) = 0, over the nodes in order (paper Table 4).

    Paper silent on the kind of recurrence: this is the simplest, with no gates.
    """

    def step(recurrent_DxD, state_CxD, input_CxD):
        state_CxD = jnp.tanh(input_CxD + state_CxD @ recurrent_DxD)
        return state_CxD, state_CxD

    nodes_VxCxD = nodes_CxVxD.swapaxes(0, 1)
    for layer in theta_n:
        inputs_VxCxD = nodes_VxCxD @ layer["input"]
        initial_CxD = jnp.zeros_like(inputs_VxCxD[0])
        _, nodes_VxCxD = jax.lax.scan(partial(step, layer["recurrent"]), initial_CxD, inputs_VxCxD)
    return nodes_VxCxD.swapaxes(0, 1)


def edge_embedding(
    nodes_CxVxD: jax.Array, theta_e: list[jax.Array], edges: Sequence[tuple[int, int]] = DARTS.edges
) -> jax.Array:
    """Edge i -> k: the MLP FC-ReLU-FC on the concatenation of z_i and z_k (paper Eq. 9)."""
    sources, targets = np.asarray(edges).T
    pairs = nodes_CxVxD[:, sources], nodes_CxVxD[:, targets]
    first, second = theta_e
    return jax.nn.relu(jnp.concatenate(pairs, axis=-1) @ first) @ second


def operation_probs(edges_CxExD: jax.Array, theta_o: jax.Array) -> jax.Array:
    """Softmax over the operations of a linear classifier (paper Eq. 10)."""
    return jax.nn.softmax(edges_CxExD @ theta_o)


def entropy(probs_CxExO: jax.Array) -> jax.Array:
    """Entropy of each cell type's probabilities [C], in nats, the mean over its edges."""
    return jax.scipy.special.entr(probs_CxExO).sum(-1).mean(-1)


def _alpha_model(shape: tuple[int, int, int]) -> EdgeModel:
    """Free logits, as small at first as those of DARTS: 1e-3 N(0, 1)."""
    return EdgeModel(
        init=lambda key: {"alpha": 1e-3 * jax.random.normal(key, shape)},
        probs=lambda params: jax.nn.softmax(params["alpha"]),
    )


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


def _expected(found: str, known: Sequence[str]) -> str:
    return f"expected one of {', '.join(known)}, found {found!r}"
