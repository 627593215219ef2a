"""The embeddings of a cell's nodes, which the edge models begin with (paper Eq. 5-8 and Table 4)."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nge_jax.space.spaces import DARTS

NODE_WIDTH = 64
GCN_WIDTHS = (NODE_WIDTH, 128, 128, 64)
RNN_WIDTHS = (NODE_WIDTH, 128, 64)  # paper silent: two layers, output as wide as the GCN's


def one_hot_nodes(num_cells: int, num_nodes: int) -> jax.Array:
    """Makes the initial X [C, V, 64]: another unit vector for each node, "sequentially" (paper Fig. 3).

    The paper does not say whether both cell types start alike. Here the second type continues the sequence. With equal
    vectors and shared Thetas both types would start with the same probabilities.

    One-hot vectors are enough for 64 nodes: two cell types of 32 nodes, where the paper's have 6. The paper is silent
    on more. Each later node starts between two one-hot vectors, in each round of 64 another pair. X keeps the width
    that all edge models read, and no vector is zero.
    """
    number = np.arange(num_cells * num_nodes)
    first, rounds = number % NODE_WIDTH, number // NODE_WIDTH
    eye = np.eye(NODE_WIDTH, dtype=np.float32)
    x = eye[first] + eye[(first + rounds) % NODE_WIDTH]
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    return jnp.asarray(x.reshape(num_cells, num_nodes, NODE_WIDTH))


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


# Normalizes nodes' embeddings [C, V, D].
Normalize = Callable[[jax.Array], jax.Array]


def graph_convolution(
    a: np.ndarray, x: jax.Array, theta_n: list[jax.Array], normalize: Normalize | None = None
) -> jax.Array:
    """Embeds nodes: layers H' = ReLU((A + I) H W) from H = X [C, V, D] to Z (paper Eq. 5, 7 and 8).

    With `normalize` each H' is normalized (the paper has no such step).
    """
    a_hat = a + np.eye(len(a), dtype=np.float32)
    h = x
    for w in theta_n:
        h = jax.nn.relu(a_hat @ h @ w)
        h = h if normalize is None else normalize(h)
    return h


def pair_norm(h: jax.Array) -> jax.Array:
    """Normalizes nodes' embeddings [C, V, D] as PairNorm does (Zhao and Akoglu, ICLR 2020, with s = 1).

    The mean over the nodes is taken off. Then the mean of the nodes' squared norms becomes 1, so that layers of a graph
    convolution do not make all nodes alike.
    """
    centered = h - h.mean(-2, keepdims=True)
    squares = jnp.square(centered).sum(-1, keepdims=True).mean(-2, keepdims=True)
    return centered * lax.rsqrt(squares + 1e-12)  # finite where all nodes are equal


def keep_nodes(x: jax.Array, theta_n: list, normalize: Normalize | None = None) -> jax.Array:
    """Takes X [C, V, D] itself as Z."""
    del theta_n  # the model has none
    return x if normalize is None else normalize(x)


def recurrence(
    x: jax.Array, theta_n: list[dict[str, jax.Array]], normalize: Normalize | None = None
) -> jax.Array:
    """Embeds nodes: layers h_v = tanh(x_v W + h_(v-1) U), h_(-1) = 0, over the nodes in order (paper Table 4).

    The paper does not name the kind of recurrence. This is the simplest kind, without gates. With `normalize` Z is
    normalized.
    """

    def step(u, h_CxD, xw_CxD):
        h_CxD = jnp.tanh(xw_CxD + h_CxD @ u)
        return h_CxD, h_CxD

    h_VxCxD = x.swapaxes(0, 1)  # the loop runs over the leading axis
    for layer in theta_n:
        xw_VxCxD = h_VxCxD @ layer["input"]
        start_CxD = jnp.zeros_like(xw_VxCxD[0])
        _, h_VxCxD = jax.lax.scan(partial(step, layer["recurrent"]), start_CxD, xw_VxCxD)
    z = h_VxCxD.swapaxes(0, 1)
    return z if normalize is None else normalize(z)


def init_matrix(
    key: jax.Array, num_inputs: int, num_outputs: int, leading: tuple[int, ...] = ()
) -> jax.Array:
    """Draws matrices [*leading, inputs, outputs], normal with deviation 1/sqrt(fan_in) (paper silent)."""
    return jax.random.normal(key, (*leading, num_inputs, num_outputs)) * num_inputs**-0.5


def init_layers(widths: Sequence[int], key: jax.Array) -> list[jax.Array]:
    """Draws the matrices between layers of these widths."""
    keys = jax.random.split(key, len(widths) - 1)
    return [init_matrix(k, n, m) for k, (n, m) in zip(keys, pairwise(widths), strict=True)]


def init_recurrent(key: jax.Array) -> list[dict[str, jax.Array]]:
    """Draws the parameters of `recurrence`."""
    key_input, key_recurrent = jax.random.split(key)
    inputs = init_layers(RNN_WIDTHS, key_input)
    keys = jax.random.split(key_recurrent, len(inputs))
    return [
        {"input": w, "recurrent": init_matrix(k, w.shape[1], w.shape[1])}
        for k, w in zip(keys, inputs, strict=True)
    ]
